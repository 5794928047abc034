import importlib.util
import json
import re
import struct

import numpy as np
import pytest

from onefield.data.formats import load_scene
from onefield.errors import DataError


def rewrite(folder, change):
    file = folder / "metadata.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


@pytest.mark.parametrize("own_intrinsics", [True, False])
def test_cameras_see_the_truth(synthetic, tmp_path, own_intrinsics):
    truth = synthetic.make_truth()
    truth = type(truth)(truth.poses, truth.points, focal=(9.0, 10.0), center=(4.2, 2.9))
    synthetic.record3d(truth, tmp_path, own_intrinsics)
    scene = load_scene(tmp_path)
    assert (scene.format, scene.warnings) == ("record3d", ())
    synthetic.assert_seen(scene, truth)


def as_archive(folder):
    """The layout of an unpacked .r3d."""
    (folder / "rgb").rename(folder / "rgbd")
    (folder / "metadata.json").rename(folder / "metadata")
    return folder / "rgbd"


def packed(values):
    """LZFSE with one block that is not compressed, written by hand."""
    content = values.astype("<f4").tobytes()
    return b"bvx-" + struct.pack("<I", len(content)) + content + b"bvx$"


MAP = np.arange(1, 13).reshape(3, 4) / 4


def assert_enlarged(scene, view):
    """A map of 4 x 3 numbers in metres on a picture of 8 x 6 pixels."""
    x, y = np.meshgrid((np.arange(8) + 0.5 - 4) / 9, (np.arange(6) + 0.5 - 3) / 9)
    expected = MAP.repeat(2, axis=0).repeat(2, axis=1) * np.sqrt(1 + x**2 + y**2) * scene.transform.scale
    np.testing.assert_allclose(scene.depths.distances(view).numpy(), expected, rtol=1e-5)


def test_an_unpacked_recording_and_a_packed_one(synthetic, tmp_path):
    truth = synthetic.write("record3d", tmp_path)
    as_archive(tmp_path)
    synthetic.assert_seen(load_scene(tmp_path), truth)
    (tmp_path / "scan.r3d").write_bytes(b"PK")
    with pytest.raises(DataError, match="packed recording; unpack it"):
        load_scene(tmp_path / "scan.r3d")


def test_depth_of_an_unpacked_recording(synthetic, tmp_path):
    pytest.importorskip("lzfse", reason="needs the extra photos")
    synthetic.write("record3d", tmp_path)
    folder = as_archive(tmp_path)
    (folder / "3.depth").write_bytes(packed(MAP))
    (folder / "4.depth").write_bytes(packed(MAP)[:30])
    (folder / "1.depth").write_bytes(packed(MAP[:, :3].reshape(-1)[:7]))
    scene = load_scene(tmp_path)
    assert scene.warnings == ("3 of 5 views have a depth image.",)
    assert_enlarged(scene, 3)
    assert scene.depths.distances(0) is None
    with pytest.raises(DataError, match=r"4\.depth is truncated or damaged"):
        scene.depths.distances(4)
    with pytest.raises(DataError, match=r"1\.depth holds 28 bytes, .* 8 x 6"):
        scene.depths.distances(1)


def test_depth_of_an_exported_recording(synthetic, tmp_path):
    library = pytest.importorskip("OpenImageIO", reason="needs the extra hdr")
    synthetic.write("record3d", tmp_path)
    (tmp_path / "depth").mkdir()
    for index, channels in ((2, ("R",)), (3, ("R", "G", "B"))):
        spec = library.ImageSpec(4, 3, len(channels), "float")
        spec.channelnames = channels
        file = library.ImageOutput.create("depth.exr")
        assert file.open(str(tmp_path / "depth" / f"{index}.exr"), spec)
        file.write_image(np.repeat(MAP.astype(np.float32)[..., None], len(channels), axis=-1))
        file.close()
    scene = load_scene(tmp_path)
    assert_enlarged(scene, 2)
    with pytest.raises(DataError, match=r"3\.exr has 3 channels"):
        scene.depths.distances(3)


@pytest.mark.parametrize(("name", "extra"), [("rgb/3.depth", "photos"), ("depth/3.exr", "hdr")])
def test_depth_without_its_reader_is_left_out_and_the_extra_named(synthetic, tmp_path, monkeypatch, name, extra):
    truth = synthetic.write("record3d", tmp_path)
    (tmp_path / "depth").mkdir()
    (tmp_path / name).write_bytes(b"anything")
    find = importlib.util.find_spec
    missing = ("lzfse", "OpenImageIO")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module in missing else find(module))
    scene = load_scene(tmp_path)
    synthetic.assert_seen(scene, truth)
    assert scene.depths is None
    assert re.search(rf"1 depth images .* left out.*onefield\[{extra}\]", scene.warnings[-1])


def test_images_are_numbered_not_sorted_as_text(synthetic, tmp_path):
    truth = synthetic.write("record3d", tmp_path)
    (tmp_path / "rgb" / "3.png").rename(tmp_path / "rgb" / "00003.png")
    synthetic.assert_seen(load_scene(tmp_path), truth)


def test_missing_images_are_counted(synthetic, tmp_path):
    synthetic.write("record3d", tmp_path)
    (tmp_path / "rgb" / "3.png").unlink()
    scene = load_scene(tmp_path)
    assert len(scene) == 4
    assert "1 of 5 images are missing" in scene.warnings[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record["poses"].pop(), "4 poses but .*5 images"),
        (lambda record: record.pop("poses"), "'poses' must hold"),
        (lambda record: record["poses"][1].pop(), "'poses' must hold 5x7 numbers"),
        (lambda record: record["poses"][1].__setitem__(0, float("nan")), r"poses\[1\]\[0\]' is nan"),
        (lambda record: record["poses"][1].__setitem__(0, 3.0), r"poses\[1\] is no rotation"),
        (lambda record: record["perFrameIntrinsicCoeffs"].pop(), "'perFrameIntrinsicCoeffs' must hold 5x4"),
        (lambda record: (record.pop("perFrameIntrinsicCoeffs"), record.pop("K")), "'K' must hold 9"),
        (lambda record: record.pop("w"), "lacks 'w'"),
        (lambda record: record.__setitem__("h", 60), "another shape"),
    ],
)
def test_broken_metadata_is_named(synthetic, tmp_path, change, said):
    synthetic.write("record3d", tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(DataError, match=said):
        load_scene(tmp_path)
