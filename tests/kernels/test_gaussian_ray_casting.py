"""Casting rays against an adaptive integral of one Gaussian, a dense float64 one of many, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.gaussian_ray_casting import SLAB, CastGaussians, CastRays, cast_gaussians
from tests.kernels.gaussian_rays import rays_and_gaussians

STEP = 0.02


def dense(rays: CastRays, gaussians: CastGaussians, step: float, early_stop: float) -> torch.Tensor:
    """Colour, depth and opacity of each ray by a plain loop over samples, every Gaussian at each, in float64."""
    rays, gaussians = (type(part)(*(t.double() for t in part)) for part in (rays, gaussians))
    answers = []
    for origin, direction, basis, start, _ in zip(*rays, strict=True):
        colors = torch.einsum("k,pkc->pc", basis, gaussians.harmonics)
        for j in range(gaussians.lobes.shape[1]):
            axis, sharpness, color = gaussians.lobes[:, j].split([3, 1, 3], dim=1)
            colors = colors + torch.exp(sharpness * ((axis @ direction)[:, None] - 1)) * color
        passing, total = torch.ones((), dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
        for k in range(int(6 / step)):
            place = start + (k + 0.5) * step
            whitened = (gaussians.whitening @ (origin + place * direction - gaussians.means)[:, :, None])[:, :, 0]
            squared = whitened.square().sum(1)
            amounts = gaussians.amplitudes * torch.exp(-squared / 2) * (squared < gaussians.reaches**2)
            density = amounts.sum()
            if density > 0 and passing >= early_stop:
                color = (0.5 + amounts @ colors / density).clamp(min=0)
                weight = passing * (1 - torch.exp(-density * step))
                total = total + weight * torch.cat([color, place[None], torch.ones_like(place)[None]])
                passing = passing * torch.exp(-density * step)
        answers.append(total)
    return torch.stack(answers)


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_values_are_those_of_a_plain_loop_in_double_precision(mode):
    rays, gaussians = rays_and_gaussians(12, 30)
    with use(mode):
        cast = cast_gaussians(rays, gaussians, step=STEP)
    truth = dense(rays, gaussians, STEP, 0.003)
    found = torch.cat([cast.color, cast.depth[:, None], cast.opacity[:, None]], 1).double()
    torch.testing.assert_close(found, truth, atol=2e-4, rtol=1e-4)
    assert 0.1 < float(truth[:, 4].min()) < float(truth[:, 4].max())


def one_gaussian(deviation=0.1, amplitude=6.0, offset=0.0):
    """A round one at distance 2 on a ray along z, seen from beside its middle."""
    color = torch.tensor([[[0.3, -0.1, 0.2]]])
    gaussian = CastGaussians(
        torch.tensor([[offset, 0.0, 2.0]]), torch.eye(3)[None] / deviation, torch.tensor([amplitude]),
        torch.tensor([5.0]), color, torch.zeros(1, 0, 7),
    )  # fmt: skip
    ray = CastRays(
        torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]), torch.ones(1, 1), torch.zeros(1), torch.tensor([4.0])
    )
    return ray, gaussian


@pytest.mark.parametrize("offset", [0.0, 0.12])
def test_one_round_gaussian_absorbs_what_its_integral_says(offset):
    """A line through a Gaussian at distance b has a thickness of a s sqrt(2 pi) exp(-b^2 / (2 s^2))."""
    deviation, amplitude = 0.1, 6.0
    ray, gaussian = one_gaussian(deviation, amplitude, offset)
    thickness = amplitude * deviation * math.sqrt(2 * math.pi) * math.exp(-(offset**2) / (2 * deviation**2))
    cast = cast_gaussians(ray, gaussian, step=0.01, shares=(0.3, 0.99))
    opacity = 1 - math.exp(-thickness)
    assert float(cast.opacity) == pytest.approx(opacity, rel=2e-5)
    torch.testing.assert_close(cast.color[0], opacity * torch.tensor([0.8, 0.4, 0.7]), atol=1e-5, rtol=1e-4)
    # where the normal distribution has let through as much as is asked for
    share = torch.tensor(-math.log(1 - 0.3) / thickness, dtype=torch.float64)
    place = 2 + deviation * float(torch.special.ndtri(share))
    assert float(cast.quantiles[0, 0]) == pytest.approx(place, abs=1e-4)
    assert math.isinf(float(cast.quantiles[0, 1]))


def test_quantiles_of_kernel_and_reference_agree():
    rays, gaussians = rays_and_gaussians(60, 40)
    fast = cast_gaussians(rays, gaussians, step=STEP, shares=(0.25, 0.5, 0.9))
    with use("reference"):
        slow = cast_gaussians(rays, gaussians, step=STEP, shares=(0.25, 0.5, 0.9))
    torch.testing.assert_close(fast.quantiles, slow.quantiles, atol=2e-5, rtol=1e-5)
    assert torch.equal(fast.looks, slow.looks)


def learned(rays: CastRays, gaussians: CastGaussians):
    tensors = (*rays[:3], *gaussians[:3], *gaussians[4:])
    return [tensor.detach().clone().requires_grad_(True) for tensor in tensors]


def recast(leaves, rays: CastRays, gaussians: CastGaussians, step: float, early_stop=0.003, cone=0.0):
    moved = CastGaussians(*leaves[3:6], gaussians.reaches, *leaves[6:])
    cast = cast_gaussians(CastRays(*leaves[:3], *rays[3:]), moved, step=step, early_stop=early_stop, cone=cone)
    return cast.color, cast.depth, cast.opacity


def test_the_reference_is_differentiated_right():
    """Against finite differences: rays, middles, shapes, densities, harmonics and lobes."""
    rays, gaussians = rays_and_gaussians(2, 3, harmonics=2, lobes=1, size=0.4, dtype=torch.float64)
    # a reach that no sample comes near to, so that no difference crosses it
    gaussians = gaussians._replace(reaches=torch.full_like(gaussians.reaches, 30.0))
    assert torch.autograd.gradcheck(
        lambda *leaves: recast(leaves, rays, gaussians, 0.4, early_stop=0.0), learned(rays, gaussians), fast_mode=True
    )


@pytest.mark.parametrize(
    ("count", "size", "lobes", "cone"), [(40, 0.15, 2, 0.0), (300, 0.05, 0, 0.0), (12, 1.0, 1, 0.0), (60, 0.2, 1, 0.05)]
)
def test_kernel_gradients_match_the_reference(count, size, lobes, cone):
    rays, gaussians = rays_and_gaussians(70, count, lobes=lobes, size=size)
    answers = []
    for mode in ("fast", "reference"):
        leaves = learned(rays, gaussians)
        with use(mode):
            color, depth, opacity = recast(leaves, rays, gaussians, STEP, cone=cone)
        weights = torch.sin(torch.arange(70.0))
        earned = (
            (color * weights[:, None]).sum() + (depth * weights.cos()).sum() + (opacity * (2 * weights).cos()).sum()
        )
        answers.append([color, depth, opacity, *torch.autograd.grad(earned, leaves)])
    for fast, reference in zip(*answers, strict=True):
        scale = float(reference.detach().abs().max()) if reference.numel() else 1.0
        torch.testing.assert_close(fast, reference, atol=2e-5 * max(scale, 1.0), rtol=1e-4)


def test_many_gaussians_in_one_place_overflow_no_list():
    rays, gaussians = rays_and_gaussians(3, 700, size=0.5)
    gaussians = gaussians._replace(amplitudes=gaussians.amplitudes / 300)
    fast = cast_gaussians(rays, gaussians, step=0.1)
    with use("reference"):
        slow = cast_gaussians(rays, gaussians, step=0.1)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_same_call_gives_the_same_bits():
    rays, gaussians = rays_and_gaussians(100, 200, size=0.1)
    runs = []
    for _ in range(2):
        leaves = learned(rays, gaussians)
        color, depth, _ = recast(leaves, rays, gaussians, STEP)
        runs.append([color, *torch.autograd.grad(color.square().sum() + depth.sum(), leaves)])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_samples_behind_the_end_and_rays_that_miss_or_have_none_see_nothing():
    ray, gaussian = one_gaussian()
    half = cast_gaussians(ray._replace(ends=torch.tensor([2.0])), gaussian, step=0.01)
    thickness = 6.0 * 0.1 * math.sqrt(2 * math.pi) / 2
    assert float(half.opacity) == pytest.approx(1 - math.exp(-thickness), rel=1e-4)
    for changed in (
        ray._replace(ends=torch.tensor([1.0])),
        ray._replace(directions=torch.tensor([[0.0, 0.0, -1.0]])),
        ray._replace(origins=torch.tensor([[0.0, 3.0, 0.0]])),
        ray._replace(directions=torch.full((1, 3), torch.nan)),
    ):
        cast = cast_gaussians(changed, gaussian, step=0.01)
        assert not any(bool(part.any()) for part in cast[:3])
        assert int(cast.looks) == 0


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_gaussians_that_mean_nothing_leave_the_others_and_all_gradients_alone(mode):
    ray, gaussian = one_gaussian()
    broken = CastGaussians(*(torch.cat([part] * 3) for part in gaussian))
    broken.whitening[1] = 1e30
    broken.reaches[2] = -1.0
    with use(mode):
        alone, together = (cast_gaussians(ray, some, step=0.01) for some in (gaussian, broken))
        leaves = learned(ray, broken)
        earned = sum(part.sum() for part in recast(leaves, ray, broken, 0.01))
        slopes = torch.autograd.grad(earned, leaves)
        none = cast_gaussians(ray, CastGaussians(*(part[:0] for part in gaussian)), step=0.01)
        nobody = cast_gaussians(CastRays(*(part[:0] for part in ray)), gaussian, step=0.01)
    torch.testing.assert_close(alone.color, together.color)
    assert all(bool(torch.isfinite(slope).all()) for slope in slopes)
    assert not none.color.any()
    assert nobody.color.shape == (0, 3)


def test_farther_slabs_are_as_much_longer_as_the_cone_says():
    """Samples of slabs that begin before step / cone are step apart, those of others cone times the slab's start."""
    ray, gaussian = one_gaussian(deviation=0.5)
    step, cone = 0.01, 0.02
    begin, asked = 0.0, 0
    while begin < 4.0:
        length = max(step, cone * begin)
        # within the reach of five deviations all samples have some density
        asked += sum(begin + (k + 0.5) * length < 4.0 for k in range(SLAB))
        begin += SLAB * length
    gaussian = gaussian._replace(amplitudes=torch.tensor([0.1]))
    cast = cast_gaussians(ray, gaussian, step=step, cone=cone)
    assert int(cast.looks) == asked
    thickness = 0.1 * 0.5 * math.sqrt(2 * math.pi)
    assert float(cast.opacity) == pytest.approx(1 - math.exp(-thickness), rel=2e-3)
