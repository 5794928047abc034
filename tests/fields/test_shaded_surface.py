"""A surface with colours: gradients against finite differences, the box that is saved, another grid for one surface."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.encodings import DenseGridEncoding, IdentityEncoding
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.fields.shaded_surface import ShadedSurface, closed_at_border
from onefield.types import Bounds

RADIUS = 0.5


BOX = Bounds((-0.7, -0.8, -0.6), (0.7, 0.8, 0.6))


def ball(box=BOX, cells=(14, 16, 12)):
    grid = FlexiCubesField(box, corner_points(box, cells).norm(dim=-1) - RADIUS)
    return ShadedSurface(Bounds.cube(1.0), grid, DenseGridEncoding(3, 6, 2, initial_amplitude=0.5), 8, 1)


def units(count, seed):
    directions = torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(directions, dim=1)


def test_gradients_of_shading_agree_with_finite_differences():
    field = ball().double()
    given = [RADIUS * units(5, 0), units(5, 1), units(5, 2)]
    assert torch.autograd.gradcheck(field.shade, [tensor.requires_grad_() for tensor in given], eps=1e-7)


def test_colours_follow_the_mirrored_direction_and_points_asked_alone_face_the_eye():
    field = ball()
    points, normals, looking = (RADIUS * units(6, 0)).float(), units(6, 1).float(), units(6, 2).float()
    mirrored = looking - 2 * (looking * normals).sum(1, keepdim=True) * normals
    shown = field.shade(points, normals, looking)
    assert not torch.allclose(field.shade(points, normals, mirrored), shown)
    facing = field.query(points, directions=-normals, want=("color",)).color
    torch.testing.assert_close(facing, field.shade(points, normals, -normals))


def test_distances_go_on_beyond_the_grids_box():
    field = ball()
    points = torch.tensor([[0.0, 0.0, 0.0], [0.95, 0.0, 0.0], [0.0, -0.99, 0.0]])
    distance = field.query(points, want=("distance",)).distance
    torch.testing.assert_close(distance, torch.tensor([-0.5, 0.45, 0.49]), atol=0.02, rtol=0)


def test_another_grid_has_the_same_surface():
    field = ball()
    box, cells = Bounds.cube(0.75), (20, 20, 20)
    field.regrid(box, cells)
    assert field.grid.cells == cells
    assert field.grid.domain == box
    off = field.mesh().vertices.norm(dim=1) - RADIUS
    # the coarse grid cuts its corners off
    assert off.abs().max() < 0.015
    names = {name for group in field.parameter_groups().values() for name in map(id, group)}
    assert names == {id(parameter) for parameter in field.parameters()}


def test_a_surface_without_faces_stays_one():
    field = ball()
    with torch.no_grad():
        field.grid.values.fill_(1.0)
    field.regrid(Bounds.cube(0.75), (8, 8, 8))
    assert len(field.mesh().faces) == 0


def test_the_box_is_saved_along():
    field, other = ball(), ball(Bounds.cube(1.0))
    other.load_state_dict(field.state_dict())
    assert other.grid.domain == field.grid.domain
    assert torch.equal(other.mesh().vertices, field.mesh().vertices)


def test_values_at_the_border_are_outside():
    values = closed_at_border(torch.full((4, 5, 6), -1.0), 0.25)
    assert (values[1:-1, 1:-1, 1:-1] == -1).all()
    assert values.sum().item() == pytest.approx(-24 + 0.25 * (120 - 24))


def test_encodings_of_other_dimensions_are_told():
    with pytest.raises(UsageError, match="3-D points, got 2-D"):
        ShadedSurface(Bounds.cube(1.0), ball().grid, IdentityEncoding(2))
