"""The surface of marching cubes: closed and manifold for any values, in the right place, the same on every path."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage import measure

from onefield.errors import DataError, UsageError
from onefield.kernels.dispatch import use
from onefield.kernels.marching_cubes import CROSSING_MARGIN, marching_cubes
from onefield.kernels.marching_cubes_tables import EDGE_COUNT, WAIST, marching_cubes_tables
from tests.kernels.surfaces import (
    area,
    assert_closed_manifold,
    edge_uses,
    euler,
    grid,
    padded,
    random_volume,
    signed_volume,
    single_cells,
)


@pytest.mark.parametrize("variant", [0, 1])
def test_every_case_is_a_closed_manifold_that_separates_its_corners(variant):
    """All 256 signs of the middle cell, with equal and with random sizes, and thus all pairs with its neighbours."""
    generator = torch.Generator().manual_seed(variant)
    for volume in single_cells():
        if variant:
            volume *= torch.rand(4, 4, 4, generator=generator) + 0.05
        vertices, faces = marching_cubes(volume)
        assert_closed_manifold(vertices, faces)
        assert signed_volume(vertices, faces) > 0


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("kind", ["noise", "integers"])
def test_random_volumes_are_closed_manifolds(kind, mode):
    for seed in range(12):
        volume = padded(random_volume(kind, (5, 6, 7), seed))
        with use(mode):
            assert_closed_manifold(*marching_cubes(volume))


def test_kernel_equals_reference_bit_for_bit():
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        volume = torch.randn(9, 4, 7, generator=generator)
        vertices, faces = marching_cubes(volume, 0.25)
        with use("reference"):
            expected_vertices, expected_faces = marching_cubes(volume, 0.25)
        assert torch.equal(faces, expected_faces)
        assert torch.equal(vertices, expected_vertices)


def test_linear_volume_gives_its_plane_exactly():
    points = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(5.0), torch.arange(6.0), indexing="ij"), dim=-1)
    normal = torch.tensor([0.36, 0.48, 0.8])
    vertices, faces = marching_cubes(points @ normal, 2.7)
    assert torch.allclose(vertices @ normal, torch.tensor(2.7), atol=2 * CROSSING_MARGIN)
    a, b, c = vertices[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    large = normals.norm(dim=1) > 1e-3
    assert torch.allclose(torch.nn.functional.normalize(normals[large], dim=1), normal, atol=0.02)


def test_sphere_has_its_area_volume_and_topology():
    size, radius = 49, 0.8
    vertices, faces = marching_cubes(grid(size).norm(dim=-1) - radius)
    cell = 2 / (size - 1)
    assert euler(vertices, faces) == 2
    assert area(vertices, faces) * cell**2 == pytest.approx(4 * np.pi * radius**2, rel=0.005)
    assert signed_volume(vertices, faces) * cell**3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.005)
    distances = (vertices * cell - 1).norm(dim=1) - radius
    assert float(distances.abs().max()) < cell**2 / radius / 8 + CROSSING_MARGIN * cell


def test_torus_has_genus_one():
    points = grid(33)
    ring = points[..., :2].norm(dim=-1) - 0.6
    vertices, faces = marching_cubes((ring**2 + points[..., 2] ** 2).sqrt() - 0.25)
    assert_closed_manifold(vertices, faces)
    assert euler(vertices, faces) == 0


def test_agrees_with_scikit_image_where_no_face_is_ambiguous():
    volume = grid(24).mul(torch.tensor([1.0, 1.3, 0.9])).norm(dim=-1) - 0.7
    vertices, faces = marching_cubes(volume)
    theirs, their_faces, _, _ = measure.marching_cubes(volume.numpy(), 0.0)
    order, their_order = np.lexsort(vertices.numpy().round(3).T), np.lexsort(theirs.round(3).T)
    assert np.allclose(vertices.numpy()[order], theirs[their_order], atol=2 * CROSSING_MARGIN)
    assert len(faces) == len(their_faces)
    assert area(vertices, faces) == pytest.approx(measure.mesh_surface_area(theirs, their_faces), rel=2e-3)


def test_decider_joins_the_inside_where_the_saddle_is_inside():
    """A bilinear face a c > b d: two inside corners on one diagonal, joined or not by the value at the saddle."""
    for inside_size, pieces in ((2.0, 1), (0.5, 2)):
        volume = torch.ones(4, 4, 3)
        volume[1, 1, 1] = volume[2, 2, 1] = -inside_size
        vertices, faces = marching_cubes(volume)
        assert euler(vertices, faces) == 2 * pieces


def random_cells(count, seed):
    """Two opposite corners of one sign and large, the others mostly of the other sign and small: often a tunnel."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        values = generator.uniform(0.1, 1.0, 8) * np.where(generator.random(8) < 0.15, -1, 1)
        corner = generator.integers(8)
        values[[corner, 7 - corner]] = -generator.uniform(0.5, 5.0, 2)
        yield torch.tensor(values * generator.choice([-1, 1]), dtype=torch.float32).reshape(2, 2, 2)


def trilinear_pieces(cell, density):
    """Of the surface of the trilinear interpolant, which divides the cell: regions of inside and outside, less one."""
    along = np.linspace(0, 1, density)
    values = cell.double().numpy()
    for _ in range(3):
        values = np.tensordot(values, [1 - along, along], axes=([0], [0]))
    return ndimage.label(values < 0)[1] + ndimage.label(values >= 0)[1] - 1


def pieces(vertices, faces):
    edges = faces.numpy()[:, [0, 1, 1, 2]].reshape(-1, 2)
    links = coo_matrix((np.ones(len(edges)), tuple(edges.T)), shape=(len(vertices), len(vertices)))
    return connected_components(links, directed=False)[0]


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_interiors_have_the_topology_of_the_trilinear_function(mode):
    tunnels = undecided = 0
    for cell in random_cells(100, seed=0):
        with use(mode):
            vertices, faces = marching_cubes(cell)
        expected = trilinear_pieces(cell, 20)
        found = pieces(vertices, faces)
        if found != expected and trilinear_pieces(cell, 60) != expected:
            undecided += 1
            continue
        assert found == expected, cell.tolist()
        # every piece adds two, every border takes one away
        borders = 2 * found - euler_open(vertices, faces)
        tunnels += borders > found
    assert tunnels > 10
    assert undecided < 5


def euler_open(vertices, faces):
    directed = faces.numpy()[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    return len(vertices) - len(np.unique(np.sort(directed, axis=1), axis=0)) + len(faces)


def test_a_tunnel_along_the_diagonal_opens_where_the_middle_is_inside():
    """Two opposite corners inside: f(t, t, t) is largest at the middle, so the tunnel opens where that is inside."""
    for inside_size, genus_or_pieces in ((4.0, 1), (2.0, 2)):
        cell = torch.ones(2, 2, 2)
        cell[0, 0, 0] = cell[1, 1, 1] = -inside_size
        middle = float(cell.mean())
        assert pieces(*marching_cubes(cell)) == genus_or_pieces
        assert (middle < 0) == (genus_or_pieces == 1)


def test_noise_with_tunnels_stays_closed_and_equals_the_reference():
    tunnel_first = len(marching_cubes_tables().tunnels)
    assert len(marching_cubes_tables().triangles) > tunnel_first
    for cell in random_cells(60, seed=1):
        volume = torch.ones(4, 4, 4)
        volume[1:3, 1:3, 1:3] = cell
        vertices, faces = marching_cubes(volume)
        assert_closed_manifold(vertices, faces)
        with use("reference"):
            expected_vertices, expected_faces = marching_cubes(volume)
        assert torch.equal(faces, expected_faces)
        assert torch.equal(vertices, expected_vertices)


def test_no_two_vertices_coincide_where_values_equal_the_isovalue():
    volume = torch.ones(5, 5, 5)
    volume[2, 2, 2], volume[2, 2, 3] = -1.0, 0.0
    vertices, faces = marching_cubes(volume)
    assert_closed_manifold(vertices, faces)
    assert len(torch.unique(vertices, dim=0)) == len(vertices)
    a, b, c = vertices[faces].unbind(1)
    assert float(torch.linalg.cross(b - a, c - a).norm(dim=1).min()) > 0


def test_surface_leaving_the_grid_is_open_only_on_its_border():
    volume = torch.rand(5, 5, 5, generator=torch.Generator().manual_seed(3)) - 0.5
    vertices, faces = marching_cubes(volume)
    edges, _ = edge_uses(faces)
    present = {tuple(edge) for edge in edges.tolist()}
    open_edges = np.array([edge for edge in present if edge[::-1] not in present])
    ends = vertices.numpy()[open_edges]
    on_border = ((ends == 0) | (ends == 4)).all(axis=1).any(axis=1)
    assert len(open_edges) > 0
    assert on_border.all()


def test_double_precision_keeps_its_precision():
    volume = torch.full((2, 2, 2), 1.0, dtype=torch.float64)
    volume[0] = -0.5
    vertices, faces = marching_cubes(volume + 1e-12)
    assert vertices.dtype == torch.float64
    assert torch.allclose(vertices[:, 0], torch.tensor(1 / 3 - 1e-12 / 1.5, dtype=torch.float64), rtol=0, atol=1e-15)
    assert faces.shape == (2, 3)


def test_nothing_inside_or_nothing_outside_is_empty():
    for value in (-1.0, 1.0):
        vertices, faces = marching_cubes(torch.full((3, 3, 3), value))
        assert vertices.shape == (0, 3)
        assert faces.shape == (0, 3)


def test_meaningless_volumes_are_refused():
    volume = torch.ones(3, 3, 3)
    volume[1, 2, 0] = torch.nan
    with pytest.raises(DataError, match=r"nan at corner \(1, 2, 0\)"):
        marching_cubes(volume)
    with pytest.raises(UsageError, match="three axes"):
        marching_cubes(torch.ones(3, 3))
    with pytest.raises(UsageError, match="three axes"):
        marching_cubes(torch.ones(3, 3, 1))


def test_tables_hold_every_cut_edge_of_every_case():
    """Each variant's triangles use exactly the edges whose ends differ."""
    tables = marching_cubes_tables()
    ends = [*tables.first_variants[1:].tolist(), len(tables.tunnels)]
    for case, (first, last) in enumerate(zip(tables.first_variants.tolist(), ends, strict=True)):
        cut = set()
        for edge in range(12):
            axis, n = divmod(edge, 4)
            start = [c for c in range(8) if not c >> axis & 1][n]
            if (case >> start & 1) != (case >> (start | 1 << axis) & 1):
                cut.add(edge)
        for variant in [*range(first, last), *tables.tunnels[first:last][tables.tunnels[first:last] >= 0]]:
            used = set(tables.triangles[variant].flatten().tolist())
            assert {entry for entry in used if 0 <= entry < EDGE_COUNT} == cut


def test_a_tunnel_is_a_surface_with_two_borders():
    """In every variant with a tunnel, the pieces' Euler characteristics sum to the number of loops less two."""
    tables = marching_cubes_tables()
    checked = 0
    for variant, row in enumerate(tables.tunnels.tolist()):
        discs = euler_of_table(tables, variant)
        for tunnel in {entry for entry in row if entry >= 0}:
            assert euler_of_table(tables, tunnel) == discs - 2
            assert tables.center_counts[tunnel] >= WAIST
            checked += 1
    assert checked == len(tables.triangles) - len(tables.tunnels)


def euler_of_table(tables, variant):
    triangles = tables.triangles[variant][: tables.triangle_counts[variant]]
    if not len(triangles):
        return 0
    edges = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    return len(np.unique(triangles)) - len(edges) + len(triangles)
