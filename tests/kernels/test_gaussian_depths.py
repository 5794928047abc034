"""Depths of shares of opacity against a plain loop over pixels, and the kernel against the reference."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels import use
from onefield.kernels.gaussian_blending import MAX_ALPHA, STOP
from onefield.kernels.gaussian_depths import gaussian_depths
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, gaussian_tiles
from tests.kernels.gaussian_pictures import footprints

SHARES = (0.2, 0.5, 0.9)


def found_depths(given, width, height, shares=SHARES):
    names = ("pixels", "conics", "variances", "opacities", "depths")
    tiles = gaussian_tiles(*(given[name] for name in names), width, height)
    inputs = (given[name] for name in ("pixels", "conics", "opacities", "depths"))
    return gaussian_depths(*inputs, tiles, width, height, shares)


def loop(given, x, y):
    """Every Gaussian at one pixel, near to far, in plain numbers; each share's depth, and how near a tie it was."""
    left, found, closest = 1.0, [math.inf] * len(SHARES), 1.0
    for i in given["depths"].argsort(stable=True).tolist():
        right, down = x - float(given["pixels"][i, 0]), y - float(given["pixels"][i, 1])
        xx, xy, yy = given["conics"][i].tolist()
        alpha = float(given["opacities"][i]) * math.exp(-0.5 * (xx * right**2 + yy * down**2) - xy * right * down)
        closest = min(closest, abs(alpha - LEAST_ALPHA))
        if alpha < LEAST_ALPHA:
            continue
        after = left * (1 - min(alpha, MAX_ALPHA))
        closest = min(closest, abs(after - STOP), *(abs(after - 1 + share) for share in SHARES))
        if after < STOP:
            break
        left = after
        found = [
            float(given["depths"][i]) if depth == math.inf and left <= 1 - share else depth
            for depth, share in zip(found, SHARES, strict=True)
        ]
    return found, closest


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_depths_are_those_of_a_plain_loop(mode):
    given = footprints(40, 37, 21, size=4.0)
    with use(mode):
        depths = found_depths(given, 37, 21)
    assert bool(torch.isfinite(depths).any())
    assert bool(torch.isinf(depths).any())
    assert bool((depths[..., 0] <= depths[..., 1]).all())
    for y in range(0, 21, 2):
        for x in range(37):
            expected, closest = loop(given, x + 0.5, y + 0.5)
            # where rounding decides, either Gaussian is right
            if closest > 1e-5:
                torch.testing.assert_close(depths[y, x], torch.tensor(expected))


def test_kernel_and_reference_agree_on_large_pictures():
    given = footprints(1500, 75, 60)
    answers = []
    for mode in ("fast", "reference"):
        with use(mode):
            answers.append(found_depths(given, 75, 60))
    differ = (answers[0] != answers[1]).any(-1)
    assert float(differ.float().mean()) < 1e-3


def test_nothing_to_see_is_infinitely_far_and_shares_are_checked():
    given = footprints(3, 20, 20)
    given["opacities"] = torch.zeros(3)
    assert bool(torch.isinf(found_depths(given, 20, 20)).all())
    with pytest.raises(UsageError, match="between 0 and 1"):
        found_depths(given, 20, 20, shares=(1.0,))
