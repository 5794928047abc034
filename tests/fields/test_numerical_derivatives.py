"""Differences over a tetrahedron against shapes whose derivatives are known."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import BoxField, SphereField
from onefield.fields.field import Field
from onefield.fields.numerical_derivatives import finest_cell, tetrahedral_derivatives
from onefield.fields.section_opacity import DistanceAsOpacity
from onefield.types import Bounds, Sample
from tests.catalog import distance_field, distance_on_a_hash_grid


class Quadratic(Field):
    """distance = x A x / 2 + b x."""

    domain = Bounds.cube()
    provides = frozenset({"distance"})
    matrix = torch.tensor([[2.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 3.0]], dtype=torch.float64)
    slope = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)

    def _evaluate(self, points, directions, time, want):
        return Sample(distance=((points @ self.matrix) * points).sum(-1) / 2 + points @ self.slope)


def test_quadratics_along_the_axes_are_exact_however_far_apart_the_points_are():
    points = torch.rand(7, 3, dtype=torch.float64)
    found = tetrahedral_derivatives(Quadratic(), points, "distance", 0.4)
    torch.testing.assert_close(found.gradient, points @ Quadratic.matrix + Quadratic.slope)
    torch.testing.assert_close(found.laplacian, torch.full((7,), 4.0, dtype=torch.float64))


def test_a_ball_has_unit_slope_and_the_curvature_of_its_radius():
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator, dtype=torch.float64), dim=-1) * 0.6
    found = tetrahedral_derivatives(SphereField(0.5), points, "distance", 1e-3)
    torch.testing.assert_close(found.gradient, points / 0.6, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.laplacian, torch.full((50,), 2 / 0.6, dtype=torch.float64), atol=0.02, rtol=0)


def test_the_faces_of_a_box_are_not_curved():
    points = torch.tensor([[0.6, 0.1, -0.2], [0.0, 0.1, 0.7]], dtype=torch.float64)
    found = tetrahedral_derivatives(BoxField((0.5, 0.5, 0.5)), points, "distance", 0.01)
    torch.testing.assert_close(found.gradient, torch.eye(3, dtype=torch.float64)[[0, 2]], atol=1e-9, rtol=0)
    assert found.laplacian.abs().max() < 1e-6


def test_reach_and_cell_are_checked():
    with pytest.raises(UsageError, match="positive reach"):
        tetrahedral_derivatives(SphereField(), torch.zeros(1, 3), "distance", 0.0)
    with pytest.raises(UsageError, match="no hash grid"):
        finest_cell(distance_field())


def test_the_cell_is_that_of_the_finest_level_in_use():
    field = distance_on_a_hash_grid()
    assert finest_cell(DistanceAsOpacity(field)) == pytest.approx(2 / 32)
    field.encoding.use_levels(1)
    assert finest_cell(field) == pytest.approx(2 / 8)
