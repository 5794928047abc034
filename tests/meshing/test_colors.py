"""Colours at vertices are the field's, seen from outside."""

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.fields.field import Field
from onefield.meshing.colors import color_as_seen, color_vertices
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.preview import orbit_camera
from onefield.meshing.visibility import LEAST_COSINE
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


class FoggyBall(Field):
    """A density that rises towards the middle of a ball, red outside of its half-way level and green inside."""

    domain = Bounds.cube(1.0)
    provides = frozenset({"density", "color"})
    needs_directions = frozenset()

    def _evaluate(self, points, directions, time, want):
        radius = points.norm(dim=1)
        density = 150 * torch.sigmoid((0.5 - radius) / 0.01)
        green = (radius < 0.5).float()
        return Sample(density=density, color=torch.stack([1 - green, green, 0 * green], dim=1))


def test_a_density_shows_what_lies_around_its_level():
    """Against the integral along the radius in fine steps."""
    field = FoggyBall()
    outward = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    mesh = Mesh(0.505 * outward, torch.tensor([[0, 1, 2]]), normals=outward)
    reach = 0.02
    colors = color_vertices(mesh, field, reach=reach).colors
    radii = 0.505 + reach - 3 * reach * (torch.arange(3000) + 0.5) / 3000
    along = field.query(radii[:, None] * outward[:1], want=("density", "color"))
    length = 3 * reach / 3000
    before = torch.exp(-length * (along.density.cumsum(0) - along.density))
    weights = before * -torch.expm1(-along.density * length)
    expected = (weights[:, None] * along.color).sum(0) / weights.sum()
    assert 0.2 < float(expected[0]) < 0.9
    torch.testing.assert_close(colors, expected.expand(50, 3), atol=0.05, rtol=0)
    # at the vertices themselves it is all red
    assert bool((color_vertices(mesh, field).colors[:, 0] == 1).all())


def test_field_without_color_is_refused():
    class Bare(DirectionColors):
        provides = frozenset({"distance"})

    with pytest.raises(UsageError, match="provides distance but no color"):
        color_vertices(Mesh(torch.zeros(1, 3), torch.zeros(0, 3, dtype=torch.int64)), Bare())


def test_colors_as_seen_are_means_over_the_cameras_that_see_a_point():
    mesh = extract_mesh(SphereField(0.5), resolution=32)
    points = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=1) / 2
    normals = 2 * points
    views = [orbit_camera(mesh, width=160, height=160, azimuth=azimuth) for azimuth in (0.0, 1.0)]
    cameras = Cameras.pinhole(torch.cat([view.camera_to_world for view in views]), views[0].focal, (80, 80), 160, 160)
    told = []
    colors = color_as_seen(
        mesh, DirectionColors(), points, normals, cameras, observe=lambda done, total: told.append((done, total))
    )
    towards = torch.nn.functional.normalize(points - cameras.positions.float()[:, None], dim=2)
    # convex, so that only what is turned away is hidden, and all of it in both pictures
    sees = -(towards * normals).sum(2, keepdim=True) > LEAST_COSINE
    mean = (towards * sees).sum(0) / sees.sum(0).clamp(min=1)
    expected = torch.where(sees.any(0), mean, -normals)
    assert {int(number) for number in sees.sum(0)} == {0, 1, 2}
    torch.testing.assert_close(colors * 2 - 1, expected, atol=1e-5, rtol=0)
    assert told == [(0, 2), (1, 2), (2, 2)]
