"""USD as text: what is written has the structure that its schemas want, and reads back."""

import re

import numpy as np
import pytest
import torch

from onefield.errors import DataError
from onefield.export.formats import export_mesh, read_mesh
from onefield.types import Mesh
from tests.meshing.surfaces import textured_ball

CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2]])
FACES = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def test_a_textured_mesh_names_pictures_that_are_there(tmp_path):
    ball = textured_ball(size=64, resolution=6, normal_map=True)
    text = export_mesh(ball, tmp_path / "ball.usda").path.read_text()
    assert {file.name for file in tmp_path.iterdir()} == {"ball.usda", "ball-usda-color.png", "ball-usda-normals.png"}
    assert set(re.findall(r"@\./([^@]*)@", text)) == {"ball-usda-color.png", "ball-usda-normals.png"}
    # every connection leads to an output that is declared
    for shader, output in re.findall(r"<(/Root/Material/\w+)\.outputs:(\w+)>", text):
        body = text[text.index(f'def Shader "{shader.rpartition("/")[2]}"') :]
        assert re.search(rf"outputs:{output}\n", body[: body.index("}")])
    places = np.array(re.findall(r"[-\d.e]+", re.search(r"primvars:st = \[(.*?)\]", text)[1]), dtype=float)
    expected = ball.texture.coordinates.numpy().reshape(-1, 2) * (1, -1) + (0, 1)
    assert np.allclose(places.reshape(-1, 2), expected, atol=1e-7)


def test_names_with_the_sign_around_names_are_marked_by_three(tmp_path):
    text = export_mesh(textured_ball(size=64, resolution=6), tmp_path / "ball@2x.usda").path.read_text()
    assert "asset inputs:file = @@@./ball@2x-usda-color.png@@@\n" in text


@pytest.mark.parametrize(("up", "tip"), [("z", "0, 0, 2"), ("y", "0, 2, -0")])
def test_the_axis_that_is_up_is_named(tmp_path, up, tip):
    mesh = Mesh(CORNERS, FACES, normals=torch.nn.functional.normalize(CORNERS - 0.25, dim=1))
    text = export_mesh(mesh, tmp_path / "mesh.usda", up).path.read_text()
    assert f'upAxis = "{up.upper()}"' in text
    assert f"({tip})]" in text
    back = read_mesh(tmp_path / "mesh.usda")  # z up again
    assert torch.equal(back.vertices, CORNERS)
    assert torch.allclose(back.normals, mesh.normals, atol=1e-6)


def test_only_open_surfaces_are_seen_from_both_sides(tmp_path):
    assert "doubleSided" not in export_mesh(Mesh(CORNERS, FACES), tmp_path / "a.usda").path.read_text()
    assert "doubleSided = 1" in export_mesh(Mesh(CORNERS, FACES[1:]), tmp_path / "b.usda").path.read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("#usda", "#USD"), "usdcat"),
        (lambda text: text[: len(text) // 2], "cut short"),
        (lambda text: text.replace("[3, 3", "[4, 3"), "triangulate"),
        (lambda text: text.replace("point3f[] points", "point3f[] dots"), "without points"),
        (lambda text: text.replace("(1, 0, 0)", "(1, zero, 0)"), "no sound USDA"),
    ],
)
def test_other_contents_are_refused(tmp_path, change, words):
    path = export_mesh(Mesh(CORNERS, FACES), tmp_path / "mesh.usda").path
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=words):
        read_mesh(path)
