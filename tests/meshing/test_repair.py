"""Repairs leave every edge with two faces at most and every vertex with one fan, and close what was to be closed."""

import itertools

import numpy as np
import pytest
import torch
import trimesh

from onefield.errors import UsageError
from onefield.fields.analytic import MixtureField, SphereField
from onefield.meshing.cleanup import decimate
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.repair import close_holes, part_sheets
from onefield.meshing.report import report_mesh
from onefield.types import Mesh


def tetrahedron(*corners):
    """Faces that look outward, whatever the order of the corners."""
    points = np.array(corners, dtype=float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    return points, faces if np.linalg.det(points[1:] - points[0]) > 0 else faces[:, ::-1]


def joined(*parts):
    """One mesh in which equal positions are one vertex."""
    corners = np.concatenate([points[faces].reshape(-1, 3) for points, faces in parts])
    vertices, faces = np.unique(corners, axis=0, return_inverse=True)
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(faces.reshape(-1, 3)))


A, B = (0, 0, 0), (0, 0, 1)
ON_ONE_EDGE = [tetrahedron(A, B, (x, y, 0.5), (y, -x, 0.5)) for x, y in ((1, 1), (-1, -1))]
AT_ONE_VERTEX = [tetrahedron(A, (1, 0, s), (0, 1, s), (-1, -1, s)) for s in (1, -1)]


def closed_and_manifold(mesh):
    """Asked of trimesh, which knows nothing of ours; what parts must also stay apart once positions are rounded."""
    rounded = trimesh.Trimesh(mesh.vertices.float().numpy(), mesh.faces.numpy(), process=True)
    uses = np.unique(rounded.edges_sorted, axis=0, return_counts=True)[1]
    return rounded.is_watertight and rounded.is_winding_consistent and bool((uses == 2).all())


@pytest.mark.parametrize("parts", [ON_ONE_EDGE, AT_ONE_VERTEX], ids=["edge", "vertex"])
def test_solids_that_touch_are_parted(parts):
    mesh = joined(*parts)
    assert not report_mesh(mesh).manifold
    parted = part_sheets(mesh)
    report = report_mesh(parted)
    assert (report.manifold, report.watertight, report.components) == (True, True, 2)
    assert closed_and_manifold(parted)
    assert report.volume == pytest.approx(report_mesh(mesh).volume, rel=0.03)


def test_every_number_of_solids_on_one_edge_is_parted():
    """Wedges around one edge, sharing it and nothing else, in every order of their corners."""
    for count in (2, 3, 5):
        angles = np.arange(count) * 2 * np.pi / count
        rings = [[(np.cos(a + d), np.sin(a + d), 0.5) for d in (-0.3, 0.3)] for a in angles]
        for order in itertools.islice(itertools.permutations(range(count)), 6):
            report = report_mesh(part_sheets(joined(*(tetrahedron(A, B, *rings[n]) for n in order))))
            assert (report.manifold, report.watertight, report.components) == (True, True, count)


def test_a_fold_goes_and_leaves_the_rest_closed():
    points, faces = tetrahedron(A, B, (1, 1, 0.5), (1, -1, 0.5))
    fold = np.array([[1, 2, 4], [4, 2, 1]])
    mesh = Mesh(torch.from_numpy(np.vstack([points, [[3.0, 3, 3]]])), torch.from_numpy(np.vstack([faces, fold])))
    report = report_mesh(part_sheets(mesh))
    assert (report.faces, report.vertices, report.watertight) == (4, 4, True)


def test_a_sound_mesh_stays_as_it_is():
    mesh = extract_mesh(SphereField(0.6), resolution=16)
    assert part_sheets(mesh) is mesh
    assert close_holes(mesh, 1.0) is mesh


def test_simplified_surfaces_are_made_manifold():
    """A crowd of balls that nearly touch: simplifying alone leaves edges with four faces."""
    centers = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)) * 1.4 - 0.7
    mesh = extract_mesh(MixtureField([SphereField(0.2, tuple(c.tolist())) for c in centers]), resolution=64)
    colored = Mesh(mesh.vertices, mesh.faces, colors=(mesh.vertices + 1) / 2)
    rough = decimate(colored, 700)
    assert not report_mesh(rough).manifold
    parted = part_sheets(rough)
    report = report_mesh(parted)
    assert report.manifold
    assert report.watertight
    assert report.volume == pytest.approx(report_mesh(rough).volume, rel=0.01)
    # colours follow the vertices that were added
    assert float((parted.colors - (parted.vertices + 1) / 2).abs().max()) < 0.2


def without_faces(mesh, dropped):
    kept = torch.ones(len(mesh.faces), dtype=torch.bool)
    kept[dropped] = False
    return Mesh(mesh.vertices, mesh.faces[kept], colors=mesh.colors)


@pytest.mark.parametrize("radius", [0.05, 0.1, 0.25])
def test_a_hole_in_a_ball_is_closed(radius):
    mesh = extract_mesh(SphereField(0.6), resolution=32)
    middles = mesh.vertices[mesh.faces].mean(1)
    hole = (middles - torch.tensor([0.6, 0, 0])).norm(dim=1) < radius
    opened = without_faces(mesh, hole)
    diagonal = 1.2 * 3**0.5
    assert not report_mesh(opened).watertight
    assert close_holes(opened, radius / diagonal) is opened
    closed = close_holes(opened, 4 * radius / diagonal)
    report = report_mesh(closed)
    assert report.watertight
    assert report.manifold
    # a flat lid takes off a cap at most
    height = 0.6 - (0.36 - radius**2) ** 0.5
    cap = np.pi * height * (3 * radius**2 + height**2) / 6
    assert 0.9 * (report_mesh(mesh).volume - 1.5 * cap) <= report.volume <= report_mesh(mesh).volume + cap


def test_a_large_outline_is_closed_around_its_middle():
    mesh = extract_mesh(SphereField(0.6), resolution=40)
    opened = without_faces(mesh, mesh.vertices[mesh.faces].mean(1)[:, 2] > 0)
    closed = report_mesh(close_holes(opened, 1.0))
    assert closed.watertight
    assert closed.volume == pytest.approx(2 / 3 * np.pi * 0.6**3, rel=0.05)


def test_sizes_outside_their_range_are_refused():
    with pytest.raises(UsageError, match="share of the mesh"):
        close_holes(extract_mesh(SphereField(0.6), resolution=8), 1.5)


def test_nothing_has_nothing_to_repair():
    nothing = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert len(close_holes(part_sheets(nothing), 0.5).faces) == 0
