import math
import struct
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.data.images import decode, read_header
from onefield.data.linear_images import eight_bits, read_linear
from onefield.data.signals import load_signal
from onefield.errors import DataError, ResourceError

HALF, FLOAT = 1, 2


def exr(channels, at=(0, 0), display=None, kind=FLOAT):
    """An uncompressed file by the letter of the format's specification: planes of one size, in any order."""
    height, width = next(iter(channels.values())).shape
    window = (*at, at[0] + width - 1, at[1] + height - 1)
    shown = window if display is None else (0, 0, display[0] - 1, display[1] - 1)
    names = sorted(channels)
    listed = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", kind, 0, 1, 1) for name in names) + b"\0"
    attributes = [
        ("channels", "chlist", listed),
        ("compression", "compression", b"\0"),
        ("dataWindow", "box2i", struct.pack("<4i", *window)),
        ("displayWindow", "box2i", struct.pack("<4i", *shown)),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ]
    header = struct.pack("<ii", 20000630, 2)
    for name, sort, value in attributes:
        header += name.encode() + b"\0" + sort.encode() + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    stored = {name: channels[name].astype("<f2" if kind == HALF else "<f4") for name in names}
    rows = [b"".join(stored[name][row].tobytes() for name in names) for row in range(height)]
    lines = [struct.pack("<ii", at[1] + row, len(line)) + line for row, line in enumerate(rows)]
    begin = len(header) + 8 * height
    offsets = [begin + sum(map(len, lines[:row])) for row in range(height)]
    return header + struct.pack(f"<{height}Q", *offsets) + b"".join(lines)


def hdr(mantissas, exponents):
    """A flat Radiance file: a colour is its three bytes times 2^(exponent byte - 136)."""
    height, width = exponents.shape
    pixels = np.concatenate([mantissas, exponents[..., None]], axis=-1).astype(np.uint8)
    return f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n".encode() + pixels.tobytes()


@pytest.fixture
def planes():
    values = np.random.default_rng(0).uniform(-0.1, 3.0, (3, 5, 7)).astype(np.float32)
    return dict(zip("RGB", values, strict=True))


def stacked(planes, names="RGB"):
    return np.stack([planes[name] for name in names], axis=-1)


@pytest.mark.parametrize("kind", [HALF, FLOAT])
def test_stored_numbers_come_back(tmp_path, planes, kind):
    (tmp_path / "a.exr").write_bytes(exr(planes, kind=kind))
    expected = stacked(planes).astype(np.float16) if kind == HALF else stacked(planes)
    assert np.array_equal(read_linear(tmp_path / "a.exr"), expected.astype(np.float32))
    assert torch.equal(load_signal(tmp_path / "a.exr").values, torch.from_numpy(expected.astype(np.float32)))
    (tmp_path / "grey.exr").write_bytes(exr({"Y": planes["G"]}))
    assert np.array_equal(read_linear(tmp_path / "grey.exr")[..., 0], planes["G"])
    assert decode(tmp_path / "grey.exr").shape == (5, 7, 3)
    layer = {f"main.{name}": plane for name, plane in planes.items()} | {"depth.Z": planes["R"]}
    (tmp_path / "layer.exr").write_bytes(exr(layer))
    assert np.array_equal(read_linear(tmp_path / "layer.exr"), stacked(planes))


def test_the_display_window_is_the_picture(tmp_path, planes):
    (tmp_path / "part.exr").write_bytes(exr(planes, at=(2, 1), display=(11, 9)))
    picture = read_linear(tmp_path / "part.exr")
    assert picture.shape == (9, 11, 3)
    assert np.array_equal(picture[1:6, 2:9], stacked(planes))
    assert np.count_nonzero(picture) == np.count_nonzero(stacked(planes))
    (tmp_path / "more.exr").write_bytes(exr(planes, at=(-2, -1), display=(4, 3)))
    assert np.array_equal(read_linear(tmp_path / "more.exr"), stacked(planes)[1:4, 2:6])
    assert (read_header(tmp_path / "more.exr").width, read_header(tmp_path / "more.exr").height) == (4, 3)
    (tmp_path / "beside.exr").write_bytes(exr(planes, at=(20, 20), display=(4, 3)))
    assert not read_linear(tmp_path / "beside.exr").any()


def test_radiance_files_hold_mantissas_and_a_shared_exponent(tmp_path):
    generator = np.random.default_rng(1)
    mantissas, exponents = generator.integers(0, 256, (6, 9, 3)), generator.integers(125, 133, (6, 9))
    (tmp_path / "a.hdr").write_bytes(hdr(mantissas, exponents))
    expected = mantissas * 2.0 ** (exponents[..., None] - 136)
    # some readers add half a unit of the mantissa, as Ward's own does
    assert (np.abs(read_linear(tmp_path / "a.hdr") - expected) <= 0.5 * 2.0 ** (exponents[..., None] - 136)).all()
    assert decode(tmp_path / "a.hdr").shape == (6, 9, 3)


def scalar_code(value):
    """The standard's formula, a number at a time."""
    value = 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)
    return round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))


def test_photos_are_clipped_and_encoded(tmp_path, planes):
    planes["R"][0, :5] = [0.0, np.nan, np.inf, -np.inf, 0.002]
    (tmp_path / "a.exr").write_bytes(exr(planes))
    expected = [[[scalar_code(float(value)) for value in pixel] for pixel in row] for row in stacked(planes)]
    assert decode(tmp_path / "a.exr").tolist() == expected
    assert read_header(tmp_path / "a.exr").linear
    # smaller pictures are averages of the encoded ones, as for every other file
    half = decode(tmp_path / "a.exr", (1, 1)).astype(float)
    assert np.abs(half[0, 0] - np.mean(expected, axis=(0, 1))).max() <= 1


def test_every_code_survives_the_way_there_and_back():
    codes = np.arange(256)
    encoded = codes / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)
    assert np.array_equal(eight_bits(linear[None, :, None])[0], np.repeat(codes[:, None], 3, axis=1))


def test_alpha_becomes_straight(tmp_path):
    straight, alpha = np.array([0.5, 0.2, 1.0]), np.array([[0.25, 1.0, 0.0]])
    planes = {name: value * alpha for name, value in zip("RGB", straight, strict=True)}
    (tmp_path / "a.exr").write_bytes(exr(planes | {"A": alpha}))
    assert read_header(tmp_path / "a.exr").alpha
    color = [scalar_code(value) for value in straight]
    assert decode(tmp_path / "a.exr").tolist() == [[[*color, 64], [*color, 255], [0, 0, 0, 0]]]


def test_broken_files_are_named(tmp_path, planes):
    whole = exr(planes)
    contents = {
        "empty.exr": b"",
        "text.exr": b"nonsense",
        "text.hdr": b"nonsense",
        "cut.exr": whole[:-20],
        "head.exr": whole[:100],
        "cut.hdr": hdr(np.ones((4, 5, 3)), np.full((4, 5), 128))[:-9],
        "depth.exr": exr({"Z": planes["R"]}),
        "wide.exr": exr(planes, display=(200_000, 1_000)),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            decode(tmp_path / name)
    with pytest.raises(DataError, match="Z, but no R, G, B"):
        read_header(tmp_path / "depth.exr")
    with pytest.raises(DataError, match="100,000,000 pixels"):
        read_header(tmp_path / "wide.exr")
    with pytest.raises(DataError, match="missing"):
        read_header(tmp_path / "none.exr")


def test_without_the_library_one_sentence_says_what_to_install(tmp_path, planes, monkeypatch):
    (tmp_path / "a.exr").write_bytes(exr(planes))
    monkeypatch.setitem(sys.modules, "OpenImageIO", None)
    with pytest.raises(ResourceError, match=r"a\.exr needs the library OpenImageIO.*\[hdr\].*convert the picture"):
        read_header(tmp_path / "a.exr")


def test_a_scene_of_linear_photos_is_that_of_their_encoded_twins(tmp_path):
    write_demo_scene(tmp_path / "png", views=8, size=16)
    write_demo_scene(tmp_path / "exr", views=8, size=16)
    for file in sorted((tmp_path / "exr").rglob("*.png")):
        pixels = np.asarray(Image.open(file)).astype(np.float64) / 255
        colors = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
        alpha = pixels[..., 3]
        premultiplied = {name: colors[..., place] * alpha for place, name in enumerate("RGB")}
        file.with_suffix(".exr").write_bytes(exr(premultiplied | {"A": alpha}))
        file.unlink()
    twin, linear = load_scene(tmp_path / "png"), load_scene(tmp_path / "exr")
    assert "hold linear light" in " ".join(linear.warnings)
    assert "linear light" not in " ".join(twin.warnings)
    for index in range(len(twin)):
        expected, got = twin.images.image(index), linear.images.image(index)
        seen = expected[..., 3:] > 0
        assert ((expected - got).abs() * seen).max() <= 1.01 / 255
        assert torch.equal(expected[..., 3], got[..., 3])
