"""Dual contouring: boxes with all their edges and corners, planes and balls, sound in noise."""

import math

import pytest
import torch

from onefield.errors import DataError
from onefield.kernels.dual_contouring import dual_contouring
from onefield.kernels.dual_marching_cubes import dual_connectivity, dual_marching_cubes
from onefield.losses.meshes import enclosed_volume
from tests.kernels.surfaces import assert_closed_manifold, padded

HALF = torch.tensor([5.3, 4.1, 3.7], dtype=torch.float64)
MIDDLE = torch.tensor([8.2, 7.9, 8.1], dtype=torch.float64)


def turn():
    axis = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) / math.sqrt(14)
    cross = torch.linalg.cross(axis.expand(3, 3), torch.eye(3, dtype=torch.float64)).T
    return torch.eye(3, dtype=torch.float64) + math.sin(0.6) * cross + (1 - math.cos(0.6)) * cross @ cross


def box(points):
    apart = ((points.double() - MIDDLE) @ turn()).abs() - HALF
    return apart.clamp(min=0).norm(dim=-1) + apart.amax(-1).clamp(max=0)


def sampled(level, count=17):
    axis = torch.arange(count, dtype=torch.float64)
    return level(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1))


def test_a_turned_box_keeps_its_corners_edges_and_volume():
    vertices, faces = dual_contouring(sampled(box), box)
    assert_closed_manifold(vertices, faces)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    corners = (signs * HALF) @ turn().T + MIDDLE
    rounded = dual_marching_cubes(sampled(box))

    def off(vertices):
        return torch.cdist(corners, vertices).amin(1).mean().item()

    # a corner whose own cell has no change of sign is cut by its neighbours
    assert off(vertices) < 0.2 < 0.6 < off(rounded[0])
    volume = 8 * math.prod(HALF.tolist())
    assert enclosed_volume(vertices, faces).item() == pytest.approx(volume, rel=0.005)
    assert enclosed_volume(*rounded).item() < 0.96 * volume
    # diagonals follow the edges: middles of triangles lie on the box, too
    assert box(vertices[faces].mean(1)).abs().mean().item() < 0.008
    assert box(rounded[0][rounded[1]].mean(1)).abs().mean().item() > 0.05


def test_every_vertex_lies_in_its_cell_even_where_levels_are_nonsense():
    values = padded(torch.rand(9, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5)
    generator = torch.Generator().manual_seed(1)
    vertices, faces = dual_contouring(
        values, lambda points: torch.randn(len(points), generator=generator, dtype=points.dtype)
    )
    connectivity = dual_connectivity(values)
    within = vertices - connectivity.cells[connectivity.vertex_cells]
    assert within.min().item() >= -1e-9
    assert within.max().item() <= 1 + 1e-9
    assert_closed_manifold(vertices, faces)


def test_a_plane_is_that_of_dual_marching_cubes():
    def plane(points):
        return points.double() @ torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64) - 4.1

    vertices, faces = dual_contouring(sampled(plane), plane)
    expected, triangles = dual_marching_cubes(sampled(plane))
    torch.testing.assert_close(vertices, expected, atol=2e-3, rtol=0)
    assert plane(vertices).abs().max().item() < 2e-3
    assert torch.equal(faces, triangles)


def test_a_nan_is_refused():
    with pytest.raises(DataError, match="nan at corner"):
        dual_contouring(torch.full((3, 3, 3), math.nan), box)
