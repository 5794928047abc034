"""The report against trimesh and against shapes whose faults are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from onefield.meshing.report import edges_of, report_mesh
from onefield.types import Mesh


def as_mesh(shape):
    return Mesh(torch.from_numpy(np.array(shape.vertices)), torch.from_numpy(np.array(shape.faces)))


@pytest.mark.parametrize(
    "shape",
    [
        trimesh.creation.icosphere(2),
        trimesh.creation.torus(1.0, 0.3, major_sections=12, minor_sections=8),
        trimesh.util.concatenate([trimesh.creation.box(), trimesh.creation.icosphere(1).apply_translation((5, 0, 0))]),
    ],
    ids=["sphere", "torus", "two pieces"],
)
def test_agrees_with_trimesh(shape):
    report = report_mesh(as_mesh(shape))
    assert report.watertight == shape.is_watertight
    assert report.consistent == shape.is_winding_consistent
    assert report.euler == shape.euler_number
    assert report.components == shape.body_count
    assert report.area == pytest.approx(shape.area, rel=1e-9)
    assert report.volume == pytest.approx(shape.volume, rel=1e-9)
    assert np.allclose([report.minimum, report.maximum], shape.bounds)
    assert report.genus == report.components - shape.euler_number // 2


def test_edges_of_faces_in_32_bits_are_the_same():
    faces = np.array([[90_000, 99_999, 50_000], [99_999, 90_000, 70_000]])
    for wide, narrow in zip(edges_of(faces, 100_000), edges_of(faces.astype(np.int32), 100_000), strict=True):
        assert np.array_equal(wide, narrow)


def test_a_missing_face_leaves_three_boundary_edges():
    sphere = as_mesh(trimesh.creation.icosphere(1))
    report = report_mesh(replace(sphere, faces=sphere.faces[1:]))
    assert (report.boundary_edges, report.boundaries) == (3, 1)
    assert "no, 3 open edges in 1 rim," in report.lines()[1]
    assert not report.watertight
    assert report.manifold
    assert report.genus is None


def test_a_tube_has_two_rims():
    tube = trimesh.creation.cylinder(1.0, 2.0, sections=12)
    side = np.abs(tube.face_normals[:, 2]) < 0.5
    report = report_mesh(Mesh(torch.from_numpy(np.array(tube.vertices)), torch.from_numpy(np.array(tube.faces)[side])))
    assert (report.boundaries, report.components) == (2, 1)


def test_a_turned_face_is_inconsistent():
    sphere = as_mesh(trimesh.creation.icosphere(1))
    faces = sphere.faces.clone()
    faces[0] = faces[0].flip(0)
    report = report_mesh(replace(sphere, faces=faces))
    assert not report.consistent
    assert not report.watertight


def test_two_tetrahedra_that_share_a_vertex_or_an_edge_are_not_manifold():
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    mirrored = -corners[1:]
    other = torch.tensor([0, 4, 5, 6])[faces].flip(1)
    touching = Mesh(torch.cat((corners, mirrored)), torch.cat((faces, other)))
    report = report_mesh(touching)
    assert report.watertight
    assert not report.manifold
    assert report.components == 1
    # both contain the edge 0-1
    third = Mesh(
        torch.cat((corners, torch.tensor([[0.0, -1, 0], [0, 0, -1]]))),
        torch.cat((faces, torch.tensor([0, 1, 4, 5])[faces])),
    )
    assert not report_mesh(third).manifold
    assert not report_mesh(third).watertight


def test_degenerate_faces_and_unused_vertices_are_counted():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [5, 5, 5]])
    report = report_mesh(Mesh(vertices, torch.tensor([[0, 1, 3], [0, 1, 2], [0, 0, 1]])))
    assert report.degenerate_faces == 2
    assert report.unused_vertices == 1
    assert report.maximum == (2.0, 1.0, 0.0)


def test_volume_keeps_its_digits_far_from_the_origin():
    box = as_mesh(trimesh.creation.box())
    far = replace(box, vertices=box.vertices + torch.tensor([5e5, 5e6, 100.0], dtype=torch.float64))
    assert report_mesh(far).volume == pytest.approx(1.0, abs=1e-6)


def test_empty_mesh():
    report = report_mesh(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)))
    assert (report.faces, report.components, report.area, report.volume) == (0, 0, 0.0, 0.0)
    assert not report.watertight
