"""Clean-up leaves the shape as it is; decimation keeps it closed and close."""

from dataclasses import replace

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import MixtureField, SphereField
from onefield.meshing.cleanup import decimate, fill_cavities, keep_large_components, remove_degenerate_faces
from onefield.meshing.colors import color_vertices
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.report import report_mesh
from onefield.types import Mesh


@pytest.fixture(scope="module")
def two_balls():
    field = MixtureField([SphereField(0.4, (-0.4, 0.0, 0.0)), SphereField(0.1, (0.6, 0.0, 0.0))])
    return extract_mesh(field, resolution=40)


def test_small_pieces_are_dropped(two_balls):
    colored = replace(two_balls, colors=two_balls.vertices.clamp(0, 1))
    assert report_mesh(two_balls).components == 2
    assert report_mesh(keep_large_components(two_balls, 0.01)).components == 2
    kept = keep_large_components(colored, 0.2)
    report = report_mesh(kept)
    assert (report.components, report.unused_vertices) == (1, 0)
    assert report.watertight
    assert report.maximum[0] == pytest.approx(0.0, abs=0.01)
    assert torch.equal(kept.colors, kept.vertices.clamp(0, 1))
    with pytest.raises(UsageError, match="must lie in"):
        keep_large_components(two_balls, 1.5)


def test_hollows_are_filled_and_what_stands_in_them_stays():
    balls = (SphereField(0.8), SphereField(0.5, (0.1, 0, 0)), SphereField(0.2, (0.1, 0, 0)))
    outer, wall, kernel = (extract_mesh(ball, resolution=16) for ball in balls)
    beside = replace(wall, vertices=wall.vertices + 3)
    inward = [replace(ball, faces=ball.faces.flip(1)) for ball in (wall, beside)]
    filled = fill_cavities(_together(outer, inward[0], kernel))
    assert report_mesh(filled).components == 2
    assert report_mesh(filled).volume == pytest.approx(report_mesh(outer).volume + report_mesh(kernel).volume)
    for untouched in (
        inward[0],
        _together(outer, inward[1]),
        _together(outer, replace(inward[0], faces=inward[0].faces[1:])),
    ):
        assert fill_cavities(untouched).faces.shape == untouched.faces.shape


def _together(*meshes):
    firsts = torch.tensor([0, *(len(mesh.vertices) for mesh in meshes)]).cumsum(0)
    faces = [mesh.faces + first for mesh, first in zip(meshes, firsts, strict=False)]
    return Mesh(torch.cat([mesh.vertices for mesh in meshes]), torch.cat(faces))


def test_triangle_soup_is_welded_to_the_closed_surface(two_balls):
    soup = Mesh(two_balls.vertices[two_balls.faces.flatten()], torch.arange(two_balls.faces.numel()).reshape(-1, 3))
    assert not report_mesh(soup).watertight
    welded = report_mesh(remove_degenerate_faces(soup))
    original = report_mesh(two_balls)
    assert welded.watertight
    assert (welded.vertices, welded.faces) == (original.vertices, original.faces)
    assert welded.volume == pytest.approx(original.volume)


def test_collapsed_and_copied_faces_go():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.0, 0, 0]])
    faces = torch.tensor([[0, 1, 2], [1, 2, 0], [0, 3, 1], [2, 1, 3]])
    cleaned = remove_degenerate_faces(Mesh(vertices, faces))
    assert cleaned.faces.shape[0] == 2
    assert cleaned.vertices.shape[0] == 3


def test_decimation_keeps_the_surface_closed_and_close():
    field = SphereField(0.7)
    mesh = extract_mesh(field, resolution=60)
    colored = color_vertices(mesh, field)
    fewer = decimate(colored, 1500)
    report = report_mesh(fewer)
    assert fewer.faces.shape[0] <= 1600
    assert report.watertight
    assert report.volume == pytest.approx(field.volume(), rel=0.01)
    assert float((fewer.vertices.norm(dim=1) - 0.7).abs().max()) < 0.01
    expected = field.query(fewer.vertices, want=("color",)).color
    assert float((fewer.colors - expected).abs().max()) < 0.1
    assert decimate(mesh, 10**9) is mesh
    with pytest.raises(UsageError, match="at least 4"):
        decimate(mesh, 3)


def test_decimation_keeps_distant_coordinates():
    mesh = extract_mesh(SphereField(0.7), resolution=24)
    offset = torch.tensor([5e5, 5e6, 0.0], dtype=torch.float64)
    fewer = decimate(replace(mesh, vertices=mesh.vertices.double() + offset), 400)
    assert fewer.vertices.dtype == torch.float64
    assert float(((fewer.vertices - offset).norm(dim=1) - 0.7).abs().max()) < 0.03
