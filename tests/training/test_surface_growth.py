"""Grids of surfaces that get finer: cubes of one size, the stages, and a checkpoint's size found again."""

import pytest
import torch

from onefield.errors import DataError
from onefield.fields.encodings import DenseGridEncoding
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.fields.shaded_surface import ShadedSurface
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.surface_growth import SurfaceGrowth, cubic_cells, stage_resolutions
from onefield.types import Bounds


def begun():
    box, cells = cubic_cells(Bounds((-0.6, -0.7, -0.8), (0.6, 0.7, 0.8)), 8)
    grid = FlexiCubesField(box, corner_points(box, cells).norm(dim=-1) - 0.5)
    field = ShadedSurface(Bounds.cube(1.0), grid, DenseGridEncoding(3, 4, 2), 8, 1)
    parameters = {"field." + name: parameter for name, parameter in field.named_parameters()}
    optimizer = Adam(parameters, dict.fromkeys(parameters, "surface"), {"surface": GroupRate(0.01)})
    return field, SurfaceGrowth(16, 1, 0.4), optimizer


def test_boxes_are_filled_with_cubes():
    box, cells = cubic_cells(Bounds((0.0, 0.0, 0.0), (1.0, 0.31, 0.5)), 10)
    assert cells == (10, 4, 5)
    assert box.extent == pytest.approx((1.0, 0.4, 0.5))
    assert box.center == pytest.approx((0.5, 0.155, 0.25))
    assert cubic_cells(box, 20)[1] == (20, 8, 10)
    assert stage_resolutions(64, 2) == [16, 32, 64]
    assert stage_resolutions(64, 0) == [64]


def test_cells_are_halved_in_time_and_what_is_new_is_trained():
    field, growth, optimizer = begun()
    growth.before_step(field, optimizer, 0.39)
    assert field.grid.cells == (6, 7, 8)
    box = field.grid.domain
    growth.before_step(field, optimizer, 0.4)
    assert field.grid.cells == (12, 14, 16)
    assert field.grid.domain.extent == pytest.approx(box.extent)
    # the coarse surface cuts its corners off, by up to a quarter of a cell
    assert (field.mesh().vertices.norm(dim=1) - 0.5).abs().max() < 0.05
    field.grid.surface().vertices.square().sum().backward()
    before = field.grid.values.detach().clone()
    optimizer.step(1.0)
    assert not torch.equal(field.grid.values, before)


def test_a_checkpoint_names_its_stage():
    field, growth, optimizer = begun()
    growth.before_step(field, optimizer, 1.0)
    saved = {"field." + name: tensor for name, tensor in field.state_dict().items()}
    other, again, moments = begun()
    again.match(other, saved, moments)
    assert other.grid.cells == (12, 14, 16)
    assert moments.parameters["field.grid.values"] is other.grid.values
    other.load_state_dict(field.state_dict())
    assert torch.equal(other.mesh().vertices, field.mesh().vertices)
    again.before_step(other, moments, 1.0)
    assert torch.equal(other.mesh().vertices, field.mesh().vertices)
    with pytest.raises(DataError, match="6 x 7 x 8 cells, but this configuration passes through 5, 10 along"):
        SurfaceGrowth(10, 1, 0.4).match(begun()[0], {"field." + k: v for k, v in begun()[0].state_dict().items()})
