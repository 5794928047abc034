"""Structural similarity as a loss against the metric of tables, the reference, and finite differences."""

from __future__ import annotations

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.structural_similarity import RADIUS, WINDOW, structural_similarity
from onefield.training.metrics import ssim


def pictures(height, width, channels=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(height)
    target = torch.rand(height, width, channels, generator=generator, dtype=dtype)
    return (target + 0.2 * torch.randn(height, width, channels, generator=generator, dtype=dtype)).clamp(0, 1), target


def test_equal_pictures_are_alike_and_others_are_less():
    prediction, target = pictures(30, 40)
    assert float(structural_similarity(target, target)) == pytest.approx(1.0, abs=1e-5)
    assert 0.2 < float(structural_similarity(prediction, target)) < 0.95


def test_away_from_the_border_it_is_the_metric():
    """The metric takes whole windows only; on a picture in a wide black frame the frame's own windows are all 1."""
    prediction, target = pictures(24, 20)
    framed = [
        torch.nn.functional.pad(image, (0, 0, RADIUS * 3, RADIUS * 3, RADIUS * 3, RADIUS * 3))
        for image in (prediction, target)
    ]
    whole = float(structural_similarity(*framed)) * framed[0].shape[0] * framed[0].shape[1]
    inner = ssim(*framed) * (framed[0].shape[0] - 2 * RADIUS) * (framed[0].shape[1] - 2 * RADIUS)
    border = framed[0].shape[0] * framed[0].shape[1] - (framed[0].shape[0] - 10) * (framed[0].shape[1] - 10)
    assert whole == pytest.approx(inner + border, rel=1e-4)
    assert sum(WINDOW) == pytest.approx(1.0)


def test_the_reference_is_differentiated_right():
    prediction, target = pictures(7, 6, 1, torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: structural_similarity(x, target), [prediction.requires_grad_(True)], fast_mode=True
    )


@pytest.mark.parametrize(("height", "width", "channels"), [(37, 29, 3), (4, 60, 1), (1, 1, 3)])
def test_the_kernel_matches_the_reference(height, width, channels):
    answers = []
    for mode in ("fast", "reference"):
        prediction, target = pictures(height, width, channels)
        prediction.requires_grad_(True)
        with use(mode):
            value = structural_similarity(prediction, target)
        answers.append((value, *torch.autograd.grad(3 * value, prediction)))
    torch.testing.assert_close(answers[0][0], answers[1][0], atol=2e-6, rtol=1e-5)
    scale = float(answers[1][1].abs().max())
    torch.testing.assert_close(answers[0][1], answers[1][1], atol=1e-4 * scale, rtol=1e-3)
