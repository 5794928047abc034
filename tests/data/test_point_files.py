import numpy as np
import pytest
import torch

from onefield.data.point_files import read_ply_points, read_point_cloud
from onefield.errors import DataError


def ply(form: str, properties: list[tuple[str, str]], body: bytes, count: int) -> bytes:
    lines = ["ply", f"format {form} 1.0", "comment made by a test", f"element vertex {count}"]
    lines += [f"property {kind} {name}" for kind, name in properties]
    lines += ["element face 0", "property list uchar int vertex_indices", "end_header"]
    return "\n".join(lines).encode() + b"\n" + body


@pytest.mark.parametrize(("form", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")])
def test_binary_files_of_both_byte_orders(tmp_path, form, order):
    kind = np.dtype([("x", order + "f8"), ("q", order + "i2"), ("y", order + "f4"), ("z", order + "f4")])
    kind = np.dtype([*kind.descr, ("red", "u1"), ("green", "u1"), ("blue", "u1")])
    table = np.zeros(3, dtype=kind)
    table["x"], table["y"], table["z"] = [1.5, 2.5, 1e7 + 0.125], [4, 5, 6], [-1, -2, -3]
    table["green"] = [0, 51, 255]
    names = [("double", "x"), ("short", "q"), ("float", "y"), ("float32", "z")]
    names += [("uchar", channel) for channel in ("red", "green", "blue")]
    (tmp_path / "a.ply").write_bytes(ply(form, names, table.tobytes(), 3))
    points, colors = read_ply_points(tmp_path / "a.ply")
    assert points.tolist() == [[1.5, 4, -1], [2.5, 5, -2], [1e7 + 0.125, 6, -3]]
    np.testing.assert_allclose(colors[:, 1], [0, 0.2, 1])


def test_text_files_with_normals(tmp_path):
    names = [("float", name) for name in ("x", "y", "z", "nx", "ny", "nz")]
    (tmp_path / "a.ply").write_bytes(ply("ascii", names, b"1 2 3 0 0 2\n4 5 6 3 0 4\n", 2))
    cloud = read_point_cloud(tmp_path / "a.ply")
    assert cloud.points.tolist() == [[1, 2, 3], [4, 5, 6]]
    torch.testing.assert_close(cloud.normals, torch.tensor([[0, 0, 1.0], [0.6, 0, 0.8]]))
    assert cloud.colors is None


XYZ = [("float", axis) for axis in "xyz"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no PLY"),
        (b"ply\nformat ascii 1.0\n", "no PLY"),
        (ply("binary_little_endian", XYZ, b"\0" * 23, 2), "2 vertices of 12 bytes, but 23 bytes follow"),
        (ply("ascii", XYZ, b"1 2 3\n", 2_000_000_000), "more than its text can hold"),
        (ply("ascii", XYZ, b"1 2 x\n1 2 3\n", 2), "no table of numbers"),
        (ply("ascii", XYZ, b"1 2 3 4\n1 2 3 4\n", 2), "claims 2 x 3 numbers"),
        (ply("ascii", XYZ[:2], b"1 2\n", 1), "lack x, y or z"),
        (ply("ascii", [*XYZ, ("list uchar int", "w")], b"1 2 3 0\n", 1), "can't be read"),
        (ply("ascii", [*XYZ, ("float", "x")], b"1 2 3 0\n", 1), "can't be read"),
        (ply("morse", XYZ, b"", 1), "format morse"),
        (ply("ascii", XYZ, b"", 0), "no vertices"),
    ],
)
def test_broken_files_are_named(tmp_path, content, said):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.ply") as caught:
        read_ply_points(tmp_path / "a.ply")
    assert said in str(caught.value)
