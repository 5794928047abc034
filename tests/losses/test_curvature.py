"""Losses over a cell of the hash grid, on a ball and on what has been roughened."""

from __future__ import annotations

import pytest
import torch

from onefield.losses.curvature import curvature_term, wide_eikonal_term
from onefield.losses.term import Evidence
from tests.catalog import distance_on_a_hash_grid

CELL = 2 / 32


def evidence(field, points):
    empty = torch.zeros(0, 3)
    return Evidence(empty, empty, field, points=points)


def points_at(radius, count=200):
    generator = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * radius


def test_an_untrained_grid_bends_like_its_ball():
    """The distance head starts as a ball, so the Laplacian is 2 / r; per cell it is that times the cell."""
    ball = distance_on_a_hash_grid()
    with torch.no_grad():
        ball.encoding.table.zero_()
    found = curvature_term().evaluate(evidence(ball, points_at(0.5)))
    assert found.item() == pytest.approx(CELL * 2 / 0.5, rel=0.02)
    assert wide_eikonal_term().evaluate(evidence(ball, points_at(0.5))).item() < 1e-3


def test_coarser_levels_count_bends_over_coarser_cells():
    ball = distance_on_a_hash_grid()
    with torch.no_grad():
        ball.encoding.table.zero_()
    ball.encoding.use_levels(1)
    # seen over so much of the ball the distance is no longer nearly quadratic
    assert curvature_term().evaluate(evidence(ball, points_at(0.5))).item() == pytest.approx(4 * CELL * 4, rel=0.2)


@pytest.mark.parametrize("term", [curvature_term, wide_eikonal_term])
def test_what_is_rough_becomes_smooth(term):
    field = distance_on_a_hash_grid()
    torch.manual_seed(1)
    with torch.no_grad():
        field.encoding.table.uniform_(-0.2, 0.2)
    optimizer = torch.optim.Adam(field.parameters(), lr=0.01)
    points, losses = points_at(0.5), []
    for _ in range(30):
        loss = term().evaluate(evidence(field, points))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("term", [curvature_term, wide_eikonal_term])
def test_without_points_nothing_is_lost(term):
    assert term().evaluate(evidence(distance_on_a_hash_grid(), torch.zeros(0, 3))) == 0
