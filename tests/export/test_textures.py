"""Textures in files, as other readers see them: at random points of the surface they show what was put there."""

import logging
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from onefield.errors import ResourceError
from onefield.export import obj
from onefield.export.arrays import picture_beside
from onefield.export.formats import TEXTURED_FORMATS, export_mesh, read_mesh
from onefield.export.glb_reader import read_chunks
from onefield.types import Mesh
from tests.meshing.surfaces import RADIUS, textured_ball, waves


@pytest.fixture(scope="module")
def ball():
    return textured_ball(normal_map=True)


def of_glb(path):
    """The document and the pictures of a GLB."""
    document, binary = read_chunks(path.read_bytes(), path)
    views = [document["bufferViews"][image["bufferView"]] for image in document["images"]]
    contents = [binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]] for view in views]
    return document, [np.asarray(Image.open(BytesIO(content))) for content in contents]


def shown(shape, picture):
    """Colours that a reader of trimesh's coordinates, which run upwards, finds at points of the surface."""
    weights = np.random.default_rng(0).dirichlet(np.ones(3), len(shape.faces))
    places = (shape.visual.uv[shape.faces] * weights[..., None]).sum(axis=1)
    points = (shape.vertices[shape.faces] * weights[..., None]).sum(axis=1)
    height, width = picture.shape[:2]
    column = np.clip(np.floor(places[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(np.floor((1 - places[:, 1]) * height).astype(int), 0, height - 1)
    return points, picture[row, column, :3] / 255


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
@pytest.mark.parametrize("up", ["z", "y"])
def test_trimesh_sees_the_colors_in_their_places(tmp_path, ball, suffix, up):
    path = export_mesh(ball, tmp_path / f"ball{suffix}", up).path
    shape = trimesh.load(path, force="mesh", process=False)
    material = shape.visual.material
    picture = np.asarray(material.baseColorTexture if suffix == ".glb" else material.image)
    points, colors = shown(shape, picture)
    if suffix == ".glb" or up == "y":
        points = points[:, [0, 2, 1]] * (1, -1, 1)
    expected = waves(torch.from_numpy(points).float()).numpy()
    # the nearest texel, which is up to half a texel off
    assert np.abs(colors - expected).mean() < 0.015
    assert abs(np.linalg.norm(points, axis=1).mean() - RADIUS) < 0.01


def test_glb_has_what_its_standard_wants_of_textures(tmp_path, ball):
    document, pictures = of_glb(export_mesh(ball, tmp_path / "ball.glb").path)
    (material,) = document["materials"]
    assert material["pbrMetallicRoughness"]["baseColorTexture"] == {"index": 0}
    assert material["normalTexture"] == {"index": 1}
    # what says how light falls must not be told to be without light
    assert "extensions" not in material
    assert "doubleSided" not in material
    assert document["samplers"] == [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert set(attributes) == {"POSITION", "NORMAL", "TEXCOORD_0", "TANGENT"}
    assert document["accessors"][attributes["TANGENT"]]["type"] == "VEC4"
    assert all("target" not in document["bufferViews"][image["bufferView"]] for image in document["images"])
    assert np.array_equal(pictures[0], ball.texture.color.numpy())
    assert np.array_equal(pictures[1], ball.texture.normals.numpy())


def test_a_texture_without_normals_shows_its_own_light(tmp_path):
    document, _ = of_glb(export_mesh(textured_ball(size=64, resolution=6), tmp_path / "ball.glb").path)
    assert document["materials"][0]["extensions"] == {"KHR_materials_unlit": {}}
    assert document["extensionsUsed"] == ["KHR_materials_unlit"]


def test_open_surfaces_show_both_sides(tmp_path, ball):
    path = export_mesh(Mesh(ball.vertices, ball.faces[10:]), tmp_path / "open.glb").path
    document, _ = read_chunks(path.read_bytes(), path)
    assert document["materials"][0]["doubleSided"]


@pytest.mark.parametrize("suffix", TEXTURED_FORMATS)
def test_the_surface_stays_closed_across_seams(tmp_path, ball, suffix):
    back = read_mesh(export_mesh(ball, tmp_path / f"ball{suffix}").path)
    welded = trimesh.Trimesh(back.vertices.numpy(), back.faces.numpy(), process=True, merge_norm=True, merge_tex=True)
    assert welded.is_watertight
    assert welded.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.03)


def test_obj_names_files_that_are_there(tmp_path, ball):
    path = export_mesh(ball, tmp_path / "my ball.obj").path
    assert {file.name for file in tmp_path.iterdir()} == {
        "my ball.obj", "my_ball.mtl", "my_ball-obj-color.png", "my_ball-obj-normals.png",
    }  # fmt: skip
    assert "mtllib my_ball.mtl" in path.read_text()
    named = [line.split()[-1] for line in (tmp_path / "my_ball.mtl").read_text().splitlines() if ".png" in line]
    assert all((tmp_path / name).is_file() for name in named)


def full(*_):
    raise OSError(28, "No space left on device")


def test_formats_of_one_stem_keep_their_own_pictures(tmp_path, ball, monkeypatch):
    black = replace(ball, texture=replace(ball.texture, color=torch.zeros_like(ball.texture.color)))
    export_mesh(ball, tmp_path / "ball.obj")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    export_mesh(black, tmp_path / "ball.usda")
    assert all(file.read_bytes() == content for file, content in before.items())
    with monkeypatch.context() as patched:
        patched.setattr(obj, "_write_rows", full)
        with pytest.raises(ResourceError, match="full"):
            export_mesh(black, tmp_path / "ball.obj")
    assert all(file.read_bytes() == content for file, content in before.items())
    assert picture_beside(tmp_path / "ball.glb", "preview") != picture_beside(tmp_path / "ball.obj", "preview")


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".html"])
def test_formats_without_textures_say_so(tmp_path, ball, suffix, caplog):
    with caplog.at_level(logging.WARNING, logger="onefield.export"):
        notes = export_mesh(ball, tmp_path / f"ball{suffix}").notes
    assert any("texture" in note or "colours" in note for note in notes)


def test_tangents_are_as_the_standard_wants_them(tmp_path, ball):
    path = export_mesh(ball, tmp_path / "ball.glb").path
    document, binary = read_chunks(path.read_bytes(), path)
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    accessor = document["accessors"][attributes["TANGENT"]]
    view = document["bufferViews"][accessor["bufferView"]]
    stored = np.frombuffer(binary, "<f4", 4 * accessor["count"], view["byteOffset"]).reshape(-1, 4)
    assert np.allclose(np.linalg.norm(stored[:, :3], axis=1), 1, atol=1e-5)
    assert set(np.unique(stored[:, 3])) <= {-1.0, 1.0}
