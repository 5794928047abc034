"""Sets of Gaussians on disk: round trips to the bit or within rounding, files as others write them, broken ones."""

from __future__ import annotations

import gzip
import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onefield.errors import DataError, ResourceError, UsageError
from onefield.export.formats import export_mesh
from onefield.export.gaussian_formats import (
    GAUSSIAN_FORMATS,
    export_gaussians,
    holds_gaussians,
    named_for_gaussians,
    read_gaussians,
)
from onefield.kernels.gaussian_footprints import rotations
from onefield.kernels.harmonic_colors import harmonic_basis
from onefield.types import Gaussians, Mesh


def gaussians(count=50, degree=3) -> Gaussians:
    generator = torch.Generator().manual_seed(count)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    bands = tuple(0.3 * normal(count, 2 * band + 1, 3) for band in range(degree + 1))
    return Gaussians(normal(count, 3) * 3, normal(count, 3) - 3, normal(count, 4), 2 * normal(count), bands)


def tensors(some: Gaussians):
    return [some.means, some.log_scales, some.quaternions, some.opacities, *some.harmonics]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_ply_comes_back_to_the_bit(tmp_path, degree):
    written = gaussians(degree=degree)
    export_gaussians(written, tmp_path / "set.ply")
    read = read_gaussians(tmp_path / "set.ply")
    assert read.degree == degree
    for one, other in zip(tensors(read), tensors(written), strict=True):
        assert torch.equal(one, other)
    export_gaussians(read, tmp_path / "again.ply")
    assert (tmp_path / "again.ply").read_bytes() == (tmp_path / "set.ply").read_bytes()


def test_the_ply_has_the_published_layout(tmp_path):
    written = gaussians(3)
    export_gaussians(written, tmp_path / "set.ply")
    content = (tmp_path / "set.ply").read_bytes()
    header, _, body = content.partition(b"end_header\n")
    names = [line.split()[2].decode() for line in header.splitlines() if line.startswith(b"property")]
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{k}" for k in range(45))]
    assert names == [*expected, "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert len(body) == 3 * 62 * 4
    rows = np.frombuffer(body, "<f4").reshape(3, 62)
    higher = torch.cat(written.harmonics[1:], dim=1)
    # the second coefficient of green stands behind all fifteen of red
    assert rows[1, names.index("f_rest_16")] == float(higher[1, 1, 1])


@pytest.mark.parametrize("form", ["ascii", "binary_big_endian"])
def test_other_orders_types_and_properties_are_read(tmp_path, form):
    written = gaussians(4, degree=0)
    columns = {
        "rot_0": written.quaternions[:, 0], "rot_1": written.quaternions[:, 1], "rot_2": written.quaternions[:, 2],
        "rot_3": written.quaternions[:, 3], "confidence": torch.ones(4), "z": written.means[:, 2],
        "y": written.means[:, 1], "x": written.means[:, 0], "opacity": written.opacities,
        "f_dc_2": written.harmonics[0][:, 0, 2], "f_dc_1": written.harmonics[0][:, 0, 1],
        "f_dc_0": written.harmonics[0][:, 0, 0], "scale_0": written.log_scales[:, 0],
        "scale_1": written.log_scales[:, 1], "scale_2": written.log_scales[:, 2],
    }  # fmt: skip
    table = torch.stack(list(columns.values()), dim=1).double().numpy()
    properties = [f"property double {name}" for name in columns]
    header = ["ply", f"format {form} 1.0", "element vertex 4", *properties, "end_header\n"]
    text = "\n".join(" ".join(map(repr, map(float, row))) for row in table).encode()
    body = text if form == "ascii" else table.astype(">f8").tobytes()
    (tmp_path / "set.ply").write_bytes("\n".join(header).encode() + body)
    for one, other in zip(tensors(read_gaussians(tmp_path / "set.ply")), tensors(written), strict=True):
        assert torch.equal(one, other)


def seen(some: Gaussians):
    """What rounding may change a little: covariances, opacities, and colours along some directions."""
    axes = rotations(some.quaternions) * some.log_scales.exp()[:, None]
    directions = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -0.5]]), dim=-1)
    colors = (harmonic_basis(directions, some.degree)[:, :, None] * torch.cat(some.harmonics, dim=1)).sum(1)
    return axes @ axes.mT, torch.sigmoid(some.opacities), colors


@pytest.mark.parametrize("degree", [0, 2, 3])
def test_spz_comes_back_within_its_rounding(tmp_path, degree):
    written = gaussians(200, degree)
    note = export_gaussians(written, tmp_path / "set.spz").notes
    assert "rounds" in note[0]
    read = read_gaussians(tmp_path / "set.spz")
    torch.testing.assert_close(read.means, written.means, atol=0.5 / 4096 + 1e-6, rtol=0)
    torch.testing.assert_close(read.log_scales, written.log_scales, atol=0.5 / 16 + 1e-5, rtol=0)
    (shape, opacity, color), (true_shape, true_opacity, true_color) = seen(read), seen(written)
    sizes = torch.diagonal(true_shape, dim1=1, dim2=2).sum(1)[:, None, None]
    assert float(((shape - true_shape).abs() / sizes).max()) < 0.1
    torch.testing.assert_close(opacity, true_opacity, atol=0.51 / 255, rtol=0)
    torch.testing.assert_close(color, true_color, atol=0.25, rtol=0)
    for one, other in zip(read.harmonics[1:], written.harmonics[1:], strict=True):
        torch.testing.assert_close(one, other.clamp(-1, 1), atol=8.6 / 128, rtol=0)
    export_gaussians(written, tmp_path / "again.spz")
    assert (tmp_path / "again.spz").read_bytes() == (tmp_path / "set.spz").read_bytes()


def test_spz_rounds_small_scenes_finer(tmp_path):
    some = gaussians(50, 0)
    tiny = replace(some, means=some.means.clamp(-3, 3) * 0.01, log_scales=torch.full((50, 3), -9.0))
    for written, bits in ((some, 12), (tiny, 15), (replace(tiny, means=some.means.clamp(-3, 3) * 100), 14)):
        note = export_gaussians(written, tmp_path / "set.spz").notes[0]
        assert f"positions to 1/{1 << bits}," in note
        back = read_gaussians(tmp_path / "set.spz").means
        assert float((back - written.means).abs().max()) <= 0.5001 / (1 << bits) + 2**-15


def test_spz_bytes_are_those_of_the_specification(tmp_path):
    """One Gaussian worked out by hand: at (1, 2, 3) right, down, forward, a quarter turn about x."""
    half = math.sqrt(0.5)
    one = Gaussians(
        torch.tensor([[1.0, 2.0, 3.0]]),
        torch.tensor([[-2.0, -3.0, -4.0]]),
        torch.tensor([[half + 1e-6, half, 0.0, 0.0]]),
        torch.zeros(1),
        (torch.tensor([[[1.0, 0.0, -1.0]]]),),
    )
    export_gaussians(one, tmp_path / "one.spz")
    plain = gzip.decompress((tmp_path / "one.spz").read_bytes())
    assert plain[:16] == struct.pack("<IIIBBBB", 0x5053474E, 3, 1, 0, 12, 0, 0)
    fixed = b"".join(int(v * 4096).to_bytes(3, "little", signed=True) for v in (1, -2, -3))
    assert plain[16:25] == fixed
    assert plain[25] == 128
    assert list(plain[26:29]) == [round(255 * (0.15 * v + 0.5)) for v in (1, 0, -1)]
    assert list(plain[29:32]) == [128, 112, 96]
    # w is the largest (index 3); x is 1 / sqrt(2), so all nine bits of the first component
    assert int.from_bytes(plain[32:36], "little") >> 20 == (3 << 10) | 511
    assert len(plain) == 36


def test_version_two_quaternions_longer_than_one_are_made_unit(tmp_path):
    body = bytes(9) + bytes([255]) + bytes(3) + bytes(3) + bytes([255, 255, 127])
    header = struct.pack("<IIIBBBB", 0x5053474E, 2, 1, 0, 12, 0, 0)
    (tmp_path / "two.spz").write_bytes(gzip.compress(header + body))
    read = read_gaussians(tmp_path / "two.spz")
    assert float(read.quaternions.norm()) == pytest.approx(1.0)
    assert torch.isfinite(read.opacities).all()


def version_four(legacy: bytes, degree: int, records: bytes = b"", /, **changes: int) -> bytes:
    """A file of version 3 as one of version 4, by the published layout."""
    zstandard = pytest.importorskip("zstandard")
    plain = gzip.decompress(legacy)
    _, _, count, _, bits, _, _ = struct.unpack_from("<IIIBBBB", plain)
    streams, offset = [], 16
    for size in (9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1)):
        if size:
            streams.append(plain[offset : offset + count * size])
            offset += count * size
    packed = [zstandard.compress(stream) for stream in streams]
    told = {"count": count, "degree": degree, "bits": bits, "flags": 2 if records else 0, "streams": len(streams)}
    told |= {"table": 32 + len(records)} | changes
    header = struct.pack("<IIIBBBBI12x", 0x5053474E, 4, *told.values())
    table = b"".join(struct.pack("<QQ", len(p), len(s)) for p, s in zip(packed, streams, strict=True))
    return header + records + table + b"".join(packed)


AXES = struct.pack("<III", 0xADBE0003, 4, 4)


@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("records", [b"", struct.pack("<II3s", 0x00010002, 3, b"abc") + AXES])
def test_spz_of_version_four_holds_what_version_three_does(tmp_path, degree, records):
    export_gaussians(gaussians(60, degree), tmp_path / "three.spz")
    (tmp_path / "four.spz").write_bytes(version_four((tmp_path / "three.spz").read_bytes(), degree, records))
    for one, other in zip(*(tensors(read_gaussians(tmp_path / f"{n}.spz")) for n in ("three", "four")), strict=True):
        assert torch.equal(one, other)


def test_damaged_spz_of_version_four_is_named(tmp_path):
    export_gaussians(gaussians(60, 1), tmp_path / "set.spz")
    legacy = (tmp_path / "set.spz").read_bytes()
    whole = version_four(legacy, 1)
    flipped = bytearray(whole)
    flipped[32 + 6 * 16] ^= 0xFF
    other_axes = struct.pack("<III", 0xADBE0003, 4, 6)
    for content, message in [
        (whole[:20], "has 20 bytes, but its header takes 32"),
        (whole[:60], "places its table"),
        (whole[:-1], "cut short or damaged"),
        (whole[: len(whole) // 2], "cut short or damaged"),
        (bytes(flipped), "damaged stream"),
        (version_four(legacy, 1, count=61), "promises 61 Gaussians"),
        (version_four(legacy, 1, count=2**32 - 1), "promises 4,294,967,295 Gaussians in"),
        (version_four(legacy, 1, degree=2), "promises 60"),
        (version_four(legacy, 1, degree=4), "degree 4"),
        (version_four(legacy, 1, degree=0), "6 streams"),
        (version_four(legacy, 1, bits=200), "200 of 24 bits"),
        (version_four(legacy, 1, table=16), "places its table at byte 16"),
        (version_four(legacy, 1, table=2**32 - 1), "places its table"),
        (version_four(legacy, 1, other_axes), "system 6"),
    ]:
        (tmp_path / "set.spz").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_gaussians(tmp_path / "set.spz")


def test_spz_of_version_four_names_the_extra_that_it_takes(tmp_path, monkeypatch):
    export_gaussians(gaussians(3, 0), tmp_path / "set.spz")
    (tmp_path / "set.spz").write_bytes(version_four((tmp_path / "set.spz").read_bytes(), 0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"onefield\[spz\]"):
        read_gaussians(tmp_path / "set.spz")


def test_splat_keeps_what_it_can_brightest_first(tmp_path):
    written = gaussians(80, degree=1)
    notes = export_gaussians(written, tmp_path / "set.splat").notes
    assert any("depend on direction" in note for note in notes)
    assert (tmp_path / "set.splat").stat().st_size == 80 * 32
    read = read_gaussians(tmp_path / "set.splat")
    weight = torch.sigmoid(read.opacities) * read.log_scales.sum(1).exp()
    assert float(weight[:20].mean()) > float(weight[-20:].mean())
    order = [int((written.means - mean).norm(dim=-1).argmin()) for mean in read.means]
    (shape, opacity, _), (true_shape, true_opacity, _) = seen(read), seen(written)
    sizes = torch.diagonal(true_shape, dim1=1, dim2=2).sum(1)[order, None, None]
    assert float(((shape - true_shape[order]).abs() / sizes).max()) < 0.03
    torch.testing.assert_close(opacity, true_opacity[order], atol=0.51 / 255, rtol=0)
    within = written.harmonics[0][order].clamp(-0.5 / 0.28209479, 0.5 / 0.28209479)
    torch.testing.assert_close(read.harmonics[0], within, atol=0.51 / 255 / 0.28, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.replace(b"rot_3", b"rot_9"), "lacks the properties rot_3"),
        (lambda c: c.replace(b"f_rest_44", b"fxrest_44"), "44 properties f_rest_"),
        (lambda c: c[:-100], "set.ply"),
        (lambda c: c.replace(b"element vertex 50", b"element vertex 90"), "set.ply"),
        (lambda c: c.replace(b"element vertex 50", b"element vertex 00"), "no Gaussians"),
        (lambda c: b"", "no PLY file"),
    ],
)
def test_broken_plys_are_named(tmp_path, change, message):
    export_gaussians(gaussians(), tmp_path / "set.ply")
    (tmp_path / "set.ply").write_bytes(change((tmp_path / "set.ply").read_bytes()))
    with pytest.raises(DataError, match=message):
        read_gaussians(tmp_path / "set.ply")


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("means", math.nan, "position"),
        ("log_scales", math.inf, "log-scale"),
        ("quaternions", 0.0, r"quaternion \[0.0, 0.0, 0.0, 0.0\]"),
        ("opacities", -math.inf, "opacity"),
    ],
)
def test_numbers_without_meaning_are_neither_written_nor_read(tmp_path, part, value, message):
    broken = gaussians(5)
    getattr(broken, part)[3] = value
    with pytest.raises(DataError, match=f"Gaussian 3 has the {message}"):
        export_gaussians(broken, tmp_path / "set.ply")
    assert not (tmp_path / "set.ply").exists()


def test_opacities_of_nothing_and_all_are_read(tmp_path):
    """Others write them as infinite logits."""
    written = gaussians(3)
    written.opacities[:] = torch.tensor([-777.0, 777.0, 30.0])
    export_gaussians(written, tmp_path / "set.ply")
    content = (tmp_path / "set.ply").read_bytes()
    for number in (-777.0, 777.0):
        assert content.count(struct.pack("<f", number)) == 1
        content = content.replace(struct.pack("<f", number), struct.pack("<f", math.copysign(math.inf, number)))
    (tmp_path / "set.ply").write_bytes(content)
    read = read_gaussians(tmp_path / "set.ply").opacities
    assert torch.isfinite(read).all()
    torch.testing.assert_close(read.sigmoid(), torch.tensor([0.0, 1.0, 1.0]), atol=2e-7, rtol=0)
    assert float(read[2]) == 30.0


class Elsewhere(torch.Tensor):
    """What lies on another device: it has to be brought here before it becomes an array."""

    def numpy(self, **_):
        raise TypeError("can't convert a tensor of another device to numpy")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize("suffix", sorted(GAUSSIAN_FORMATS))
def test_sets_on_other_devices_are_written_alike(tmp_path, suffix):
    here = gaussians(3, 1)
    away = Gaussians(
        *(part.as_subclass(Elsewhere) for part in (here.means, here.log_scales, here.quaternions)),
        here.opacities.as_subclass(Elsewhere),
        tuple(band.as_subclass(Elsewhere) for band in here.harmonics),
    )
    written = [export_gaussians(some, tmp_path / f"{n}.splat{suffix}").path for n, some in enumerate((here, away))]
    assert written[0].read_bytes() == written[1].read_bytes()


def test_glb_with_more_of_one_attribute_is_refused(tmp_path):
    path = export_gaussians(gaussians(5), tmp_path / "set.splat.glb").path
    content = path.read_bytes()
    # the first accessor's count; positions come first
    path.write_bytes(content.replace(b'"count":5', b'"count":3', 1))
    with pytest.raises(DataError, match=r"set\.splat\.glb: 3 Gaussians, but 5 times 3 numbers of the log-scale"):
        read_gaussians(path)


def test_broken_files_of_other_formats_are_named(tmp_path):
    export_gaussians(gaussians(), tmp_path / "set.spz")
    whole = (tmp_path / "set.spz").read_bytes()
    plain = gzip.decompress(whole)
    for content, message in [
        (whole[:200], "cut short"),
        (gzip.compress(plain[:500]), "promises 50 Gaussians"),
        (gzip.compress(plain[:10]), "holds 10 bytes"),
        (whole[:-8] + bytes(4) + whole[-4:], "incorrect data check"),
        (gzip.compress(plain[:8] + bytes([255] * 4) + plain[12:]), "promises 4,294,967,295 Gaussians in"),
        (gzip.compress(plain[:4] + b"\x09" + plain[5:]), "version 9"),
        (plain, "version 3 with"),
        (b"hello", "no whole gzip stream"),
    ]:
        (tmp_path / "set.spz").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_gaussians(tmp_path / "set.spz")
    (tmp_path / "set.splat").write_bytes(bytes(33))
    with pytest.raises(DataError, match="no multiple of the 32"):
        read_gaussians(tmp_path / "set.splat")
    with pytest.raises(DataError, match="can't be read"):
        read_gaussians(tmp_path / "none.ply")
    with pytest.raises(UsageError, match=r"suffix '\.obj'"):
        read_gaussians(tmp_path / "set.obj")
    far = gaussians(3)
    far.means[0] = 1e5
    with pytest.raises(DataError, match="scale the set"):
        export_gaussians(far, tmp_path / "far.spz")


def test_plys_of_gaussians_and_of_meshes_are_told_apart(tmp_path):
    export_gaussians(gaussians(3), tmp_path / "set.ply")
    corners = torch.eye(3)
    export_mesh(Mesh(corners, torch.tensor([[0, 1, 2]])), tmp_path / "mesh.ply")
    assert holds_gaussians(tmp_path / "set.ply")
    assert not holds_gaussians(tmp_path / "mesh.ply")
    assert holds_gaussians(tmp_path / "any.spz")
    export_mesh(Mesh(corners, torch.tensor([[0, 1, 2]])), tmp_path / "mesh.glb")
    assert not holds_gaussians(tmp_path / "mesh.glb")


def test_glb_follows_the_extension(tmp_path):
    """Attributes under their names, activated, y up by a node; what reads meshes finds none in it."""
    written = gaussians(7, degree=2)
    export_gaussians(written, tmp_path / "set.splat.glb")
    assert holds_gaussians(tmp_path / "set.splat.glb")
    content = (tmp_path / "set.splat.glb").read_bytes()
    length = struct.unpack_from("<I", content, 12)[0]
    document, binary = json.loads(content[20 : 20 + length]), content[28 + length :]
    assert document["extensionsUsed"] == ["KHR_gaussian_splatting"]
    primitive = document["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0
    assert primitive["extensions"]["KHR_gaussian_splatting"]["kernel"] == "ellipse"

    def attribute(name: str) -> np.ndarray:
        accessor = document["accessors"][primitive["attributes"][name]]
        view = document["bufferViews"][accessor["bufferView"]]
        return np.frombuffer(binary, "<f4", view["byteLength"] // 4, view["byteOffset"]).reshape(7, -1)

    np.testing.assert_array_equal(attribute("POSITION"), written.means)
    np.testing.assert_allclose(attribute("KHR_gaussian_splatting:SCALE"), written.log_scales.exp(), rtol=1e-6)
    np.testing.assert_allclose(attribute("KHR_gaussian_splatting:OPACITY")[:, 0], written.opacities.sigmoid(), 1e-6)
    np.testing.assert_array_equal(attribute("KHR_gaussian_splatting:SH_DEGREE_2_COEF_3"), written.harmonics[2][:, 3])
    turned = attribute("KHR_gaussian_splatting:ROTATION")
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(turned[:, 3] / turned[:, 0], written.quaternions[:, 0] / written.quaternions[:, 1], 1e-4)


@pytest.mark.parametrize("degree", [0, 3])
def test_glb_comes_back_within_float32(tmp_path, degree):
    written = gaussians(degree=degree)
    export_gaussians(written, tmp_path / "set.glb")
    read = read_gaussians(tmp_path / "set.glb")
    assert torch.equal(read.means, written.means)
    torch.testing.assert_close(read.log_scales, written.log_scales, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen(read)[0], seen(written)[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(read.opacities, written.opacities, atol=1e-3, rtol=1e-4)
    for one, other in zip(read.harmonics, written.harmonics, strict=True):
        assert torch.equal(one, other)


def rewritten(path, change):
    """Changes a GLB's document and puts it back."""
    content = path.read_bytes()
    length = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + length])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    total = 20 + len(text) + len(rest)
    path.write_bytes(b"glTF" + struct.pack("<II", 2, total) + struct.pack("<I4s", len(text), b"JSON") + text + rest)


def test_glb_nodes_move_turn_and_scale(tmp_path):
    written = gaussians(5, degree=1)
    export_gaussians(written, tmp_path / "set.glb")

    def place(document):
        document["nodes"][1] |= {"scale": [3, 3, 3], "rotation": [0, 0, math.sqrt(0.5), math.sqrt(0.5)]}
        document["nodes"][1]["translation"] = [1, 0, 0]

    rewritten(tmp_path / "set.glb", place)
    read = read_gaussians(tmp_path / "set.glb")
    x, y, z = written.means.unbind(1)
    torch.testing.assert_close(read.means, torch.stack([1 - 3 * y, 3 * x, 3 * z], 1), atol=1e-5, rtol=1e-5)
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(seen(read)[0], 9 * turn @ seen(written)[0] @ turn.T, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["nodes"][1].update(scale=[1, 2, 1]), "unevenly"),
        (lambda d: d["nodes"][1].update(scale=[-1, 1, 1]), "mirrors"),
        (lambda d: d["meshes"][0]["primitives"][0].pop("extensions"), "no set of Gaussians"),
        (lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("KHR_gaussian_splatting:SCALE"), "SCALE"),
        (
            lambda d: d["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"].update(kernel="beta"),
            "'beta'",
        ),
        (lambda d: d["accessors"][0].update(count=10**9), "beyond the file"),
        (lambda d: d.update(meshes=None), "no sound"),
    ],
)
def test_broken_glb_is_refused_in_words(tmp_path, change, words):
    export_gaussians(gaussians(5, degree=1), tmp_path / "set.glb")
    rewritten(tmp_path / "set.glb", change)
    with pytest.raises(DataError, match=words):
        read_gaussians(tmp_path / "set.glb")


def test_which_names_mean_gaussians():
    names = {"a.ply": False, "a.glb": False, "a.splat.glb": True, "a.b.splat.ply": True, "a.spz": True, "a": False}
    assert {name: named_for_gaussians(Path(name)) for name in names} == names


def test_a_page_shows_the_gaussians_of_splat_and_gives_them_back(tmp_path):
    written = gaussians(20, degree=0)
    export_gaussians(written, tmp_path / "set.splat")
    page = export_gaussians(written, tmp_path / "set.html").path
    text = page.read_text()
    assert 'CONTENTS["application/x-gaussian-splat"]' in text
    assert "://" not in text
    assert holds_gaussians(page)
    assert named_for_gaussians(tmp_path / "set.splat.html")
    assert not named_for_gaussians(tmp_path / "set.html")
    stored = read_gaussians(tmp_path / "set.splat")
    for one, other in zip(tensors(read_gaussians(page)), tensors(stored), strict=True):
        assert torch.equal(one, other)


def test_pages_of_meshes_and_broken_ones_hold_no_gaussians(tmp_path):
    triangle = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    page = export_mesh(triangle, tmp_path / "mesh.html").path
    assert not holds_gaussians(page)
    with pytest.raises(DataError, match="no whole page with Gaussians"):
        read_gaussians(page)
    cut = export_gaussians(gaussians(3), tmp_path / "set.html").path
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(DataError, match="no whole page with Gaussians"):
        read_gaussians(cut)
