"""Blending surfels against the paper's formulas pixel by pixel, the reference, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.gaussian_blending import MAX_ALPHA, STOP
from onefield.kernels.gaussian_tiles import LEAST_ALPHA
from onefield.kernels.surfel_blending import surfel_blend
from tests.kernels.surfel_pictures import NEAR, inputs, paper, surfels


def blended(leaves, rest, width, height, tally=None):
    return surfel_blend(*leaves, *rest.values(), width, height, near=NEAR, tally=tally)


def loop(given, x, y):
    """Every surfel at one pixel, near to far, in plain numbers; and how near any cut was."""
    passing, shown, closest = 1.0, [0.0] * 5, 1.0
    for i in given["means"][:, 2].argsort(stable=True).tolist():
        squared, depth = paper(given, i, x, y)
        alpha = float(given["opacities"][i]) * math.exp(-0.5 * squared)
        closest = min(closest, abs(alpha - LEAST_ALPHA))
        if alpha < LEAST_ALPHA:
            continue
        alpha = min(alpha, MAX_ALPHA)
        closest = min(closest, abs(passing * (1 - alpha) - STOP))
        if passing * (1 - alpha) < STOP:
            break
        values = [*given["features"][i].tolist(), depth, depth * depth]
        shown = [s + passing * alpha * value for s, value in zip(shown, values, strict=True)]
        passing *= 1 - alpha
    return shown, passing, closest


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_pixels_are_those_of_the_papers_formulas(mode):
    given = surfels(40, 37, 21)
    leaves, rest = inputs(given, 37, 21)
    with use(mode):
        shown, moments, left = blended(leaves.values(), rest, 37, 21)
    assert float(left.min()) < 0.01
    for y in range(0, 21, 4):
        for x in range(0, 37, 2):
            expected, passing, closest = loop(given, x + 0.5, y + 0.5)
            if closest > 1e-5:
                found = torch.cat([shown[y, x], moments[y, x]])
                torch.testing.assert_close(found, torch.tensor(expected), atol=5e-5, rtol=1e-5)
                assert float(left[y, x]) == pytest.approx(passing, abs=1e-5)


def test_the_reference_is_differentiated_right():
    leaves, rest = inputs(surfels(5, 5, 4, size=0.5, dtype=torch.float64), 5, 4)
    leaves = [leaf.detach().requires_grad_(True) for leaf in leaves.values()]
    assert torch.autograd.gradcheck(lambda *given: blended(given, rest, 5, 4), leaves, fast_mode=True)


def at_a_threshold(fast, reference):
    """Rows in which rounding decided a cut otherwise: at most a few of a thousand."""
    scale = max(1.0, float(reference.abs().quantile(0.99)))
    off = ~torch.isclose(fast, reference, atol=5e-5 * scale, rtol=2e-3)
    return off.reshape(len(off), -1).any(1)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_kernel_gradients_match_the_reference(channels):
    width, height, answers = 75, 60, []
    slopes = torch.randn(height, width, channels), torch.randn(height, width, 2), torch.randn(height, width)
    for mode in ("fast", "reference"):
        given, rest = inputs(surfels(800, width, height, size=0.1), width, height)
        given["features"] = torch.cat([given["features"], given["features"].flip(0)], 1)[:, :channels].contiguous()
        leaves = [leaf.detach().requires_grad_(True) for leaf in given.values()]
        tally = torch.zeros(800, 2, requires_grad=True)
        with use(mode):
            outputs = blended(leaves, rest, width, height, tally)
        answers.append([*outputs, *torch.autograd.grad(outputs, [*leaves, tally], slopes)])
    for fast, reference in zip(*answers, strict=True):
        assert fast.shape == reference.shape
        assert reference.detach().any()
        assert float(at_a_threshold(fast.detach(), reference.detach()).float().mean()) < 0.01


def test_the_tally_is_the_sum_of_each_pixels_absolute_gradient():
    given, rest = inputs(surfels(30, 6, 5, size=0.5), 6, 5)
    total, slopes = torch.zeros(30, 2), torch.randn(5, 6, 3)
    for y in range(5):
        for x in range(6):
            leaves = [leaf.detach().clone().requires_grad_(True) for leaf in given.values()]
            shown, _, _ = blended(leaves, rest, 6, 5)
            total += torch.autograd.grad((shown[y, x] * slopes[y, x]).sum(), leaves[0])[0].abs()
    tally = torch.zeros(30, 2, requires_grad=True)
    shown, _, _ = blended(given.values(), rest, 6, 5, tally)
    shown.backward(slopes)
    torch.testing.assert_close(tally.grad, total, atol=1e-5, rtol=1e-4)
    assert total.max() > 0.01


def test_nothing_to_see_is_an_empty_picture():
    given = surfels(4, 20, 20)
    given["opacities"][:] = 0
    given, rest = inputs(given, 20, 20)
    leaves = [leaf.detach().requires_grad_(True) for leaf in given.values()]
    shown, moments, left = blended(leaves, rest, 20, 20)
    assert not shown.any()
    assert not moments.any()
    assert (left == 1).all()
    for slope in torch.autograd.grad(shown.sum() + moments.sum() + left.sum(), leaves):
        assert not slope.any()
