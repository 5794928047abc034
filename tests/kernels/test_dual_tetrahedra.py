"""Solids of FlexiCubes: faces matched in pairs, the surface as boundary, volumes that add up to what it encloses."""

import math
from collections import Counter

import pytest
import torch

from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.losses.meshes import enclosed_volume
from onefield.types import Bounds
from tests.kernels.surfaces import padded

CUBE = Bounds.cube(1.0)


def field_of(values):
    field = FlexiCubesField(CUBE, values.double())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (field.deformation, field.corner_weights, field.edge_weights, field.split_weights):
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return field


def noise(*shape, seed):
    return padded(torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5)


def turned(face):
    """The same face with its smallest vertex first."""
    first = face.index(min(face))
    return face[first:] + face[:first]


def boundary(tetrahedra):
    """Outward faces that no other tetrahedron has from its side."""
    faces = Counter()
    for a, b, c, d in tetrahedra.tolist():
        for face in ((b, c, d), (a, d, c), (a, b, d), (a, c, b)):
            opposite = turned((face[0], face[2], face[1]))
            if faces[opposite]:
                faces[opposite] -= 1
            else:
                faces[turned(face)] += 1
    return +faces


@pytest.mark.parametrize("split", ["diagonal", "center"])
@pytest.mark.parametrize("seed", range(3))
def test_the_boundary_of_a_solid_is_its_surface_even_in_noise(split, seed):
    field = field_of(noise(6, 7, 8, seed=seed))
    surface, solid = field.surface(split), field.solid(split)
    assert boundary(solid.tetrahedra) == Counter(turned(tuple(face)) for face in surface.faces.tolist())
    assert torch.equal(solid.vertices[: len(surface.vertices)], surface.vertices)
    assert len(solid.tetrahedra.unique()) == len(solid.vertices)
    enclosed = enclosed_volume(surface.vertices, surface.faces).item()
    assert solid.volumes().sum().item() == pytest.approx(enclosed, rel=1e-9)


def test_a_lone_corner_is_twelve_tetrahedra_about_it():
    values = torch.ones(5, 5, 5)
    values[2, 2, 2] = -0.5
    solid = FlexiCubesField(CUBE, values).solid()
    assert solid.vertices.shape == (9, 3)
    assert solid.tetrahedra.shape == (12, 4)
    assert (solid.tetrahedra == 8).any(1).all()
    torch.testing.assert_close(solid.vertices[8], torch.zeros(3))


def test_a_ball_is_filled_by_short_tetrahedra_that_stand_upright():
    values = corner_points(CUBE, (16, 16, 16)).norm(dim=-1) - 0.6
    solid = FlexiCubesField(CUBE, values).solid()
    volumes = solid.volumes()
    assert float((volumes <= 0).float().mean()) <= 0.002
    assert volumes.sum().item() == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.06)
    corners = solid.vertices[solid.tetrahedra]
    longest = (corners[:, :, None] - corners[:, None]).norm(dim=-1).amax()
    assert longest.item() < 3 * 2 / 16


def test_values_of_zero_and_a_surface_that_leaves_the_grid():
    axis = torch.arange(7.0) - 3
    box = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).abs().amax(-1) - 2
    solid = FlexiCubesField(Bounds.cube(3.0), box).solid()
    surface = FlexiCubesField(Bounds.cube(3.0), box).surface()
    assert (solid.volumes() > 0).all()
    assert solid.volumes().sum().item() == pytest.approx(enclosed_volume(surface.vertices, surface.faces).item())
    open_one = FlexiCubesField(CUBE, torch.linspace(-1, 1, 6)[:, None, None].expand(6, 6, 6) + 0.1).solid()
    assert (open_one.volumes() > 0).all()
    assert len(open_one.tetrahedra)


def test_gradients_reach_the_grid():
    field = field_of(noise(3, 3, 3, seed=4))
    gradients = torch.autograd.grad(field.solid().volumes().square().sum(), (field.values, field.deformation))
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)
