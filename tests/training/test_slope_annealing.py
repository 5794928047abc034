"""How far slopes are trusted in the course of a run."""

from __future__ import annotations

import pytest

from onefield.fields.section_opacity import DistanceAsOpacity
from onefield.training.optimizer import Adam
from onefield.training.slope_annealing import SlopeAnnealing
from tests.catalog import distance_field


def test_certainty_rises_evenly_and_stays():
    opacity = DistanceAsOpacity(distance_field())
    assert opacity.certainty == 1
    annealing = SlopeAnnealing(opacity, end=0.2)
    assert opacity.certainty == 0
    optimizer = Adam({}, {}, {})
    found = []
    for progress in (0.0, 0.05, 0.2, 0.9):
        annealing.before_step(opacity, optimizer, progress)
        found.append(opacity.certainty.item())
    assert found == pytest.approx([0, 0.25, 1, 1])
