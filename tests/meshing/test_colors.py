"""Colours at vertices are the field's, seen from outside."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.fields.field import Field
from onefield.meshing.colors import color_vertices
from onefield.meshing.marching_cubes import extract_mesh
from onefield.types import Bounds, Mesh, Sample


class DirectionColors(Field):
    """Colour is the viewing direction itself, mapped to [0, 1]."""

    domain = Bounds.cube(1.0)
    provides = frozenset({"color"})
    needs_directions = frozenset({"color"})

    def _evaluate(self, points, directions, time, want):
        return Sample(color=(directions + 1) / 2)


def test_colors_are_the_fields():
    field = SphereField(0.5)
    mesh = color_vertices(extract_mesh(field, resolution=20), field, chunk=100)
    assert torch.allclose(mesh.colors, field.query(mesh.vertices, want=("color",)).color, atol=1e-6)


def test_directions_point_into_the_surface():
    mesh = color_vertices(extract_mesh(SphereField(0.5), resolution=32), DirectionColors())
    inward = -torch.nn.functional.normalize(mesh.vertices, dim=1)
    assert float((mesh.colors * 2 - 1 - inward).norm(dim=1).mean()) < 0.05


def test_field_without_color_is_refused():
    class Bare(DirectionColors):
        provides = frozenset({"distance"})

    with pytest.raises(UsageError, match="provides distance but no color"):
        color_vertices(Mesh(torch.zeros(1, 3), torch.zeros(0, 3, dtype=torch.int64)), Bare())
