"""Surfels against planes, finite differences, and what cannot be drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.gaussians import GaussianField
from onefield.kernels import use
from onefield.renderers.background import White
from onefield.renderers.splat import SplatRenderer
from onefield.types import Bounds, Gaussians
from tests.renderers.test_splat import camera, random_field

NORMAL = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 0.8]), dim=0)


def quaternion_to(normal) -> torch.Tensor:
    """That turns z to a direction."""
    half = torch.tensor([1 + float(normal[2]), -float(normal[1]), float(normal[0]), 0.0])
    return torch.nn.functional.normalize(half, dim=0)


def wall(spacing=0.2, half=20) -> GaussianField:
    """Surfels all over a plane through the origin, nearly opaque together."""
    quaternion = quaternion_to(NORMAL)
    first = torch.linalg.cross(NORMAL, torch.tensor([1.0, 0.0, 0.0]))
    first = first / first.norm()
    steps = spacing * torch.arange(-half, half + 1)
    across = torch.cartesian_prod(steps, steps)
    means = across[:, :1] * first + across[:, 1:] * torch.linalg.cross(NORMAL, first)
    count = len(means)
    discs = Gaussians(
        means,
        torch.tensor([spacing, spacing, 1e-4]).log().expand(count, 3),
        quaternion.expand(count, 4),
        torch.full((count,), 2.0),
        (torch.zeros(count, 1, 3),),
    )
    return GaussianField(Bounds.cube(5.0), discs)


def off_centre(width=40, height=30) -> Cameras:
    plain = camera(width, height)
    return replace(plain, center=plain.center + torch.tensor([[9.3, -6.1]], dtype=torch.float64))


def test_a_plane_has_its_own_depth_and_normal_at_every_pixel():
    view = off_centre()
    image = SplatRenderer(primitive="surfels").render_image(wall(), view, 0, normals=True, quantiles=(0.5,))
    rays = view.image_rays(0)
    truth = -(rays.origins @ NORMAL) / (rays.directions @ NORMAL)
    assert float(image.opacity.min()) > 0.99
    for depth in (image.depth, image.quantiles[..., 0]):
        torch.testing.assert_close(depth.reshape(-1), truth, atol=1e-4, rtol=0)
    towards = -torch.sign(rays.directions @ NORMAL)[:, None] * NORMAL
    cosines = (image.normal.reshape(-1, 3) * towards).sum(-1)
    assert float(torch.rad2deg(torch.arccos(cosines.clamp(max=1).double())).max()) < 0.1


def test_ellipsoids_put_the_same_plane_elsewhere():
    """The reason for surfels: an ellipsoid has one depth for all its pixels."""
    view = off_centre()
    image = SplatRenderer().render_image(wall(), view, 0)
    rays = view.image_rays(0)
    truth = -(rays.origins @ NORMAL) / (rays.directions @ NORMAL)
    assert float((image.depth.reshape(-1) - truth).abs().mean()) > 1e-3


@pytest.mark.parametrize(("lens", "tolerance"), [("brown", 5e-4), ("fisheye", 6e-3)])
def test_surfels_of_a_pixel_or_two_follow_any_lens(lens, tolerance):
    view = camera(lens=lens)
    image = SplatRenderer(primitive="surfels").render_image(wall(0.1, 30), view, 0)
    rays = view.image_rays(0)
    truth = -(rays.origins @ NORMAL) / (rays.directions @ NORMAL)
    assert float(image.opacity.min()) > 0.99
    torch.testing.assert_close(image.depth.reshape(-1), truth, atol=tolerance, rtol=0)


@pytest.mark.parametrize("lens", ["pinhole", "brown", "fisheye"])
def test_every_parameter_pose_and_background_is_differentiated_right(lens):
    field = random_field(4, degree=1, dtype=torch.float64, size=0.4)
    view = camera(6, 5, lens)
    renderer = SplatRenderer(primitive="surfels")
    leaves = [p.detach().clone().requires_grad_(True) for p in field.parameters()]
    pose = view.camera_to_world.clone().requires_grad_(True)
    behind = torch.rand(30, 3, dtype=torch.float64, requires_grad=True)

    class Given(torch.nn.Module):
        def gaussians(self):
            return Gaussians(*leaves[:4], tuple(leaves[4:]))

        def __len__(self):
            return len(leaves[0])

    def pictured(pose, behind, *parameters):
        leaves[:] = parameters
        moved = replace(view, camera_to_world=pose)
        rays = view.image_rays(0)
        rays = replace(rays, directions=rays.directions.double(), origins=rays.origins.double(), camera=moved)
        drawn = renderer.render(Given(), rays, background=behind, normals=True)
        return drawn.color, drawn.opacity, drawn.depth, drawn.distortion, drawn.splats.normals

    assert torch.autograd.gradcheck(pictured, (pose, behind, *leaves), atol=1e-5, fast_mode=True)


def test_kernels_and_references_give_the_same_gradients_through_the_whole_renderer():
    view, answers = camera(), []
    for mode in ("fast", "reference"):
        field = random_field(80)
        with use(mode):
            drawn = SplatRenderer(White(), primitive="surfels").render(field, view.image_rays(0), normals=True)
            loss = (drawn.color * torch.linspace(0, 1, 1200)[:, None]).sum() + drawn.depth.mean()
            (loss + drawn.splats.normals.mean() + drawn.distortion.mean()).backward()
        answers.append([drawn.color.detach(), *[p.grad for p in field.parameters()]])
    for fast, reference in zip(*answers, strict=True):
        scale = max(1.0, float(reference.abs().max()))
        assert float((~torch.isclose(fast, reference, atol=2e-4 * scale, rtol=1e-2)).double().mean()) < 0.01


def test_degenerate_surfels_give_defined_pictures_and_gradients():
    view = camera()
    position, right, forward = view.positions[0].float(), *view.camera_to_world[0, :, ::2][:, :2].float().T
    field = random_field(12)
    with torch.no_grad():
        field.means[0] = position
        field.means[1] = position + right
        field.means[2] = position - forward
        field.log_scales[3] = math.inf
        field.log_scales[4] = -math.inf
        field.quaternions[5] = 0.0
        field.log_scales[6] = torch.tensor([9.0, -9.0, 0.0])
        # in the camera's own plane
        field.means[7] = position + 2 * forward
        field.quaternions[7] = quaternion_to(right)
        # across the plane of the camera
        field.means[8] = position + 0.5 * forward
        field.log_scales[8] = 0.0
        field.quaternions[8] = quaternion_to(torch.linalg.cross(forward, right))
    drawn = SplatRenderer(primitive="surfels").render(field, view.image_rays(0), normals=True)
    (drawn.color.sum() + drawn.depth.sum() + drawn.distortion.sum() + drawn.splats.normals.sum()).backward()
    for part in (drawn.color, drawn.depth, drawn.distortion, drawn.normal):
        assert torch.isfinite(part).all()
    assert all(torch.isfinite(p.grad).all() for p in field.parameters())
    image = SplatRenderer(primitive="surfels").render_image(field, view, 0, quantiles=(0.5,))
    assert not torch.isnan(image.quantiles).any()


def test_a_surfel_seen_edge_on_is_still_a_pixel_wide():
    view = camera()
    middle = view.positions[0] + 2 * view.forwards[0]
    edge = random_field(1)
    with torch.no_grad():
        edge.means[0] = middle.float()
        edge.quaternions[0] = quaternion_to(view.camera_to_world[0, :, 0].float())
        edge.opacities[0] = 4.0
    opacity = SplatRenderer(primitive="surfels").render_image(edge, view, 0).opacity
    assert 0.3 < float(opacity.max()) <= 0.99
    assert float(opacity.sum()) > 0.5


def test_a_surfel_across_the_cameras_plane_shows_only_what_lies_before_the_camera():
    pose = torch.eye(4)[None, :3].clone()
    view = Cameras.pinhole(pose, 20.0, [20.0, 15.0], 40, 30)
    floor = random_field(1)
    with torch.no_grad():
        # below the camera (y points down), middle ahead of it, and as wide as its distance
        floor.means[0] = torch.tensor([0.0, 0.5, 1.0])
        floor.quaternions[0] = quaternion_to(torch.tensor([0.0, 1.0, 0.0]))
        floor.log_scales[0] = 0.0
        floor.opacities[0] = 4.0
    image = SplatRenderer(primitive="surfels").render_image(floor, view, 0)
    below = view.image_rays(0).directions[:, 1].reshape(30, 40) > 0
    assert not image.opacity[~below].any()
    # straight below the border of the picture the floor is nearer than its middle
    truth = 0.5 / view.image_rays(0).directions[:, 1].reshape(30, 40)
    seen = image.opacity > 0.05
    assert bool(seen[-1].any())
    torch.testing.assert_close(image.depth[seen], truth[seen], atol=1e-4, rtol=1e-4)


def test_there_are_two_primitives():
    with pytest.raises(UsageError, match="surfels"):
        SplatRenderer(primitive="surfel")
