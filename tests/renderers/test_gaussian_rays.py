"""Rays cast through Gaussians: against an independent float64 integral, finite differences, and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.fields.gaussians import GaussianField
from onefield.renderers.background import White
from onefield.renderers.gaussian_rays import GaussianRayRenderer
from onefield.types import Bounds, Gaussians, Lobes, Rays


def some_gaussians(count=40, degree=1, lobes=2, size=0.15, dtype=torch.float32) -> Gaussians:
    generator = torch.Generator().manual_seed(count)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return Gaussians(
        0.5 * normal(count, 3), math.log(size) + 0.3 * normal(count, 3), normal(count, 4), normal(count),
        tuple(0.4 * normal(count, 2 * band + 1, 3) for band in range(degree + 1)),
        Lobes(normal(count, lobes, 3), 1 + 0.2 * normal(count, lobes), 0.3 * normal(count, lobes, 3)),
    )  # fmt: skip


def some_rays(count=20, dtype=torch.float32) -> Rays:
    generator = torch.Generator().manual_seed(count)
    origins = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    origins = 3 * torch.nn.functional.normalize(origins, dim=-1)
    aim = 0.3 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return Rays(origins.to(dtype), torch.nn.functional.normalize(aim - origins, dim=-1).to(dtype))


def integral(gaussians: Gaussians, rays: Rays, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour over white and mean depth by the trapezoid rule in float64, from covariances, nothing cut off."""
    w, x, y, z = torch.nn.functional.normalize(gaussians.quaternions.double(), dim=-1).unbind(-1)
    turn = torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        1,
    )
    covariances = turn @ torch.diag_embed((2 * gaussians.log_scales.double()).exp()) @ turn.mT
    peaks = -torch.log(1 - torch.sigmoid(gaussians.opacities.double()))
    peaks = peaks / (math.sqrt(2 * math.pi) * gaussians.log_scales.double().exp().amin(1))
    origins, directions = rays.origins.double(), rays.directions.double()
    offsets = origins[:, None] + places[None, :, None] * directions[:, None]
    offsets = offsets[:, :, None] - gaussians.means.double()
    squared = torch.einsum("rspi,pij,rspj->rsp", offsets, torch.linalg.inv(covariances), offsets)
    amounts = peaks * torch.exp(-squared / 2)
    dx, dy, dz = directions.unbind(-1)
    band0, band1 = (band.double() for band in gaussians.harmonics)
    colors = 0.5 + 0.28209479177387814 * band0[None, :, 0]
    for k, value in enumerate((-dy, dz, -dx)):
        colors = colors + 0.4886025119029199 * value[:, None, None] * band1[None, :, k]
    axes = torch.nn.functional.normalize(gaussians.lobes.axes.double(), dim=-1)
    shape = torch.exp(
        gaussians.lobes.log_sharpness.double().exp() * (torch.einsum("ri,pji->rpj", directions, axes) - 1)
    )
    colors = colors + torch.einsum("rpj,pjc->rpc", shape, gaussians.lobes.colors.double())
    density = amounts.sum(-1)
    color = (torch.einsum("rsp,rpc->rsc", amounts, colors) / density[..., None]).clamp(min=0)
    behind = torch.cumulative_trapezoid(density, places, dim=1)
    passing = torch.cat([torch.ones_like(behind[:, :1]), torch.exp(-behind)], 1)
    emitted = (passing * density)[..., None] * torch.cat([color, places[None, :, None].expand(*density.shape, 1)], -1)
    total = torch.trapezoid(emitted, places, dim=1)
    return total[:, :3] + passing[:, -1:], total[:, 3] / (1 - passing[:, -1])


def test_rays_agree_with_an_independent_integral():
    gaussians, rays = some_gaussians(), some_rays()
    with torch.no_grad():
        found = GaussianRayRenderer(White(), step=0.004, early_stop=1e-5).render(
            GaussianField(Bounds.cube(1.0), gaussians), rays
        )
    truth, depth = integral(gaussians, rays, torch.linspace(0.5, 5.5, 4001, dtype=torch.float64))
    # what lies beyond the reaches is at most 1/255 of each Gaussian's light, and there are many
    torch.testing.assert_close(found.color.double(), truth, atol=8e-3, rtol=0)
    assert float((found.color.double() - truth).abs().mean()) < 3e-3
    torch.testing.assert_close(found.depth.double(), depth, atol=0.02, rtol=0)
    assert float(truth.std()) > 0.1


def test_every_parameter_ray_and_background_is_differentiated_right():
    gaussians, rays = some_gaussians(3, lobes=1, size=0.4, dtype=torch.float64), some_rays(2, torch.float64)
    own = gaussians.lobes
    behind = torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    leaves = [rays.origins, rays.directions, behind, gaussians.means, gaussians.log_scales, gaussians.quaternions]
    leaves += [gaussians.opacities, *gaussians.harmonics, own.axes, own.log_sharpness, own.colors]
    leaves = [leaf.clone().requires_grad_(True) for leaf in leaves]
    # rays must not stop, and samples not cross a reach, on the way of a difference
    renderer = GaussianRayRenderer(step=0.11, early_stop=0.0)

    class Given(torch.nn.Module):
        def __init__(self, parameters):
            super().__init__()
            self.given = parameters

        def gaussians(self):
            means, scales, quaternions, opacities, constant, linear, *lobes = self.given
            return Gaussians(means, scales, quaternions, opacities, (constant, linear), Lobes(*lobes))

        def __len__(self):
            return len(self.given[0])

    def rendered(origins, directions, behind, *parameters):
        answer = renderer.render(Given(parameters), Rays(origins, directions), background=behind)
        return answer.color, answer.depth, answer.opacity

    assert torch.autograd.gradcheck(rendered, leaves, atol=1e-5, fast_mode=True)


def camera(size=24, back=3.0) -> Cameras:
    pose = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -back]]])
    return Cameras.pinhole(pose, 1.4 * size, [size / 2, size / 2], size, size)


def ball(opacity=8.0, size=0.2) -> GaussianField:
    """One opaque round Gaussian in the middle."""
    return GaussianField(
        Bounds.cube(1.0),
        Gaussians(
            torch.zeros(1, 3), torch.full((1, 3), math.log(size)), torch.tensor([[1.0, 0, 0, 0]]),
            torch.tensor([opacity]), (torch.full((1, 1, 3), 0.8),),
        ),
    )  # fmt: skip


def test_rays_of_double_precision_see_gaussians_of_single():
    rays = camera().image_rays(0)
    doubled = Rays(rays.origins.double(), rays.directions.double())
    shown = GaussianRayRenderer().render(ball(), doubled, normals=True)
    torch.testing.assert_close(shown.color.float(), GaussianRayRenderer().render(ball(), rays).color)


def test_a_picture_is_its_rays_with_normals_towards_the_eye_and_the_median_before_the_middle():
    renderer, view = GaussianRayRenderer(White()), camera()
    image = renderer.render_image(ball(), view, 0, normals=True, quantiles=(0.25, 0.5))
    whole = renderer.render(ball(), view.image_rays(0))
    torch.testing.assert_close(image.color.reshape(-1, 3), whole.color.detach())
    torch.testing.assert_close(image.depth.reshape(-1), whole.depth.detach())
    middle = image.quantiles[12, 12]
    assert 2.4 < float(middle[0]) < float(middle[1]) < float(image.depth[12, 12]) + 0.05 < 3.0
    torch.testing.assert_close(image.normal[12, 12], torch.tensor([0.0, 0.0, -1.0]), atol=0.2, rtol=0)
    assert not image.normal[0, 0].any()
    assert bool(torch.isinf(image.quantiles[0, 0]).all())
    assert float(image.color[0, 0].min()) == 1.0


def test_rays_keep_to_their_limits():
    rays = Rays(torch.tensor([[0.0, 0.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
    thin = ball(opacity=0.0)
    half = GaussianRayRenderer().render(thin, Rays(rays.origins, rays.directions, far=torch.tensor([3.0])))
    other = GaussianRayRenderer().render(thin, Rays(rays.origins, rays.directions, near=torch.tensor([3.0])))
    late = GaussianRayRenderer(near=3.0).render(thin, rays)
    assert float(half.opacity.detach()) == pytest.approx(1 - 0.5**0.5, abs=0.01)
    for one in (other, late):
        assert float(one.opacity.detach()) == pytest.approx(1 - 0.5**0.5, abs=0.01)


def test_gaussians_too_thin_for_the_samples_absorb_what_they_should():
    """A sheet a hundredth of a step thick, wherever the samples fall: 1 - opacity passes a ray across it."""
    sheet = Gaussians(
        torch.zeros(1, 3), torch.tensor([[0.5, 0.5, 1e-4]]).log(), torch.tensor([[1.0, 0, 0, 0]]), torch.zeros(1),
        (torch.zeros(1, 1, 3),),
    )  # fmt: skip
    origins = torch.zeros(50, 3)
    origins[:, 2] = -2 - torch.linspace(0, 0.01, 50)
    rays = Rays(origins, torch.tensor([0.0, 0.0, 1.0]).expand(50, 3))
    opacity = GaussianRayRenderer(step=0.01).render(GaussianField(Bounds.cube(1.0), sheet), rays).opacity.detach()
    assert float((opacity - 0.5).abs().max()) < 0.015


def test_training_moves_samples_and_looking_does_not():
    field, rays = GaussianField(Bounds.cube(1.0), some_gaussians()), some_rays()
    renderer = GaussianRayRenderer(step=0.05)
    still = [renderer.render(field, rays).color for _ in range(2)]
    moved = [renderer.render(field, rays, torch.Generator().manual_seed(seed)).color for seed in (0, 0, 1)]
    assert torch.equal(*still)
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])
    torch.testing.assert_close(moved[0], still[0], atol=0.05, rtol=0)


def test_nothing_to_see_and_broken_gaussians_give_the_background():
    gaussians = some_gaussians(3)
    broken = Gaussians(
        gaussians.means, gaussians.log_scales - 200, 0 * gaussians.quaternions, gaussians.opacities, gaussians.harmonics
    )
    faint = Gaussians(
        gaussians.means, gaussians.log_scales, gaussians.quaternions, gaussians.opacities - 30, gaussians.harmonics
    )
    for one in (broken, faint):
        field = GaussianField(Bounds.cube(1.0), one)
        drawn = GaussianRayRenderer(White()).render(field, some_rays())
        assert bool(torch.isfinite(drawn.color).all())
        drawn.color.sum().backward()
        assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in field.parameters())
    assert torch.equal(drawn.color, torch.ones_like(drawn.color))


def test_other_fields_and_steps_without_length_are_refused():
    with pytest.raises(UsageError, match="no set of them"):
        GaussianRayRenderer().check(SphereField())
    with pytest.raises(UsageError, match="above 0"):
        GaussianRayRenderer(step=0.0)
