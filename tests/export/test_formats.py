"""Each format: what is written reads back, independent readers agree, and broken files end in a sentence."""

import json
import logging
import os
import struct

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onefield.data.point_files import read_ply_points
from onefield.errors import DataError, ResourceError, UsageError
from onefield.export.formats import MESH_FORMATS, export_mesh, read_mesh
from onefield.types import Mesh, Texture

SUFFIXES = sorted(MESH_FORMATS)
FOREIGN = [suffix for suffix in SUFFIXES if suffix not in (".html", ".usda")]  # trimesh knows no page and no USD
COLORED = [".glb", ".html", ".obj", ".ply", ".usda"]
MAP_ORIGIN = torch.tensor([448_000.25, 5_411_000.5, 300.0], dtype=torch.float64)


def ball(colors=False, normals=False, double=False):
    shape = trimesh.creation.icosphere(2)
    vertices = torch.from_numpy(np.array(shape.vertices)) * torch.tensor([1.0, 2.0, 3.0])
    return Mesh(
        vertices + MAP_ORIGIN if double else vertices.float(),
        torch.from_numpy(np.array(shape.faces)),
        colors=torch.from_numpy(np.array(shape.vertices) / 2 + 0.5).float() if colors else None,
        normals=torch.from_numpy(np.array(shape.vertex_normals)).float() if normals else None,
    )


def triangles(mesh):
    """Corners of each face, in an order that does not depend on the numbering."""
    corners = mesh.vertices.double()[mesh.faces].numpy()
    turn = np.array([np.lexsort(face.T[::-1])[0] for face in corners])
    corners = np.stack([np.roll(face, -n, axis=0) for face, n in zip(corners, turn, strict=True)])
    return corners[np.lexsort(corners.reshape(-1, 9).T[::-1])]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_geometry_reads_back(tmp_path, suffix):
    mesh = ball()
    export = export_mesh(mesh, tmp_path / f"ball{suffix}")
    back = read_mesh(export.path)
    assert np.array_equal(triangles(back), triangles(mesh))
    assert back.vertices.shape == mesh.vertices.shape
    assert back.vertices.dtype == torch.float32
    assert export.size == os.path.getsize(export.path)
    assert export.notes == ()
    assert [entry.name for entry in tmp_path.iterdir()] == [f"ball{suffix}"]


@pytest.mark.parametrize("suffix", COLORED)
def test_colors_and_normals_read_back(tmp_path, suffix):
    mesh = ball(colors=True, normals=True)
    back = read_mesh(export_mesh(mesh, tmp_path / f"ball{suffix}").path)
    assert torch.equal(back.faces, mesh.faces)
    assert torch.allclose(back.colors, mesh.colors, atol=0.5 / 255 + 1e-6)
    assert torch.allclose(back.normals, mesh.normals, atol=1e-5)


@pytest.mark.parametrize("suffix", COLORED)
def test_map_coordinates_keep_their_precision(tmp_path, suffix):
    mesh = ball(double=True)
    back = read_mesh(export_mesh(mesh, tmp_path / f"ball{suffix}").path)
    assert back.vertices.dtype == torch.float64
    assert float((back.vertices - mesh.vertices).abs().max()) < 1e-6


def test_stl_says_what_it_loses(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="onefield.export"):
        notes = export_mesh(ball(colors=True, double=True), tmp_path / "ball.stl").notes
    assert any("0.32 units" in note for note in notes)
    assert any("no colours" in note for note in notes)
    assert "float32 only" in caplog.text


@pytest.mark.parametrize("suffix", FOREIGN)
def test_trimesh_reads_the_same_surface(tmp_path, suffix):
    mesh = ball(colors=True, normals=True)
    path = export_mesh(mesh, tmp_path / f"ball{suffix}").path
    shape = trimesh.load(path, force="mesh", process=suffix == ".stl")
    expected = trimesh.Trimesh(mesh.vertices.double().numpy(), mesh.faces.numpy(), process=False)
    # glTF is y up: x y z of the mesh is x z -y there
    bounds = expected.bounds
    if suffix == ".glb":
        bounds = np.array([bounds[0][[0, 2, 1]], bounds[1][[0, 2, 1]]])
        bounds[:, 2] = -bounds[::-1, 2]
    assert np.allclose(shape.bounds, bounds, atol=1e-5)
    assert shape.is_watertight
    assert shape.volume == pytest.approx(expected.volume, rel=1e-5)
    if suffix in (".obj", ".ply"):
        assert np.abs(shape.visual.vertex_colors[:, :3] / 255 - mesh.colors.numpy()).max() < 1.01 / 255


@pytest.mark.parametrize("suffix", FOREIGN)
def test_files_of_trimesh_are_read(tmp_path, suffix):
    shape = trimesh.creation.icosphere(1)
    path = tmp_path / f"theirs{suffix}"
    shape.export(path)
    back = read_mesh(path)
    vertices = back.vertices.double().numpy()
    if suffix == ".glb":  # written without a turn, so that their z is our y up
        vertices = np.stack([vertices[:, 0], vertices[:, 2], -vertices[:, 1]], axis=1)
    read = trimesh.Trimesh(vertices, back.faces.numpy(), process=False)
    assert read.is_watertight
    assert np.allclose(read.bounds, shape.bounds, atol=1e-6)
    assert read.volume == pytest.approx(shape.volume, rel=1e-5)


def test_glb_follows_its_standard(tmp_path):
    mesh = ball(colors=True)
    content = export_mesh(mesh, tmp_path / "ball.glb").path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    size, kind = struct.unpack_from("<I4s", content, 12)
    document = json.loads(content[20 : 20 + size])
    assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON")
    assert size % 4 == 0
    position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    assert position["min"] == mesh.vertices.amin(0).tolist()
    assert position["max"] == mesh.vertices.amax(0).tolist()
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
    # the colours are linear: sRGB 0.5 is 0.214
    gray = Mesh(mesh.vertices, mesh.faces, colors=torch.full_like(mesh.vertices, 0.5))
    content = export_mesh(gray, tmp_path / "gray.glb").path.read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + size])
    view = document["bufferViews"][document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    stored = np.frombuffer(content, "<f4", count=3, offset=28 + size + view["byteOffset"])
    assert np.allclose(stored, 0.21404, atol=1e-5)
    # which another program reads as numbers in [0, 1]
    (shape,) = trimesh.load(tmp_path / "gray.glb", process=False).geometry.values()
    assert np.allclose(shape.visual.vertex_attributes["color"], 0.21404, atol=1e-5)


def test_normals_without_a_direction_point_up(tmp_path):
    """A validator of glTF refuses others than unit vectors."""
    mesh = ball(normals=True)
    mesh.normals[0], mesh.normals[1] = 0.0, torch.tensor([1e-30, 0.0, 0.0])
    back = read_mesh(export_mesh(mesh, tmp_path / "ball.glb").path)
    assert back.normals[:2].tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def test_glb_transforms_are_applied(tmp_path):
    """A node that mirrors, scales and moves: positions follow, and faces stay counter-clockwise from outside."""
    path = export_mesh(ball(), tmp_path / "ball.glb").path
    content = path.read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + size])
    document["nodes"][1] |= {"scale": [-2, 1, 1], "rotation": [0, 0, 2**-0.5, 2**-0.5], "translation": [10, 0, 0]}
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    header = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    path.write_bytes(header + text + rest)
    back = read_mesh(path)
    x, y, z = ball().vertices.unbind(1)
    # mirrored along x, a quarter turn about z, moved
    assert torch.allclose(back.vertices, torch.stack([10 - y, -2 * x, z], dim=1), atol=1e-5)
    a, b, c = back.vertices.double()[back.faces].unbind(1)
    assert float((a * torch.linalg.cross(b, c)).sum()) > 0


def test_obj_dialects(tmp_path):
    path = tmp_path / "quad.obj"
    path.write_text(
        "# a comment\nmtllib none.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\n"
        "usemtl x\nf 1/1/1 2/1/1 \\\n3/1/1 4/1/1\nf -4 -3 -2\n"
    )
    mesh = read_mesh(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.normals.tolist() == [[0.0, 0.0, 1.0]] * 4
    assert mesh.colors is None
    # a backslash at the end of a path joins nothing; other programs' colours go to 255, and normals may be no numbers
    path.write_text(
        "# C:\\models\\\nv 0 0 0 255 0 0\nmtllib C:\\\nv 1 0 0 0 nan 0\no a\u2028v b\nv 0 1 0 0 0 51\nvn nan 0 0\n"
        "f 1//1 2//1 3//1 \\",
        encoding="utf-8",
    )
    mesh = read_mesh(path)
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2]]
    assert torch.allclose(mesh.colors, torch.tensor([[1, 0, 0], [0, 0, 0], [0, 0, 0.2]]))
    assert mesh.normals is None


@pytest.mark.parametrize(("kind", "white"), [("int", 255), ("ushort", 65535), ("float", 1), ("uchar", 255)])
def test_ply_colors_of_any_kind(tmp_path, kind, white):
    colors = "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue"))
    header = f"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n{colors}"
    rows = f"0 0 0 {white} 0 0\n1 0 0 0 {white} 0\n0 1 0 0 0 {white}\n3 0 1 2\n"
    path = tmp_path / "colored.ply"
    path.write_text(f"{header}element face 1\nproperty list uchar int vertex_indices\nend_header\n{rows}")
    assert read_mesh(path).colors.tolist() == np.eye(3).tolist()
    assert read_ply_points(path)[1].tolist() == np.eye(3).tolist()


@pytest.mark.parametrize("order", ["ascii", "binary_big_endian"])
def test_ply_dialects(tmp_path, order):
    header = (
        f"ply\nformat {order} 1.0\ncomment x\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        "element edge 1\nproperty int a\nproperty int b\n"
        "element face 2\nproperty list uchar int vertex_index\nproperty uchar flag\nend_header\n"
    )
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    if order == "ascii":
        rows = [f"{x} {y} {z} 255 0 51" for x, y, z in corners]
        body = "\n".join([*rows, "0 1", "4 0 1 2 3 9", "3 0 1 2 9"]).encode()
    else:
        body = b"".join(struct.pack(">fffBBB", *corner, 255, 0, 51) for corner in corners) + struct.pack(">ii", 0, 1)
        body += struct.pack(">BiiiiB", 4, 0, 1, 2, 3, 9) + struct.pack(">BiiiB", 3, 0, 1, 2, 9)
    path = tmp_path / "quad.ply"
    path.write_bytes(header.encode() + body)
    mesh = read_mesh(path)
    assert mesh.vertices.tolist() == [list(map(float, corner)) for corner in corners]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert torch.allclose(mesh.colors, torch.tensor([1.0, 0.0, 0.2]))


def test_text_stl(tmp_path):
    path = tmp_path / "one.stl"
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 -0\nvertex 0 1 0\nendloop\nendfacet\n"
    path.write_text(f"solid one\n{facet}endsolid one\n")
    mesh = read_mesh(path)
    assert mesh.vertices.shape == (3, 3)
    assert np.array_equal(triangles(mesh), [[[0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    path.write_text(f"solid one\n{facet}")
    with pytest.raises(DataError, match="cut short"):
        read_mesh(path)


def test_unknown_suffix_names_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"'\.gbl'.*did you mean '\.glb'"):
        export_mesh(ball(), tmp_path / "ball.gbl")
    with pytest.raises(UsageError, match="suffix"):
        read_mesh(tmp_path / "ball")
    assert export_mesh(ball(), tmp_path / "BALL.GLB").size > 0


def test_missing_folder_and_missing_file(tmp_path):
    with pytest.raises(ResourceError, match="nowhere"):
        export_mesh(ball(), tmp_path / "nowhere" / "ball.ply")
    with pytest.raises(DataError, match=r"none\.ply can't be read"):
        read_mesh(tmp_path / "none.ply")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    path = export_mesh(ball(), tmp_path / f"ball{suffix}").path
    old = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="full"):
        export_mesh(ball(colors=True, double=True), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_meshes_that_mean_nothing_are_not_written(tmp_path):
    with pytest.raises(DataError, match="no faces"):
        export_mesh(Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)), tmp_path / "a.ply")
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, torch.inf, 0]])
    with pytest.raises(DataError, match="Vertex 2"):
        export_mesh(Mesh(vertices, torch.tensor([[0, 1, 2]])), tmp_path / "a.ply")
    corners, face = torch.eye(3, dtype=torch.float64), torch.tensor([[0, 1, 2]])
    unknown = torch.full((3, 3), torch.nan)
    for mesh, said in (
        (Mesh(corners * 1e39, face), "Vertex 0 .* position"),
        (Mesh(corners, face, colors=unknown), "Vertex 0 .* colour .*nan"),
        (Mesh(corners, face, normals=unknown), "Vertex 0 .* normal .*nan"),
        (Mesh(corners, face, colors=torch.ones(2, 3)), r"3 vertices.*colour.*\(2, 3\)"),
        (Mesh(corners, face, texture=Texture(unknown[None, :, :2], torch.zeros(4, 4, 3).byte())), "Face 0 .* places"),
    ):
        with pytest.raises(DataError, match=said):
            export_mesh(mesh, tmp_path / "a{0}{b}.glb")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_cut_short_are_refused(tmp_path, suffix):
    content = export_mesh(ball(), tmp_path / f"ball{suffix}").path.read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in (0, 3, 11, 40, len(content) // 3, len(content) - 1):
        path.write_bytes(content[:length])
        if suffix == ".obj" and length in (len(content) - 1, len(content) // 3):
            continue  # text without a count: the last line may end anywhere
        with pytest.raises(DataError, match=r"cut"):
            read_mesh(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_a_sentence_or_a_mesh(tmp_path, suffix, data):
    source = tmp_path / f"sound{suffix}"
    if not source.exists():
        mesh = ball(colors=True, normals=True)
        export_mesh(Mesh(mesh.vertices, mesh.faces[:20], mesh.colors, mesh.normals), source)
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 32, 45, 48, 57, 91, 123, 127, 255]))
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(bytes(content))
    try:
        mesh = read_mesh(path)
    except DataError as error:
        message = str(error)
    else:
        assert bool(torch.isfinite(mesh.vertices).all())
        message = f"{path}"
    assert str(path) in message


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_measure_end_in_one_sentence(tmp_path):
    path = export_mesh(ball(), tmp_path / "ball.ply").path
    content = bytearray(path.read_bytes())
    begin = content.index(b"end_header\n") + len(b"end_header\n")
    content[begin : begin + 4] = b"\x01\x00\x80\x7f"  # a signalling NaN
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ball\.ply .*vertex 0 lies at \[nan"):
        read_mesh(path)


def test_glb_with_a_node_in_two_places_is_refused(tmp_path):
    path = export_mesh(ball(), tmp_path / "ball.glb").path
    content = path.read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + size])
    document["nodes"][0]["children"] = [1, 1]
    document["nodes"].append({})
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    path.write_bytes(struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest)
    with pytest.raises(DataError, match="children of more than one node"):
        read_mesh(path)


@pytest.mark.filterwarnings("error")
def test_broken_numbers_of_stl_end_in_one_sentence(tmp_path):
    path = export_mesh(ball(), tmp_path / "ball.stl").path
    content = bytearray(path.read_bytes())
    # a signalling NaN, of which any sum warns, in the second triangle's first corner
    content[84 + 50 + 12 : 84 + 50 + 16] = b"\x01\x00\x80\x7f"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ball\.stl is damaged: triangle 1 has a corner that is no finite number"):
        read_mesh(path)


def test_hostile_counts_do_not_reserve_memory(tmp_path):
    path = tmp_path / "huge.ply"
    path.write_text("ply\nformat ascii 1.0\nelement vertex 99999999999\nproperty float x\nend_header\n")
    with pytest.raises(DataError, match="promises 99999999999"):
        read_mesh(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_y_up_where_the_standard_leaves_it_open(tmp_path, suffix):
    mesh = ball(normals=True)
    back = read_mesh(export_mesh(mesh, tmp_path / f"ball{suffix}", "y").path)
    x, y, z = mesh.vertices.unbind(1)
    by_standard = suffix in (".glb", ".html", ".usda")  # the file says so, and reading turns it back
    expected = mesh.vertices if by_standard else torch.stack([x, z, -y], dim=1)
    assert np.array_equal(triangles(back), triangles(Mesh(expected, mesh.faces)))
    if back.normals is not None:
        outward = torch.nn.functional.normalize(back.vertices / expected.abs().amax(0) ** 2, dim=1)
        assert float((outward * back.normals).sum(1).min()) > 0.8


def test_another_axis_is_refused(tmp_path):
    with pytest.raises(UsageError, match="y or z"):
        export_mesh(ball(), tmp_path / "ball.ply", "x")
