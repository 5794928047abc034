"""Depths of shares of opacity in surfels against the paper's formulas, and the kernel against the reference."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels import use
from onefield.kernels.gaussian_blending import MAX_ALPHA, STOP
from onefield.kernels.gaussian_tiles import LEAST_ALPHA
from onefield.kernels.surfel_depths import surfel_depths
from tests.kernels.surfel_pictures import NEAR, inputs, paper, surfels

SHARES = (0.2, 0.5, 0.9)


def found_depths(given, width, height, shares=SHARES):
    leaves, rest = inputs(given, width, height)
    rows = (leaves[name] for name in ("pixels", "slopes", "depths", "opacities"))
    return surfel_depths(*rows, rest["tiles"], width, height, shares, near=NEAR)


def loop(given, x, y):
    """Every surfel at one pixel, near to far, in plain numbers; each share's depth, and how near a tie it was."""
    left, found, closest = 1.0, [math.inf] * len(SHARES), 1.0
    for i in given["means"][:, 2].argsort(stable=True).tolist():
        squared, depth = paper(given, i, x, y)
        alpha = float(given["opacities"][i]) * math.exp(-0.5 * squared)
        closest = min(closest, abs(alpha - LEAST_ALPHA))
        if alpha < LEAST_ALPHA:
            continue
        after = left * (1 - min(alpha, MAX_ALPHA))
        closest = min(closest, abs(after - STOP), *(abs(after - 1 + share) for share in SHARES))
        if after < STOP:
            break
        left = after
        found = [
            depth if old == math.inf and left <= 1 - share else old for old, share in zip(found, SHARES, strict=True)
        ]
    return found, closest


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_depths_are_those_of_the_papers_formulas(mode):
    given = surfels(40, 37, 21)
    with use(mode):
        depths = found_depths(given, 37, 21)
    assert bool(torch.isfinite(depths).any())
    assert bool(torch.isinf(depths).any())
    for y in range(0, 21, 4):
        for x in range(0, 37, 2):
            expected, closest = loop(given, x + 0.5, y + 0.5)
            # where rounding decides, either surfel is right
            if closest > 1e-5:
                torch.testing.assert_close(depths[y, x], torch.tensor(expected), atol=2e-5, rtol=1e-5)


def test_kernel_and_reference_agree_on_large_pictures():
    given, answers = surfels(800, 75, 60, size=0.1), []
    for mode in ("fast", "reference"):
        with use(mode):
            answers.append(found_depths(given, 75, 60))
    differ = ~torch.isclose(*answers, atol=1e-4, rtol=0).all(-1)
    assert float(differ.float().mean()) < 2e-3


def test_nothing_to_see_is_infinitely_far_and_shares_are_checked():
    given = surfels(3, 20, 20)
    given["opacities"] = torch.zeros(3)
    assert bool(torch.isinf(found_depths(given, 20, 20)).all())
    with pytest.raises(UsageError, match="between 0 and 1"):
        found_depths(given, 20, 20, shares=(1.0,))
