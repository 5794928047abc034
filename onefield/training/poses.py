"""Refinement of camera poses: one twist a camera, applied to its rays.

**Perturbation.** A twist (omega, v) of se(3) moves a camera with pose ``[R | p]`` by the rigid motion
``exp(omega, v)``, multiplied from the left, about the camera's own centre: ``R' = exp([omega]) R``,
``p' = p + V(omega) v``, with the axes and the units of the world. About the centre rather than about the origin,
rotation and shift do not mix, and rays can be moved without knowing the pose: they start in the centre. All twists
start at zero.

**Gauge.** Moving, turning or scaling all cameras and the scene together changes no picture. So the corrections are
projected onto the complement of those seven directions: the cameras of training, taken together, stay where they are,
and the scene can't drift away from them.

**Preconditioning.** A turn about one axis and a shift along another move a picture nearly alike, and only parallax
tells them apart: steps of equal size in both would settle the one at once and the other hardly ever. So what is learned
are coordinates in which equal steps move what a camera sees equally far, by the inverse square root of the mean product
of the motions' derivatives (Park et al., "CamP: camera preconditioning for neural radiance fields" (2023), section 4).

Source of the closed forms: Solà et al., "A micro Lie theory for state estimation in robotics" (2018), section 4 and
example 7; the joint optimisation: Lin et al., "BARF" (2021).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from onefield.cameras import Cameras, Picture
from onefield.types import Rays

# Below this squared angle the series are exact to float64's precision, and the closed forms lose digits.
_SMALL_SQUARE = 1e-3
# Rays along each side of a picture, and distances on each of them as shares of the camera's from the middle of the
# scene, at which motions are compared; cameras nearer to the middle than this see no nearer things.
_RAYS, _DISTANCES, _LEAST_DISTANCE = 5, (0.5, 1.0, 2.0), 0.25
# Share of each diagonal entry that is added to it, so that no direction becomes endlessly fast (CamP, section 4.2).
_DAMPING = 0.1
# Directions of the gauge that the cameras' places do not tell apart (all in one point, say) count once.
_INDEPENDENT = 1e-9


def rigid_motions(twists: Float[Tensor, "C 6"]) -> tuple[Float[Tensor, "C 3 3"], Float[Tensor, "C 3"]]:
    """The exponential map of SE(3): rotations and shifts.

    Args:
        twists: rotation vector (radians), then the velocity of the origin (world units). Differentiable everywhere, at
            zero too.
    """
    omega, velocity = twists[:, :3], twists[:, 3:]
    square = omega.square().sum(-1)
    small = square < _SMALL_SQUARE
    held = torch.where(small, torch.ones_like(square), square)
    angle = held.sqrt()
    sine = torch.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), torch.sin(angle) / angle)
    versine = torch.where(
        small, 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56)), (1 - torch.cos(angle)) / held
    )
    rest = torch.where(
        small,
        (1 - square / 20 * (1 - square / 42 * (1 - square / 72))) / 6,
        (angle - torch.sin(angle)) / (held * angle),
    )
    x, y, z = omega.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    twice = cross @ cross
    identity = torch.eye(3, dtype=twists.dtype, device=twists.device)
    rotations = identity + sine[:, None, None] * cross + versine[:, None, None] * twice
    carry = identity + versine[:, None, None] * cross + rest[:, None, None] * twice
    return rotations, (carry @ velocity[:, :, None])[:, :, 0]


def moved_rays(rays: Rays, twists: Float[Tensor, "C 6"]) -> Rays:
    """Rays of moved cameras, differentiable in the twists; rays that name no camera stay.

    Args:
        rays: that start in the centres of their cameras.
        twists: one for each camera that ``rays.camera_indices`` counts.
    """
    index = rays.camera_indices
    if index is None:
        return rays
    rotations, shifts = rigid_motions(twists)
    turned = [
        column.index_select(0, index) * along[:, None]
        for column, along in zip(rotations.unbind(-1), rays.directions.unbind(-1), strict=True)
    ]
    moved = {"origins": rays.origins + shifts.index_select(0, index), "directions": turned[0] + turned[1] + turned[2]}
    if isinstance(rays, Picture):
        camera, view = rays.camera, index[:1]
        pose = _moved_poses(camera.camera_to_world, rotations[view], shifts[view])
        return replace(rays, **moved, camera=replace(camera, camera_to_world=pose))
    return replace(rays, **moved)


def _moved_poses(
    poses: Float[Tensor, "C 3 4"], rotations: Float[Tensor, "C 3 3"], shifts: Float[Tensor, "C 3"]
) -> Float[Tensor, "C 3 4"]:
    turned = rotations.to(poses) @ poses[:, :, :3]
    return torch.cat([turned, (poses[:, :, 3] + shifts.to(poses))[:, :, None]], dim=-1)


def moved_cameras(cameras: Cameras, twists: Float[Tensor, "C 6"]) -> Cameras:
    """The same cameras with their poses moved, float64."""
    rotations, shifts = rigid_motions(twists.detach().to(cameras.camera_to_world))
    return replace(cameras, camera_to_world=_moved_poses(cameras.camera_to_world, rotations, shifts))


def gauge_directions(positions: Float[Tensor, "C 3"], trained: Int[Tensor, "T"]) -> Float[Tensor, "C 6 g"]:
    """Orthonormal twists of all cameras that move, turn or scale them together, to first order; g is 7 at most.

    Args:
        positions: centres of the cameras.
        trained: the cameras that take part; the others' rows are 0.
    """
    places = positions.double()[trained]
    directions = torch.zeros(len(trained), 6, 7, dtype=torch.float64, device=places.device)
    for axis in range(3):
        unit = torch.zeros_like(places)
        unit[:, axis] = 1.0
        directions[:, axis, axis] = 1.0
        directions[:, 3:, axis] = torch.linalg.cross(unit, places)
        directions[:, 3 + axis, 3 + axis] = 1.0
    directions[:, 3:, 6] = places
    left, sizes, _ = torch.linalg.svd(directions.reshape(-1, 7), full_matrices=False)
    independent = sizes > _INDEPENDENT * sizes.max()
    basis = torch.zeros(len(positions), 6, int(independent.sum()), dtype=torch.float64, device=places.device)
    basis[trained] = left[:, independent].reshape(len(trained), 6, -1)
    return basis


def motion_coordinates(cameras: Cameras) -> Float[Tensor, "C 6 6"]:
    """Twists for unit steps of coordinates in which each step turns lines of sight by about as much, float64.

    A point at distance t along d, seen from a camera that is twisted by (omega, v), moves on the camera's sphere of
    directions by ``[d]x omega - (1 - d d^T) v / t``.
    """
    found = []
    for index in range(len(cameras)):
        size = torch.stack([cameras.width[index], cameras.height[index]]).double()
        steps = (torch.arange(_RAYS, dtype=torch.float64) + 0.5) / _RAYS
        pixels = torch.cartesian_prod(steps, steps) * size
        directions = cameras.rays(torch.full((len(pixels),), index), pixels).directions.double()
        away = cameras.positions[index].norm().clamp(min=_LEAST_DISTANCE)
        turned = torch.linalg.cross(
            directions[:, None].expand(-1, 3, -1), torch.eye(3).double().expand(len(pixels), 3, 3)
        )
        flat = torch.eye(3).double() - directions[:, :, None] * directions[:, None]
        motions = [torch.cat([turned.mT, -flat / (share * away)], dim=2) for share in _DISTANCES]
        products = torch.cat([motion.mT @ motion for motion in motions]).mean(0)
        sizes, axes = torch.linalg.eigh(products + _DAMPING * torch.diag(products.diagonal()))
        found.append(axes @ torch.diag(sizes.rsqrt()) @ axes.T)
    return torch.stack(found)


class PoseRefinement(nn.Module):
    """Learned corrections of the training cameras' poses; every other camera stays as it is."""

    def __init__(self, cameras: Cameras, trained: Int[Tensor, "T"]) -> None:
        """Starts without any correction.

        Args:
            cameras: all views of the scene.
            trained: those that are learned from.
        """
        super().__init__()
        self.coordinates = nn.Parameter(torch.zeros(len(cameras), 6))
        self.register_buffer("axes", motion_coordinates(cameras).float(), persistent=False)
        gauge = gauge_directions(cameras.positions, trained).float()
        self.register_buffer("gauge", gauge.reshape(-1, gauge.shape[-1]), persistent=False)

    def corrections(self) -> Float[Tensor, "C 6"]:
        """The twist of each camera, without the motions that all cameras share."""
        flat = torch.einsum("cij,cj->ci", self.axes, self.coordinates).reshape(-1)
        return (flat - self.gauge @ (flat @ self.gauge)).reshape(-1, 6)

    def forward(self, rays: Rays) -> Rays:
        """See `moved_rays`."""
        return moved_rays(rays, self.corrections())

    def corrected(self, cameras: Cameras) -> Cameras:
        """The scene's cameras where training found them."""
        return moved_cameras(cameras, self.corrections())
