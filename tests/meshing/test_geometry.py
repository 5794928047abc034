"""Normals and transforms of meshes."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.meshing.geometry import transformed, vertex_normals
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.report import report_mesh
from onefield.types import Mesh


@pytest.fixture(scope="module")
def sphere():
    mesh = extract_mesh(SphereField(0.6), resolution=40)
    return Mesh(mesh.vertices, mesh.faces, normals=vertex_normals(mesh))


def test_normals_point_out(sphere):
    outward = torch.nn.functional.normalize(sphere.vertices, dim=1)
    assert float((sphere.normals * outward).sum(1).min()) > 0.9
    assert float((sphere.normals * outward).sum(1).mean()) > 0.995


def test_vertex_without_faces_has_a_unit_normal():
    mesh = Mesh(torch.zeros(1, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert vertex_normals(mesh).tolist() == [[0.0, 0.0, 1.0]]


def test_map_coordinates_keep_millimetres(sphere):
    matrix = torch.eye(4, dtype=torch.float64) * 3
    matrix[:, 3] = torch.tensor([448_000.25, 5_411_000.5, 300.0, 1.0])
    moved = transformed(sphere, matrix)
    expected = sphere.vertices.double() * 3 + matrix[:3, 3]
    assert moved.vertices.dtype == torch.float64
    assert float((moved.vertices - expected).abs().max()) < 1e-6


def test_a_mirror_keeps_faces_and_normals_outward(sphere):
    matrix = torch.diag(torch.tensor([-2.0, 1.0, 0.5, 1.0]))
    moved = transformed(sphere, matrix)
    assert report_mesh(moved).volume == pytest.approx(report_mesh(sphere).volume, rel=1e-6)
    aligned = (moved.normals.double() * vertex_normals(moved).double()).sum(1)
    assert float(aligned.mean()) > 0.99


def test_a_projection_is_refused(sphere):
    with pytest.raises(UsageError, match="last row"):
        transformed(sphere, torch.ones(4, 4))
    with pytest.raises(UsageError, match="invertible"):
        transformed(sphere, torch.diag(torch.tensor([0.0, 1, 1, 1])))
