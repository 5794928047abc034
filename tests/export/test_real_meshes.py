"""Files of other programs, whose vertices, faces and topology are known."""

import pytest
import torch

from onefield.export.formats import export_mesh, read_mesh
from onefield.meshing.cleanup import remove_degenerate_faces
from onefield.meshing.report import report_mesh


@pytest.mark.parametrize(
    ("name", "vertices", "faces", "euler", "boundary_edges"),
    [
        ("block.obj", 2132, 4272, -4, 0),
        ("spot.obj", 2930, 5856, 2, 0),
        ("tshirt_open.obj", 7702, 15180, None, 228),
    ],
)
def test_counts_and_topology(data_folder, tmp_path, name, vertices, faces, euler, boundary_edges):
    mesh = read_mesh(data_folder / "meshes" / name)
    welded = remove_degenerate_faces(mesh)
    report = report_mesh(welded)
    assert (report.vertices, report.faces) == (vertices, faces)
    assert report.boundary_edges == boundary_edges
    assert report.watertight == (boundary_edges == 0)
    if euler is not None:
        assert report.euler == euler
    back = read_mesh(export_mesh(mesh, tmp_path / "again.ply").path)
    assert torch.equal(back.vertices, mesh.vertices)
    assert torch.equal(back.faces, mesh.faces)
