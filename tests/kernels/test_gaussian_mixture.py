"""Sums of Gaussians against a plain loop, the reference, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.gaussian_mixture import REACH, gaussian_mixture


def mixture(points: int, gaussians: int, width: int = 2, dtype=torch.float32, spread: float = 0.4):
    generator = torch.Generator().manual_seed(points + gaussians)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    axes = torch.linalg.qr(random(gaussians, 3, 3) - 0.5)[0]
    scales = spread * torch.exp(random(gaussians, 3) - 0.5)
    whitening = axes.mT / scales[:, :, None]
    return (
        random(points, 3) * 4 - 2, random(gaussians, 3) * 4 - 2, whitening, random(gaussians), random(gaussians, width)
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_values_are_those_of_a_plain_loop(mode):
    points, means, whitening, amplitudes, features = mixture(40, 30)
    with use(mode):
        total, sums = gaussian_mixture(points, means, whitening, amplitudes, features)
    for n in range(40):
        amount, carried = 0.0, [0.0, 0.0]
        for i in range(30):
            squared = float((whitening[i].double() @ (points[n] - means[i]).double()).square().sum())
            weight = float(amplitudes[i]) * math.exp(-squared / 2) if squared < REACH**2 else 0.0
            amount += weight
            carried = [a + weight * float(b) for a, b in zip(carried, features[i], strict=True)]
        assert float(total[n]) == pytest.approx(amount, abs=2e-6)
        torch.testing.assert_close(sums[n], torch.tensor(carried), atol=2e-6, rtol=1e-5)


def test_the_reference_is_differentiated_right():
    inputs = [tensor.requires_grad_(True) for tensor in mixture(3, 4, dtype=torch.float64, spread=2.0)]
    assert torch.autograd.gradcheck(gaussian_mixture, inputs)


@pytest.mark.parametrize(
    ("points", "gaussians", "width", "spread"), [(500, 300, 3, 0.1), (300, 50, 0, 2.0), (1, 5, 1, 1.0), (50, 1, 2, 0.3)]
)
def test_kernel_gradients_match_the_reference(points, gaussians, width, spread):
    answers = []
    for mode in ("fast", "reference"):
        leaves = [tensor.requires_grad_(True) for tensor in mixture(points, gaussians, width, spread=spread)]
        with use(mode):
            total, sums = gaussian_mixture(*leaves)
        weights = torch.linspace(-1, 1, points)
        gradients = torch.autograd.grad((total * weights).sum() + (sums * weights[:, None]).sum(), leaves)
        answers.append([total, sums, *gradients])
    for fast, reference in zip(*answers, strict=True):
        scale = max(float(reference.detach().abs().max()), 1.0) if reference.numel() else 1.0
        torch.testing.assert_close(fast, reference, atol=3e-6 * scale, rtol=1e-4)


def test_gaussians_that_cover_everything_and_points_in_one_place():
    points, means, whitening, amplitudes, features = mixture(200, 400, spread=50.0)
    points = torch.cat([points, points[:1].expand(50, 3)])
    with use("reference"):
        expected = gaussian_mixture(points, means, whitening, amplitudes, features)
    for fast, reference in zip(gaussian_mixture(points, means, whitening, amplitudes, features), expected, strict=True):
        torch.testing.assert_close(fast, reference, atol=1e-4, rtol=1e-5)


def test_a_point_that_is_no_number_leaves_the_others_alone():
    points, *gaussians = mixture(50, 20)
    expected = gaussian_mixture(points, *gaussians)[0]
    assert expected.any()
    points[0, 1], points[1, 2] = torch.nan, torch.inf
    torch.testing.assert_close(gaussian_mixture(points, *gaussians)[0][2:], expected[2:])


def test_no_points_and_no_gaussians():
    points, means, whitening, amplitudes, features = mixture(7, 5)
    total, sums = gaussian_mixture(points[:0], means, whitening, amplitudes, features)
    assert total.shape == (0,)
    assert sums.shape == (0, 2)
    total, sums = gaussian_mixture(points, means[:0], whitening[:0], amplitudes[:0], features[:0])
    assert not total.any()
    assert not sums.any()
