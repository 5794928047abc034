"""Blending Gaussians against a loop over pixels, the reference, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.gaussian_blending import MAX_ALPHA, STOP, gaussian_blend
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, gaussian_tiles
from tests.kernels.gaussian_pictures import footprints

INPUTS = ("pixels", "conics", "opacities", "features")


def tiles_of(given, width, height):
    names = ("pixels", "conics", "variances", "opacities", "depths")
    return gaussian_tiles(*(given[name].detach() for name in names), width, height)


def blended(given, width, height, leaves=None, tally=None):
    leaves = [given[name] for name in INPUTS] if leaves is None else leaves
    return gaussian_blend(*leaves, tiles_of(given, width, height), width, height, tally=tally)


def loop(given, x, y):
    """Every Gaussian at one pixel, near to far, in plain numbers."""
    passing, shown = 1.0, [0.0] * 3
    for i in given["depths"].argsort(stable=True).tolist():
        right, down = x - float(given["pixels"][i, 0]), y - float(given["pixels"][i, 1])
        xx, xy, yy = given["conics"][i].tolist()
        alpha = float(given["opacities"][i]) * math.exp(-0.5 * (xx * right**2 + yy * down**2) - xy * right * down)
        if alpha < LEAST_ALPHA:
            continue
        alpha = min(alpha, MAX_ALPHA)
        if passing * (1 - alpha) < STOP:
            break
        shown = [s + passing * alpha * float(f) for s, f in zip(shown, given["features"][i], strict=True)]
        passing *= 1 - alpha
    return shown, passing


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_pixels_are_those_of_a_plain_loop(mode):
    given = footprints(150, 37, 21, size=4.0)
    with use(mode):
        shown, left = blended(given, 37, 21)
    assert (left < 1e-3).any()  # some pixels end before the last Gaussian
    for y in range(0, 21, 2):
        for x in range(37):
            expected, passing = loop(given, x + 0.5, y + 0.5)
            torch.testing.assert_close(shown[y, x], torch.tensor(expected), atol=2e-5, rtol=0)
            assert float(left[y, x]) == pytest.approx(passing, abs=2e-6)


def test_the_reference_is_differentiated_right():
    given = footprints(6, 5, 4, dtype=torch.float64)
    given["pixels"] = given["pixels"].clamp(0, 4)
    given["opacities"] = given["opacities"] * 0.5 + 0.1
    leaves = [given[name].requires_grad_(True) for name in INPUTS]
    assert torch.autograd.gradcheck(lambda *inputs: blended(given, 5, 4, inputs), leaves)


def at_a_threshold(fast, reference):
    """Rows in which rounding decided a cut otherwise: at most a few of a thousand."""
    scale = max(1.0, float(reference.abs().max()))
    off = ~torch.isclose(fast, reference, atol=2e-5 * scale, rtol=1e-3)
    return off.reshape(len(off), -1).any(1)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_kernel_gradients_match_the_reference(channels):
    width, height, answers = 75, 60, []
    cotangents = torch.randn(height, width, channels), torch.randn(height, width)
    for mode in ("fast", "reference"):
        given = footprints(1500, width, height)
        given["features"] = torch.cat([given["features"], given["features"].flip(0)], 1)[:, :channels].contiguous()
        leaves = [given[name].requires_grad_(True) for name in INPUTS]
        tally = torch.zeros(1500, 2, requires_grad=True)
        with use(mode):
            outputs = blended(given, width, height, leaves, tally)
        answers.append([*outputs, *torch.autograd.grad(outputs, [*leaves, tally], cotangents)])
    for fast, reference in zip(*answers, strict=True):
        assert fast.shape == reference.shape
        assert float(at_a_threshold(fast.detach(), reference.detach()).float().mean()) < 0.005


def test_the_tally_is_the_sum_of_each_pixels_absolute_gradient():
    given, total = footprints(12, 6, 5), torch.zeros(12, 2)
    slopes = torch.randn(5, 6, 3)
    for y in range(5):
        for x in range(6):
            leaves = [given[name].clone().requires_grad_(True) for name in INPUTS]
            shown, _ = blended(given, 6, 5, leaves)
            total += torch.autograd.grad((shown[y, x] * slopes[y, x]).sum(), leaves[0])[0].abs()
    tally = torch.zeros(12, 2, requires_grad=True)
    shown, _ = blended(given, 6, 5, tally=tally)
    shown.backward(slopes)
    torch.testing.assert_close(tally.grad, total, atol=1e-5, rtol=1e-4)
    assert total.max() > 0.01


def test_nothing_to_see_is_an_empty_picture():
    given = footprints(4, 20, 20)
    given["depths"][:] = -1.0
    leaves = [given[name].requires_grad_(True) for name in INPUTS]
    shown, left = blended(given, 20, 20, leaves)
    assert not shown.any()
    assert (left == 1).all()
    for slope in torch.autograd.grad(shown.sum() + left.sum(), leaves):
        assert not slope.any()
