"""Surfaces whose cells get smaller: cubes of one size, leaves where they bend, and a checkpoint's found again."""

import pytest
import torch

from onefield.errors import DataError
from onefield.fields.encodings import DenseGridEncoding
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.fields.octree_flexicubes import OctreeFlexiCubesField
from onefield.fields.shaded_surface import ShadedSurface
from onefield.kernels.point_mesh import build_tree, signed_distance
from onefield.meshing.report import report_mesh
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.surface_growth import LeafDivision, SurfaceGrowth, cubic_cells, stage_resolutions
from onefield.types import Bounds


def around(grid):
    field = ShadedSurface(Bounds.cube(1.0), grid, DenseGridEncoding(3, 4, 2), 8, 1)
    parameters = {"field." + name: parameter for name, parameter in field.named_parameters()}
    optimizer = Adam(parameters, dict.fromkeys(parameters, "surface"), {"surface": GroupRate(0.01)})
    return field, optimizer


def begun():
    box, cells = cubic_cells(Bounds((-0.6, -0.7, -0.8), (0.6, 0.7, 0.8)), 8)
    field, optimizer = around(FlexiCubesField(box, corner_points(box, cells).norm(dim=-1) - 0.5))
    return field, SurfaceGrowth(16, 1, 0.4), optimizer


def begun_on_octree():
    """A block with rounded edges."""
    box = Bounds.cube(1.0)
    apart = corner_points(box, (12, 12, 12)).abs() - 0.5
    values = apart.clamp(min=0).norm(dim=-1) + apart.amax(-1).clamp(max=0) - 0.1
    field, optimizer = around(OctreeFlexiCubesField.coarse(box, (12, 12, 12), 2, values))
    return field, LeafDivision(0.05, 2, 0.4), optimizer


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


def test_leaves_are_halved_in_time_where_the_surface_bends_and_what_is_new_is_trained():
    field, division, optimizer = begun_on_octree()
    before = field.mesh()
    division.before_step(field, optimizer, 0.19)
    assert set(field.grid.sizes.tolist()) == {4}
    for progress, sizes in ((0.2, {2, 4}), (0.39, {2, 4}), (0.4, {1, 2, 4})):
        division.before_step(field, optimizer, progress)
        assert set(field.grid.sizes.tolist()) == sizes
    after = field.mesh()
    assert report_mesh(after).watertight
    grid = field.grid
    inside = grid.values[grid.corners] < 0
    crossed = inside.any(1) & ~inside.all(1)
    middle = ((grid.lows + grid.sizes[:, None] / 2) - 24).abs().sort(dim=1).values[:, 1]
    # along its edges small, in the middles of its sides as they were
    assert set(grid.sizes[crossed & (middle > 12)].tolist()) == {1}
    assert set(grid.sizes[crossed & (middle < 4)].tolist()) == {4}
    gap = signed_distance(after.vertices, build_tree(before.vertices, before.faces)).abs()
    # corners are cut off by up to a quarter of a leaf as they were
    assert float(gap.max()) < 0.25 * 4 * grid.cell_side
    kept = field.grid.values.detach().clone()
    field.grid.surface("center").vertices.square().sum().backward()
    optimizer.step(1.0)
    assert not torch.equal(field.grid.values, kept)


def test_a_checkpoint_brings_its_octree():
    field, division, optimizer = begun_on_octree()
    division.before_step(field, optimizer, 0.3)
    saved = {"field." + name: tensor for name, tensor in field.state_dict().items()}
    other, again, moments = begun_on_octree()
    again.match(other, saved, moments)
    again.load_state(division.state())
    assert moments.parameters["field.grid.values"] is other.grid.values
    other.load_state_dict(field.state_dict())
    for each, of, optimised in ((field, division, optimizer), (other, again, moments)):
        of.before_step(each, optimised, 1.0)
    assert torch.equal(other.mesh().vertices, field.mesh().vertices)
    assert set(other.grid.sizes.tolist()) == {1, 2, 4}
    with pytest.raises(DataError, match=r"has no octree, but this configuration has field\.flatness"):
        again.match(other, {})
