"""Files of tetrahedra, read back by another program's reader."""

import sys

import meshio
import pytest
import torch

from onefield.errors import ResourceError, UsageError
from onefield.export.solids import export_solid
from onefield.types import TetrahedralMesh

CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]) + 1e6
SOLID = TetrahedralMesh(CORNERS.double(), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]))


@pytest.mark.parametrize("suffix", [".vtu", ".msh", ".VTU"])
def test_points_and_cells_come_back(tmp_path, suffix):
    export = export_solid(SOLID, tmp_path / f"solid{suffix}")
    lower = export.path.rename(tmp_path / f"again{suffix.lower()}")
    held = meshio.read(lower)
    assert (held.points == SOLID.vertices.numpy()).all()
    assert (held.cells_dict["tetra"] == SOLID.tetrahedra.numpy()).all()
    assert export.size == lower.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == [lower.name]


def test_bad_asks_end_in_words(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"Unknown format '\.vtk'.*did you mean '\.vtu'"):
        export_solid(SOLID, tmp_path / "solid.vtk")
    with pytest.raises(UsageError, match="no tetrahedra"):
        export_solid(TetrahedralMesh(CORNERS, torch.zeros(0, 4, dtype=torch.long)), tmp_path / "solid.vtu")
    monkeypatch.setitem(sys.modules, "meshio", None)
    with pytest.raises(ResourceError, match=r"onefield\[solid\]"):
        export_solid(SOLID, tmp_path / "solid.vtu")
    assert list(tmp_path.iterdir()) == []
