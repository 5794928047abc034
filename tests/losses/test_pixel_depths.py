"""Losses on Gaussians of pixels against sums done by hand."""

from __future__ import annotations

import pytest
import torch

from onefield.configs.objective import build_objective
from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.fields.pixel_gaussians import PixelGaussians, PixelMatches, PixelRays
from onefield.losses.pixel_depths import depth_variation, match_distance
from onefield.losses.term import Evidence
from onefield.types import Bounds


def field(depths: list[float], segments: list[int], matches: PixelMatches | None = None) -> PixelGaussians:
    """Two views of 2 x 2 pixels along z, from the origin and from (1, 0, 0); the last pixel has no Gaussian."""
    directions = torch.tensor([[-0.5, -0.5, 1.0], [0.5, -0.5, 1.0], [-0.5, 0.5, 1.0], [0.5, 0.5, 1.0]]).repeat(2, 1)
    pixels = PixelRays(
        sizes=((2, 2), (2, 2)),
        origins=torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        spreads=torch.ones(2),
        views=torch.tensor([0, 0, 0, 0, 1, 1, 1]),
        places=torch.arange(7),
        directions=directions[:7],
        depths=torch.tensor(depths),
        segments=torch.tensor(segments),
        colors=torch.rand(7, 3),
    )
    return PixelGaussians(Bounds.cube(4.0), pixels, matches=matches, segments=2, width=2)


def test_variation_counts_neighbours_of_one_segment():
    some = field([1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 3.0], [0, 0, 0, 1, 0, 0, 0])
    # the first two pixels, and the first column of the second view; 1 / 2 against 1 / 4, of 16 places
    assert float(depth_variation(some, some.gaussians().means).detach().detach()) == pytest.approx((0.25 + 0.25) / 16)


def test_matches_that_meet_cost_nothing_and_others_their_distance():
    meeting = PixelMatches(
        rows=torch.tensor([1]),
        partners=torch.tensor([4]),
        directions=torch.tensor([[-0.5, -0.5, 1.0]]),
        known_rows=torch.tensor([2]),
        known_depths=torch.tensor([2.0]),
    )
    # (0.5, -0.5, 1) from both sides, and a known depth one off along (-0.5, 0.5, 1)
    some = field([1.0] * 7, [0] * 7, meeting)
    means = some.gaussians().means
    assert float(match_distance(some, means).detach().detach()) == pytest.approx((0 + 1.0 * 2.0) / 2)
    apart = field([1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0], [0] * 7, meeting)
    assert float(match_distance(apart, apart.gaussians().means).detach()) == pytest.approx((0.5 + 0.5 + 1.0) / 2)
    assert float(match_distance(field([1.0] * 7, [0] * 7), means)) == 0.0


def test_configurations_know_them_and_refuse_other_fields():
    some = field([1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 3.0], [0, 0, 0, 1, 0, 0, 0])
    colors = torch.zeros(4, 3)
    (term,) = build_objective({"depth_variation": 5.0}, some)
    assert float(term.evaluate(Evidence(colors, colors, some))) == pytest.approx(0.5 / 16)
    assert float(build_objective({"match_distance": 0.1}, some)[0].evaluate(Evidence(colors, colors, some))) == 0.0
    with pytest.raises(UsageError, match="'match_distance' needs Gaussians of pixels"):
        build_objective({"match_distance": 0.1}, SphereField())
