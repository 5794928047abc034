"""Options about meshes: numbers are checked, and a mesh stands where it was asked to."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from onefield.data.scene import Similarity
from onefield.errors import ResourceError, UsageError
from onefield.export.formats import export_mesh, read_mesh
from onefield.meshing.geometry import transformed
from onefield.tools.mesh_options import MeshOptions
from onefield.types import Mesh


def about_x(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)


# a dataset whose y axis points down, as structure from motion leaves it
Y_DOWN = Similarity.about(torch.tensor([10.0, 20.0, 30.0]), 0.25, about_x(-math.pi / 2))


def placed(options: MeshOptions, points: torch.Tensor) -> torch.Tensor:
    matrix = options.placement(Y_DOWN)
    return Y_DOWN.apply(points) @ matrix[:3, :3].T + matrix[:3, 3]


def test_the_dataset_keeps_its_coordinates() -> None:
    points = torch.tensor([[1.0, 2, 3], [-4, 5, 6]], dtype=torch.float64)
    torch.testing.assert_close(placed(MeshOptions(), points), points)
    torch.testing.assert_close(placed(MeshOptions(scale=1000), points), 1000 * points)


@pytest.mark.parametrize("up", ["z", "y"])
def test_what_was_up_is_up(up: str) -> None:
    """The dataset's -y is up: one unit along it is one unit along z, before the file's own turn, times the scale."""
    foot = torch.tensor([[1.0, 2, 3]], dtype=torch.float64)
    head = foot + torch.tensor([[0.0, -1, 0]], dtype=torch.float64)
    options = MeshOptions(up=up, scale=2.0)
    expected = torch.tensor([[0.0, 0, 2]], dtype=torch.float64)
    torch.testing.assert_close(placed(options, head) - placed(options, foot), expected)
    assert options.file_up == up


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".usda", ".obj"])
@pytest.mark.parametrize("up", ["dataset", "z", "y"])
def test_what_is_read_back_is_found_in_the_scene(tmp_path: Path, suffix: str, up: str) -> None:
    corners = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 0.25, 0], [0, 0, 1]])
    mesh = Mesh(corners, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    options = MeshOptions(up=up, scale=3.0)
    placement = options.placement(Y_DOWN)
    path = export_mesh(transformed(mesh, placement), tmp_path / f"mesh{suffix}", options.file_up).path
    back = transformed(read_mesh(path), torch.linalg.inv(options.read_back(placement, suffix)))
    torch.testing.assert_close(back.vertices.float(), corners, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"faces": "2"}, "at least 4"),
        ({"faces": "-1"}, "--faces"),
        ({"faces": "lots"}, "--faces"),
        ({"holes": 2.0}, "--holes"),
        ({"smallest": -0.1}, "--smallest"),
        ({"scale": 0.0}, "--scale"),
        ({"texture": 0}, "64 to 8192"),
        ({"texture": 5}, "64 to 8192"),
        ({"normal_map": True}, "--texture 2048"),
        ({"texture_from": "field"}, "--texture 2048"),
        ({"levels": 0}, "--levels"),
        ({"scale": float("nan")}, "--scale"),
    ],
)
def test_what_makes_no_mesh_is_refused(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        MeshOptions(**options)


def test_numbers_of_faces_are_read() -> None:
    assert [MeshOptions(faces=text).face_count for text in ("0", "4", "100k", "0.5M")] == [0, 4, 100_000, 500_000]


def test_textures_that_cannot_be_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xatlas", ModuleType("xatlas"))
    MeshOptions(texture=64).check_texture(Path("mesh.glb"))
    MeshOptions().check_texture(Path("mesh.stl"))
    with pytest.raises(UsageError, match=r"mesh.stl can't hold a texture; write .glb, .obj, .usda"):
        MeshOptions(texture=64).check_texture(Path("mesh.stl"))
    monkeypatch.setitem(sys.modules, "xatlas", None)
    with pytest.raises(ResourceError, match="pip install"):
        MeshOptions(texture=64).check_texture(Path("mesh.glb"))
