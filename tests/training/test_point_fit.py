import math

import numpy as np
import pytest
import torch

from onefield.data.points import Points
from onefield.fields.analytic import BoxField, SphereField
from onefield.meshing.level_sets import extract_mesh
from onefield.training.point_fit import PointSource, oriented, score_points
from onefield.training.recipes import build_field, recipe_for, target_of
from onefield.types import PointCloud


def ball(count: int = 600, normals: bool = True) -> Points:
    directions = np.random.default_rng(0).normal(size=(count, 3))
    directions = torch.tensor(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    return Points.of(PointCloud(2 * directions, None, directions if normals else None))


def test_the_true_distance_costs_next_to_nothing():
    points = ball()
    true = SphereField(2.0, domain=points.domain)
    wrong = BoxField((2.0, 2.0, 2.0), domain=points.domain)
    generator = torch.Generator().manual_seed(0)
    # of space a share of about four times the length over the radius is near the surface
    assert PointSource(points, generator).loss(true, 3000).item() < 0.2
    assert PointSource(points, generator).loss(wrong, 3000).item() > 5


def test_estimated_normals_of_a_ball_point_outward():
    points = oriented(ball(normals=False)).points
    outward = points.cloud.points / points.cloud.points.norm(dim=1, keepdim=True)
    assert (points.cloud.normals * outward).sum(1).min() > 0.95


def test_figures_of_a_known_ball():
    points = ball()
    mesh = extract_mesh(SphereField(1.9, domain=points.domain), resolution=64)
    figures = score_points(mesh, points, torch.Generator().manual_seed(0))
    assert figures["point_distance"] == pytest.approx(0.1 / points.diagonal, rel=0.02)
    assert figures["volume"] == pytest.approx(4 / 3 * math.pi * 1.9**3, rel=0.01)
    assert (figures["watertight"], figures["components"]) == (1, 1)


@pytest.mark.parametrize("name", ["hash", "siren"])
def test_networks_learn_from_points_through_second_derivatives(name: str):
    points = ball(300)
    recipe, target = recipe_for(name, points), target_of(points)
    torch.manual_seed(0)
    field = build_field(recipe.field, recipe.options, target)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-3)
    costs = []
    for _ in range(12):
        optimizer.zero_grad()
        cost = PointSource(points, torch.Generator().manual_seed(1)).loss(field, 300)
        cost.backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in field.parameters())
        optimizer.step()
        costs.append(cost.item())
    assert costs[-1] < 0.9 * costs[0]
