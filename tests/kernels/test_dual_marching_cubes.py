"""The surface of dual marching cubes: a closed manifold for any signs, in the right place, and its gradient."""

import itertools

import numpy as np
import pytest
import torch

from onefield.errors import DataError, UsageError
from onefield.kernels.dispatch import use
from onefield.kernels.dual_marching_cubes import dual_connectivity, dual_marching_cubes
from onefield.kernels.dual_marching_cubes_tables import dual_tables
from tests.kernels.surfaces import (
    area,
    assert_closed_manifold,
    euler,
    grid,
    padded,
    random_volume,
    signed_volume,
    single_cells,
)


def edge_sides(quads):
    """Undirected sides of quadrilaterals with how often each occurs, and how often in one direction at most."""
    sides = torch.stack((quads, quads.roll(-1, 1)), dim=-1).reshape(-1, 2).numpy()
    _, both = np.unique(np.sort(sides, axis=1), axis=0, return_counts=True)
    _, one = np.unique(sides, axis=0, return_counts=True)
    return both, one


def test_every_case_is_a_closed_manifold():
    for volume in single_cells():
        vertices, faces = dual_marching_cubes(volume)
        assert_closed_manifold(vertices, faces)
        assert signed_volume(vertices, faces) > 0


def test_all_pairs_of_neighbouring_cells_meet_in_a_manifold():
    """Every sign of the 12 corners of two cells side by side, along each axis, many pairs at once."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=12))).reshape(-1, 3, 2, 2)
    for axis in range(3):
        # a pair takes three corners and two of outside around along its axis, and two and two along the others
        blocks = torch.nn.functional.pad(signs.movedim(1, 1 + axis), (1,) * 6, value=1.0)
        for part in blocks.split(512):
            volume = torch.cat(list(part), dim=0)
            quads = dual_connectivity(volume).quads
            both, one = edge_sides(quads)
            assert (both == 2).all()
            assert (one == 1).all()


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("kind", ["noise", "integers"])
def test_random_volumes_are_closed_manifolds(kind, mode):
    for seed in range(4):
        volume = padded(random_volume(kind, (9, 10, 11), seed))
        with use(mode):
            assert_closed_manifold(*dual_marching_cubes(volume))


def test_without_joint_faces_noise_would_not_be_a_manifold():
    """The cells that join a face with their neighbour are needed: apart, both arcs of it give one edge four faces."""
    volume = torch.ones(4, 4, 5)
    volume[1:3, 1:3, 1:4] = -1.0
    volume[1, 1, 2] = volume[2, 2, 2] = 1.0
    connectivity = dual_connectivity(volume)
    both, _ = edge_sides(connectivity.quads)
    assert (both == 2).all()
    patches = torch.bincount(connectivity.vertex_cells, minlength=len(connectivity.cells))
    for cell in ([1, 1, 1], [1, 1, 2]):
        row = (connectivity.cells == torch.tensor(cell)).all(1).nonzero()
        assert patches[row] == 2


def test_tables_have_the_known_counts():
    tables = dual_tables()
    assert np.bincount(tables.patch_counts[:256]).tolist() == [2, 162, 82, 8, 2]
    inside = np.array([case.bit_count() for case in range(256)])
    assert np.bincount(inside[tables.joint_faces >= 0]).tolist() == [0, 0, 0, 0, 0, 24, 12]
    assert (tables.patch_counts[256:] == 2).all()


def test_kernel_equals_reference():
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        volume = torch.randn(9, 4, 7, generator=generator)
        found = dual_connectivity(volume, 0.25)
        with use("reference"):
            expected = dual_connectivity(volume, 0.25)
        for name in ("cells", "vertex_cells", "crossing_vertices", "crossing_edges", "quads"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_sphere_has_its_area_volume_topology_and_regular_triangles():
    size, radius = 49, 0.8
    vertices, faces = dual_marching_cubes(grid(size).norm(dim=-1) - radius)
    cell = 2 / (size - 1)
    assert euler(vertices, faces) == 2
    assert area(vertices, faces) * cell**2 == pytest.approx(4 * np.pi * radius**2, rel=0.005)
    # means of points on a convex surface lie within it
    assert signed_volume(vertices, faces) * cell**3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.008)
    centred = vertices.double() * cell - 1
    assert float((centred.norm(dim=1) - radius).abs().max()) < cell**2 / radius / 2
    a, b, c = centred[faces].unbind(1)
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    outward = torch.nn.functional.normalize((a + b + c) / 3, dim=1)
    assert float((normals * outward).sum(1).min()) > 0.99
    sides = torch.stack(((b - a).norm(dim=1), (c - b).norm(dim=1), (a - c).norm(dim=1)))
    assert float((sides.amin(0) / sides.amax(0)).mean()) > 0.6


def test_torus_has_genus_one():
    points = grid(33)
    ring = points[..., :2].norm(dim=-1) - 0.6
    vertices, faces = dual_marching_cubes((ring**2 + points[..., 2] ** 2).sqrt() - 0.25)
    assert_closed_manifold(vertices, faces)
    assert euler(vertices, faces) == 0


def test_linear_volume_gives_its_plane():
    points = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(5.0), torch.arange(6.0), indexing="ij"), dim=-1)
    normal = torch.tensor([0.36, 0.48, 0.8])
    vertices, faces = dual_marching_cubes(points @ normal, 2.7)
    assert torch.allclose(vertices @ normal, torch.tensor(2.7), atol=2e-3)
    a, b, c = vertices[faces].unbind(1)
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    assert torch.allclose(normals, normal, atol=0.02)


def test_gradient_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    volume = torch.rand(4, 4, 4, generator=generator, dtype=torch.float64) - 0.5
    # far enough from zero that no step changes a sign or reaches the margin at a corner
    volume += 0.1 * volume.sign()
    volume.requires_grad_()
    assert torch.autograd.gradcheck(lambda values: dual_marching_cubes(values)[0], (volume,))


def test_gradient_in_single_precision_is_that_of_the_reference():
    volume = (grid(12).norm(dim=-1) - 0.6).requires_grad_()
    weights = torch.randn(3, generator=torch.Generator().manual_seed(1))
    gradients = []
    for mode in ("fast", "reference"):
        with use(mode):
            vertices, _ = dual_marching_cubes(volume)
        gradients.append(torch.autograd.grad((vertices.sin() @ weights).sum(), volume)[0])
    torch.testing.assert_close(*gradients)
    assert float(gradients[0].abs().max()) > 0


def test_a_crossing_held_at_a_corner_still_moves():
    volume = torch.ones(3, 3, 3)
    volume[1, 1, 1] = -1e-6
    volume.requires_grad_()
    vertices, _ = dual_marching_cubes(volume)
    assert float((vertices.detach() - 1).abs().max()) > 0
    size = ((vertices - 1) ** 2).sum()
    (gradient,) = torch.autograd.grad(size, volume)
    assert float(gradient[1, 1, 1]) < 0


def test_nothing_inside_is_empty_and_its_gradient_nothing():
    volume = torch.ones(3, 3, 3, requires_grad=True)
    vertices, faces = dual_marching_cubes(volume)
    assert vertices.shape == (0, 3)
    assert faces.shape == (0, 3)
    vertices.sum().backward()
    assert float(volume.grad.abs().max()) == 0


def test_meaningless_volumes_are_refused():
    volume = torch.ones(3, 3, 3)
    volume[1, 2, 0] = torch.nan
    with pytest.raises(DataError, match=r"nan at corner \(1, 2, 0\); dual marching cubes needs finite"):
        dual_marching_cubes(volume)
    with pytest.raises(UsageError, match=r"Dual marching cubes needs .* three axes"):
        dual_marching_cubes(torch.ones(3, 3))
