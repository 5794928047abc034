"""Twists against the matrix exponential, their gauge, and the gradient that reaches them through rendering."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from onefield.cameras import Cameras
from onefield.fields.analytic import Material, MixtureField, SphereField
from onefield.fields.composed import ComposedField
from onefield.fields.encodings import HashGridEncoding, SphericalHarmonicsEncoding
from onefield.fields.field import Field
from onefield.fields.heads.color import ColorHead
from onefield.fields.heads.density import ExponentialDensity
from onefield.fields.networks.mlp import Mlp
from onefield.renderers.sampling.intervals import pack
from onefield.renderers.sampling.sampler import Sampler, Sampling
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.renderers.volume import VolumeRenderer
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.poses import (
    PoseRefinement,
    gauge_directions,
    motion_coordinates,
    moved_cameras,
    moved_rays,
    rigid_motions,
)
from onefield.types import Bounds, Rays


def matrix_of(twist: torch.Tensor) -> torch.Tensor:
    """The element of se(3) as a 4 x 4 matrix, written from its definition."""
    x, y, z, a, b, c = twist.tolist()
    return torch.tensor([[0, -z, y, a], [z, 0, -x, b], [-y, x, 0, c], [0, 0, 0, 0]], dtype=torch.float64)


def ring(count: int = 8) -> Cameras:
    """Cameras around the origin that look at it from different heights."""
    poses = []
    for index in range(count):
        rotation = Rotation.from_euler("zx", [2.4 * index, -100 - 7 * index], degrees=True).as_matrix()
        rotation = torch.from_numpy(rotation)
        poses.append(torch.cat([rotation, -2.5 * rotation[:, 2:]], dim=1))
    return Cameras.pinhole(torch.stack(poses), 14.0, (6.0, 5.0), 12, 10)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-4, 0.0316, 0.0317, 1.0, 3.1])
def test_the_exponential_is_that_of_the_matrix(size):
    twists = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    twists[:, :3] *= size / twists[:, :3].norm(dim=-1, keepdim=True)
    rotations, shifts = rigid_motions(twists)
    for twist, rotation, shift in zip(twists, rotations, shifts, strict=True):
        truth = torch.from_numpy(expm(matrix_of(twist).numpy()))
        torch.testing.assert_close(rotation, truth[:3, :3], atol=1e-13, rtol=0)
        torch.testing.assert_close(shift, truth[:3, 3], atol=1e-13, rtol=0)


@pytest.mark.parametrize("size", [0.0, 1e-4, 0.5])
def test_the_exponential_has_the_derivative_of_its_differences(size):
    twists = size * torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(rigid_motions, twists.requires_grad_())


def test_rays_move_as_their_cameras_do():
    cameras = ring()
    twists = 0.3 * torch.randn(8, 6, generator=torch.Generator().manual_seed(3))
    for index in range(8):
        through_rays = moved_rays(cameras.image_rays(index), twists)
        through_pose = moved_cameras(cameras, twists).image_rays(index)
        torch.testing.assert_close(through_rays.origins, through_pose.origins, atol=2e-6, rtol=0)
        torch.testing.assert_close(through_rays.directions, through_pose.directions, atol=2e-6, rtol=0)


def test_a_twist_turns_about_the_cameras_own_centre_from_the_left():
    cameras, twist = ring(), torch.tensor([0.2, -0.1, 0.3, 0.05, 0.02, -0.04], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3] = cameras.camera_to_world[2]
    there = torch.eye(4, dtype=torch.float64)
    there[:3, 3] = pose[:3, 3]
    truth = there @ torch.from_numpy(expm(matrix_of(twist).numpy())) @ torch.linalg.inv(there) @ pose
    twists = torch.zeros(8, 6, dtype=torch.float64)
    twists[2] = twist
    torch.testing.assert_close(moved_cameras(cameras, twists).camera_to_world[2], truth[:3])


def test_moving_all_cameras_together_is_no_correction():
    cameras, trained = ring(), torch.tensor([0, 1, 3, 4, 6, 7])
    refinement = PoseRefinement(cameras, trained)
    before = cameras.positions
    # one small rigid motion and change of scale about the origin, written out for each camera
    omega, shift, growth = torch.tensor([2e-3, -1e-3, 3e-3]).double(), torch.tensor([1e-3, 4e-3, 0.0]).double(), 2e-3
    carried = torch.linalg.cross(omega.expand_as(before), before) + shift + growth * before
    common = torch.cat([omega.expand_as(before), carried], dim=-1).float()
    common[[2, 5]] = 0
    with torch.no_grad():
        refinement.coordinates.copy_(torch.linalg.solve(refinement.axes, common))
    assert refinement.corrections().abs().max() < 1e-7
    with torch.no_grad():
        refinement.coordinates[3] += torch.linalg.solve(refinement.axes[3], torch.tensor([0.0, 0.1, 0, 0, 0, 0]))
    left = refinement.corrections()
    assert left[3, 1] > 0.05
    assert (left[[2, 5]] == 0).all()
    assert (left.reshape(-1) @ refinement.gauge).abs().max() < 1e-6


def test_equal_steps_of_the_coordinates_move_what_is_seen_about_equally():
    cameras, size = ring(), 1e-5
    axes = motion_coordinates(cameras)
    steps = (torch.arange(5) + 0.5).double() / 5
    pixels = torch.cartesian_prod(steps, steps) * torch.tensor([12.0, 10.0]).double()
    spreads = {}
    for name, motions in (("twists", torch.eye(6).double().expand(8, 6, 6)), ("coordinates", axes)):
        rays = cameras.rays(torch.full((25,), 3), pixels)
        seen = []
        for step in size * motions[3].T:
            twists = torch.zeros(8, 6).double()
            twists[3] = step
            pose = moved_cameras(cameras, twists).camera_to_world[3]
            turned = []
            for distance in (0.5 * 2.5, 2.5, 2 * 2.5):
                points = rays.origins.double() + distance * rays.directions.double()
                before = (points - cameras.positions[3]) @ cameras.camera_to_world[3, :, :3]
                after = (points - pose[:, 3]) @ pose[:, :3]
                turned.append(
                    torch.nn.functional.normalize(after, dim=1) - torch.nn.functional.normalize(before, dim=1)
                )
            seen.append(torch.cat(turned).reshape(-1) / size)
        together = torch.stack(seen)
        sizes = torch.linalg.eigvalsh(together @ together.T / 75)
        spreads[name] = float(sizes[-1] / sizes[0])
        if name == "coordinates":
            assert 0.5 < float(sizes[-1]) < 1
    assert spreads["twists"] > 30
    assert spreads["coordinates"] < 5


def test_cameras_in_one_point_have_fewer_directions_in_common():
    positions = torch.zeros(4, 3, dtype=torch.float64)
    assert gauge_directions(positions, torch.arange(4)).shape[-1] == 6
    assert gauge_directions(ring().positions, torch.arange(8)).shape[-1] == 7


class Fixed(Sampler):
    """The same distances whatever the rays: what a difference of renderings must hold fixed."""

    def forward(self, rays: Rays, field: Field, generator: torch.Generator | None = None) -> Sampling:
        assert not rays.origins.requires_grad
        return Sampling(pack(torch.linspace(1.2, 3.8, 25).expand(len(rays), 25)))


def test_the_gradient_of_colour_and_depth_is_that_of_differences():
    torch.manual_seed(4)
    # one cell and no hidden layer: differences cross no kink
    encoding = HashGridEncoding(3, levels=1, features=8, log2_table_size=12, base_resolution=1, finest_resolution=1)
    heads = [ExponentialDensity(), ColorHead(7, SphericalHarmonicsEncoding(), hidden_layers=0)]
    field = ComposedField(Bounds.cube(4.0), encoding, Mlp(8, 8, 16, 0), heads).double()
    with torch.no_grad():
        encoding.table.uniform_(-2, 2)
    renderer = VolumeRenderer(Fixed(), prefilter=False)
    rays = ring().rays(torch.arange(8), torch.full((8, 2), 5.3, dtype=torch.float64))
    rays = replace(rays, origins=rays.origins.double(), directions=rays.directions.double())

    def shown(twists: torch.Tensor) -> torch.Tensor:
        rendering = renderer.render(field, moved_rays(rays, twists))
        return torch.cat([rendering.color, rendering.depth[:, None]], dim=-1).sum(0)

    twists = torch.full((8, 6), 0.01, dtype=torch.float64, requires_grad=True)
    # compositing is float32: a larger step would cross cells of the grid, a smaller one drown in rounding
    step, jacobian = 1e-3, torch.autograd.functional.jacobian(shown, twists)
    direction = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        difference = (shown(twists + step * direction) - shown(twists - step * direction)).double() / (2 * step)
    torch.testing.assert_close((jacobian.double() * direction).sum((1, 2)), difference, rtol=1e-2, atol=1e-3)
    assert difference.abs().min() > 0.05


def test_perturbed_poses_are_found_again():
    balls = [SphereField(0.3, place, Material(density=20.0, softness=0.05)) for place in PLACES]
    field, renderer = MixtureField(balls), VolumeRenderer(UniformSampler(32), prefilter=False)
    cameras, trained = ring(), torch.arange(8)
    with torch.no_grad():
        photos = [renderer.render(field, cameras.image_rays(index)).color for index in range(8)]
    noise = 0.03 * torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    gauge = gauge_directions(cameras.positions, trained).reshape(48, -1)
    noise = (noise.reshape(-1) - gauge @ (noise.reshape(-1) @ gauge)).reshape(8, 6)
    wrong = moved_cameras(cameras, noise)
    refinement = PoseRefinement(wrong, trained)
    optimizer = Adam({"poses": refinement.coordinates}, {"poses": "poses"}, {"poses": GroupRate(5e-3)})
    index = torch.arange(8).repeat_interleave(120)
    rays = wrong.rays(index, torch.cat([pixels_of(cameras)] * 8))
    for step in range(150):
        optimizer.zero_gradients()
        color = renderer.render(field, refinement(rays)).color
        (color - torch.cat(photos)).square().mean().backward()
        optimizer.step(0.05 ** (step / 150))
    found = refinement.corrected(wrong)
    before, after = (difference(poses, cameras) for poses in (wrong, found))
    assert before[0] > 0.03
    assert before[1] > 0.03
    assert after[0] < 0.5 * before[0]
    assert after[1] < 0.5 * before[1]
    print(before, after)


PLACES = ((0.4, 0.1, 0.3), (-0.4, 0.3, -0.2), (0.0, -0.5, 0.1))


def pixels_of(cameras: Cameras) -> torch.Tensor:
    """Centres of one view's pixels, row by row."""
    rows, columns = torch.meshgrid(torch.arange(10) + 0.5, torch.arange(12) + 0.5, indexing="ij")
    assert (cameras.width == 12).all()
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2).double()


def difference(one: Cameras, other: Cameras) -> tuple[float, float]:
    """Root mean square angle (radians) and distance between poses."""
    turns = one.camera_to_world[:, :, :3] @ other.camera_to_world[:, :, :3].transpose(1, 2)
    angles = torch.tensor(Rotation.from_matrix(turns.numpy()).magnitude())
    return float(angles.square().mean().sqrt()), float((one.positions - other.positions).square().sum(-1).mean().sqrt())


def test_a_picture_moves_its_camera_with_its_rays():
    poses = torch.eye(4, dtype=torch.float64)[:3].expand(2, 3, 4).clone()
    picture = Cameras.pinhole(poses, 10.0, [2.0, 2.0], 4, 4).image_rays(1)
    twists = torch.tensor([[0.0] * 6, [0.1, -0.2, 0.05, 0.3, 0.1, -0.2]], requires_grad=True)
    moved = moved_rays(picture, twists)
    again = moved.camera.image_rays(0)
    torch.testing.assert_close(moved.directions, again.directions.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.origins, again.origins, atol=1e-6, rtol=0)
    moved.camera.camera_to_world.sum().backward()
    assert twists.grad[1].any()
    assert not twists.grad[0].any()
