"""A grid of FlexiCubes: at rest it is dual marching cubes, and a loss on its mesh makes edges sharp."""

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import BoxField
from onefield.fields.flexicubes import LEAST_SPLIT_WEIGHT, WEIGHT_RANGE, FlexiCubesField, corner_points
from onefield.kernels.dual_marching_cubes import dual_marching_cubes
from onefield.kernels.flexicubes import FlexiCubesWeights, flexicubes
from onefield.kernels.point_mesh import build_tree, closest_point
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
    points = corner_points(Bounds.cube(1.0), (resolution,) * 3)
    return FlexiCubesField(Bounds.cube(1.0), distance(points.reshape(-1, 3)).reshape(points.shape[:3]))


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


def test_at_rest_it_is_dual_marching_cubes_in_world_units():
    grid = box_grid(8)
    surface = grid.surface()
    vertices, faces = dual_marching_cubes(grid.values.detach())
    torch.testing.assert_close(surface.vertices, vertices / 4 - 1, atol=1e-5, rtol=0)
    report = report_mesh(Mesh(surface.vertices.detach(), surface.faces))
    assert report.watertight
    assert report.genus == 0
    assert 0.75 < report.volume / (8 * math.prod(HALF)) < 1
    assert faces.shape == surface.faces.shape


def test_distances_are_those_of_the_corners_and_linear_between():
    domain = Bounds((-1.0, 0.0, 2.0), (1.0, 3.0, 3.0))
    points = corner_points(domain, (2, 3, 4))
    field = FlexiCubesField(domain, points @ torch.tensor([0.5, -0.2, 1.0]))
    asked = torch.tensor([[0.3, 1.7, 2.4], [-1.0, 0.0, 2.0], [1.0, 3.0, 3.0]])
    found = field.query(asked).distance
    torch.testing.assert_close(found, asked @ torch.tensor([0.5, -0.2, 1.0]), atol=1e-5, rtol=1e-5)


def test_only_crossed_cells_get_gradients_and_they_are_those_of_the_whole_grid():
    grid = box_grid(6)
    with torch.no_grad():
        for parameter in (grid.deformation, grid.corner_weights, grid.edge_weights, grid.split_weights):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    surface = grid.surface("center")
    corners = torch.cartesian_prod(*[torch.arange(7)] * 3)
    weights = FlexiCubesWeights(
        1 + WEIGHT_RANGE * torch.tanh(grid.corner_weights),
        1 + WEIGHT_RANGE * torch.tanh(grid.edge_weights),
        LEAST_SPLIT_WEIGHT + WEIGHT_RANGE * torch.sigmoid(grid.split_weights),
    )
    whole = flexicubes(grid.values, grid.corner_positions(corners).reshape(7, 7, 7, 3), weights, split="center")
    torch.testing.assert_close(surface.vertices, whole.vertices)
    torch.testing.assert_close(surface.deviations, whole.deviations)
    assert torch.equal(surface.faces, whole.faces)
    found = torch.autograd.grad(surface.vertices.square().sum(), tuple(grid.parameters()))
    expected = torch.autograd.grad(whole.vertices.square().sum(), tuple(grid.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        assert 0 < int((one != 0).sum()) < one.numel()


def test_parameters_at_their_ends_keep_the_grid_in_order():
    grid = box_grid(6)
    with torch.no_grad():
        for parameter in grid.parameters():
            if parameter is not grid.values:
                parameter.fill_(-50.0)
    line = torch.stack((torch.arange(7), torch.zeros(7).long(), torch.zeros(7).long()), dim=1)
    with torch.no_grad():
        grid.deformation[::2] = 50.0
        spacing = grid.corner_positions(line).diff(dim=0)[:, 0]
    assert float(spacing.min()) > 0
    assert torch.isfinite(grid.surface().vertices).all()


def test_values_of_no_grid_are_refused():
    with pytest.raises(UsageError, match=r"\(1, 3, 3\)"):
        FlexiCubesField(Bounds.cube(1.0), torch.zeros(1, 3, 3))


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
