"""Levels of a hash grid in the course of a run."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.training.level_growth import LevelGrowth
from onefield.training.optimizer import Adam
from tests.catalog import distance_on_a_hash_grid


def test_levels_come_one_by_one_and_evenly():
    field = distance_on_a_hash_grid()
    growth = LevelGrowth(field.encoding, first=1, end=0.6)
    optimizer = Adam({}, {}, {})
    found = [field.encoding.active_levels]
    for progress in (0.0, 0.19, 0.21, 0.39, 0.41, 0.6, 1.0):
        growth.before_step(field, optimizer, progress)
        found.append(field.encoding.active_levels)
    assert found == [1, 1, 1, 2, 2, 3, 3, 3]


def test_unused_levels_answer_nothing_and_learn_nothing():
    encoding = distance_on_a_hash_grid().encoding
    points = torch.rand(20, 3)
    every = encoding(points)
    encoding.use_levels(2)
    some = encoding(points)
    torch.testing.assert_close(some[:, :4], every[:, :4], rtol=0, atol=0)
    assert (some[:, 4:] == 0).all()
    encoding(points).sum().backward()
    unused = encoding.layout.offsets[2]
    assert (encoding.table.grad[unused:] == 0).all()
    assert (encoding.table.grad[:unused] != 0).any()
    with pytest.raises(UsageError, match="can't use 4"):
        encoding.use_levels(4)


def test_a_checkpoint_is_looked_at_with_all_levels():
    field = distance_on_a_hash_grid()
    growth = LevelGrowth(field.encoding, first=1, end=0.6)
    growth.match(field, {})
    assert field.encoding.active_levels == 3
