"""Growing grids: what they store stays, and a checkpoint's size is found again."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import DataError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings import DenseGridEncoding
from onefield.fields.heads.density import SoftplusDensity
from onefield.training.growth import GridGrowth
from onefield.training.optimizer import Adam, GroupRate
from onefield.types import Bounds


def _grown() -> tuple[ComposedField, GridGrowth, Adam]:
    field = ComposedField(Bounds.cube(1.0), DenseGridEncoding(3, 16, 2), None, [SoftplusDensity(0.1, 0.1)])
    growth = GridGrowth(field, resolution=16, stages=3, end=0.6)
    parameters = {"field." + name: parameter for name, parameter in field.named_parameters()}
    optimizer = Adam(parameters, dict.fromkeys(parameters, "encoding"), {"encoding": GroupRate(0.1)})
    return field, growth, optimizer


def test_starts_at_an_eighth_of_the_vertices_and_ends_at_all() -> None:
    field, growth, optimizer = _grown()
    sizes = []
    for progress in (0.0, 0.19, 0.2, 0.4, 0.6, 1.0):
        growth.before_step(field, optimizer, progress)
        sizes.append(field.encoding.grid.shape[0])
    assert sizes == [8, 8, 10, 13, 16, 16]


def test_what_is_stored_stays_and_the_new_grid_is_trained() -> None:
    field, growth, optimizer = _grown()
    with torch.no_grad():
        # a linear function survives linear interpolation exactly
        axis = torch.linspace(-1, 1, 8)
        field.encoding.grid[..., 0] = axis[:, None, None] + 2 * axis[None, :, None] - axis[None, None, :]
    points = torch.rand(100, 3) * 2 - 1
    before = field.query(points).density
    growth.before_step(field, optimizer, 0.6)
    torch.testing.assert_close(field.query(points).density, before, rtol=1e-4, atol=1e-5)
    old = field.encoding.grid.detach().clone()
    field.query(points).density.sum().backward()
    optimizer.step(1.0)
    assert not torch.equal(field.encoding.grid, old)


def test_a_checkpoint_decides_the_size() -> None:
    field, growth, optimizer = _grown()
    saved = {"field.encoding.grid": torch.zeros(13, 13, 13, 2)}
    growth.match(field, saved, optimizer)
    assert field.encoding.grid.shape == (13, 13, 13, 2)
    growth.before_step(field, optimizer, 0.3)
    assert field.encoding.grid.shape[0] == 13
    with pytest.raises(DataError, match="11"):
        growth.match(field, {"field.encoding.grid": torch.zeros(11, 11, 11, 2)})
