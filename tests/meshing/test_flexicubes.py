"""A grid of FlexiCubes: at rest it is dual marching cubes, and a loss on its mesh makes edges sharp."""

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import BoxField
from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.meshing.flexicubes import FlexiCubesGrid
from onefield.meshing.lattice import Lattice
from onefield.meshing.report import report_mesh
from onefield.types import Bounds, Mesh

HALF = (0.5, 0.42, 0.56)


def turn():
    """Columns are the axes of a box that lies along no axis of the grid."""
    first = torch.nn.functional.normalize(torch.tensor([1.0, 0.4, -0.3]), dim=0)
    second = torch.nn.functional.normalize(torch.linalg.cross(first, torch.tensor([0.2, 1.0, 0.5])), dim=0)
    return torch.stack((first, second, torch.linalg.cross(first, second)), dim=1)


def distance(points):
    return BoxField(HALF, domain=Bounds.cube(4.0)).query(points @ turn(), want=("distance",)).distance


def box_grid(resolution):
    lattice = Lattice.over(Bounds.cube(1.0), resolution)
    corners = torch.cartesian_prod(*(torch.arange(count) for count in lattice.corners))
    return FlexiCubesGrid(lattice, distance(lattice.points(corners)).reshape(lattice.corners))


def on_faces(count, generator):
    points = (2 * torch.rand(count, 3, generator=generator) - 1) * torch.tensor(HALF)
    axis = torch.randint(3, (count,), generator=generator)
    rows = torch.arange(count)
    points[rows, axis] = points[rows, axis].sign() * torch.tensor(HALF)[axis]
    return points @ turn().T


def on_edges(count, generator):
    points = (2 * torch.rand(count, 3, generator=generator) - 1).sign() * torch.tensor(HALF)
    axis = torch.randint(3, (count,), generator=generator)
    rows = torch.arange(count)
    points[rows, axis] *= 2 * torch.rand(count, generator=generator) - 1
    return points @ turn().T


def mean_distance(points, surface):
    closest, _ = closest_point(points, build_tree(surface.vertices.detach(), surface.faces))
    return float((closest - points).norm(dim=1).mean())


def test_at_rest_positions_are_the_lattices_in_world_units():
    grid = box_grid(8)
    surface = grid.surface()
    assert torch.allclose(grid.positions()[0, 0, 0], torch.tensor([-1.0, -1.0, -1.0]))
    report = report_mesh(Mesh(surface.vertices.detach(), surface.faces))
    assert report.watertight
    assert report.genus == 0
    assert 0.75 < report.volume / (8 * math.prod(HALF)) < 1


def test_parameters_stay_in_their_ranges():
    grid = box_grid(6)
    with torch.no_grad():
        for parameter in grid.parameters():
            if parameter is not grid.values:
                parameter.fill_(-50.0)
        weights = grid.weights()
        spacing = grid.positions().diff(dim=0)[..., 0]
    assert all(float(weight.min()) > 0 for weight in (weights.alpha, weights.beta, weights.gamma))
    assert float(spacing.min()) > 0


def test_values_of_another_shape_are_refused():
    with pytest.raises(UsageError, match=r"\(3, 3, 3\) corners"):
        FlexiCubesGrid(Lattice.over(Bounds.cube(1.0), 2), torch.zeros(2, 3, 3))


def test_fitting_to_a_box_brings_the_mesh_closer_and_sharpens_its_edges():
    generator = torch.Generator().manual_seed(0)
    grid = box_grid(8)
    faces, edges = on_faces(2000, generator), on_edges(500, generator)
    before = grid.surface()
    optimizer = torch.optim.Adam(grid.parameters(), lr=0.02)
    for _ in range(60):
        surface = grid.surface("center")
        corners = surface.vertices[surface.faces]
        # uniform on each triangle
        shares = torch.empty(len(corners), 3).exponential_(generator=generator)
        shares = shares / shares.sum(1, keepdim=True)
        points = (corners * shares[..., None]).sum(1)
        area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
        loss = (distance(points).square() * area).sum() / area.sum() * 1e3 + surface.deviations.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = grid.surface()
    assert report_mesh(Mesh(after.vertices.detach(), after.faces)).manifold
    assert mean_distance(faces, after) < 0.15 * mean_distance(faces, before)
    assert mean_distance(edges, after) < 0.2 * mean_distance(edges, before)
