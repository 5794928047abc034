"""Analytic shapes against geometry: distances by brute force over surface points, volumes by counting."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import BoxField, Material, MixtureField, SphereField, TorusField
from onefield.fields.gradients import spatial_gradient


def sphere_surface(count: int) -> torch.Tensor:
    normals = torch.nn.functional.normalize(torch.randn(count, 3, dtype=torch.float64), dim=-1)
    return normals * 0.4 + torch.tensor([0.1, -0.2, 0.05])


def box_surface(count: int) -> torch.Tensor:
    points = (torch.rand(count, 3, dtype=torch.float64) * 2 - 1) * torch.tensor([0.3, 0.5, 0.2])
    axis = torch.randint(3, (count,))
    sign = torch.randint(2, (count,)) * 2.0 - 1
    points[torch.arange(count), axis] = sign * torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)[axis]
    return points


def torus_surface(count: int) -> torch.Tensor:
    around, tube = torch.rand(2, count, dtype=torch.float64) * 2 * math.pi
    ring = 0.6 + 0.15 * tube.cos()
    return torch.stack([ring * around.cos(), ring * around.sin(), 0.15 * tube.sin()], dim=-1)


SHAPES = [
    (SphereField(0.4, (0.1, -0.2, 0.05)), sphere_surface),
    (BoxField((0.3, 0.5, 0.2)), box_surface),
    (TorusField(0.6, 0.15), torus_surface),
]


@pytest.mark.parametrize(("shape", "surface"), SHAPES)
def test_distance_is_the_least_distance_to_the_surface(shape, surface):
    points = torch.rand(200, 3, dtype=torch.float64) * 2 - 1
    nearest = torch.cdist(points, surface(60_000)).min(dim=1).values
    distance = shape.query(points, want=("distance",)).distance
    torch.testing.assert_close(distance.abs(), nearest, atol=1.5e-2, rtol=0)
    on_surface = shape.query(surface(100), want=("distance",)).distance
    torch.testing.assert_close(on_surface, torch.zeros_like(on_surface), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("shape", "_"), SHAPES)
def test_volume_is_the_part_of_the_domain_inside(shape, _):
    sample = shape.query(torch.rand(500_000, 3) * 2 - 1, want=("distance", "occupancy"))
    assert sample.occupancy.double().mean().item() * 8 == pytest.approx(shape.volume(), rel=0.03)
    assert torch.equal(sample.occupancy > 0, sample.distance < 0)
    # the shell of points nearer than h has volume 2 h A up to second order in h
    shell = (sample.distance.abs() < 0.04).double().mean().item() * 8
    assert shell == pytest.approx(2 * 0.04 * shape.area(), rel=0.05)


@pytest.mark.parametrize(("shape", "_"), SHAPES)
def test_gradient_of_distance_has_unit_length(shape, _):
    points = torch.rand(100, 3, dtype=torch.float64) * 2 - 1
    slope = spatial_gradient(shape, points, "distance")
    torch.testing.assert_close(slope.norm(dim=-1), torch.ones(100, dtype=torch.float64))


def test_soft_material_has_half_its_density_on_the_surface():
    ball = SphereField(0.5, material=Material(density=8.0, softness=0.1))
    sample = ball.query(torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]), want=("density", "occupancy"))
    torch.testing.assert_close(sample.density, torch.tensor([4.0, 8 / (1 + math.exp(-5))]))
    torch.testing.assert_close(sample.occupancy * 8, sample.density)


def test_mixture_is_a_union():
    red = SphereField(0.3, (-0.5, 0, 0), Material(density=2.0, color=(1, 0, 0)))
    blue = SphereField(0.3, (0.5, 0, 0), Material(density=3.0, color=(0, 0, 1)))
    both = MixtureField([red, blue])
    points = torch.tensor([[-0.5, 0, 0], [0.5, 0, 0], [0.1, 0, 0]])
    sample = both.query(points)
    torch.testing.assert_close(sample.density, torch.tensor([2.0, 3.0, 0.0]))
    torch.testing.assert_close(sample.color, torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]]))
    torch.testing.assert_close(sample.distance, torch.tensor([-0.3, -0.3, 0.1]))
    smooth = MixtureField([red, blue], smoothness=0.05).query(points, want=("distance",)).distance
    assert torch.all(smooth <= sample.distance)
    assert torch.all(smooth >= sample.distance - 0.05 * math.log(2))


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match="minor < major"):
        TorusField(0.2, 0.5)
    with pytest.raises(UsageError, match="density"):
        Material(density=-1)
    with pytest.raises(UsageError, match="at least one"):
        MixtureField([])
