import json

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


def test_an_unpacked_recording_and_a_packed_one(synthetic, tmp_path):
    truth = synthetic.write("record3d", tmp_path)
    (tmp_path / "rgb").rename(tmp_path / "rgbd")
    (tmp_path / "metadata.json").rename(tmp_path / "metadata")
    (tmp_path / "rgbd" / "0.depth").write_bytes(b"bvx2")
    scene = load_scene(tmp_path)
    synthetic.assert_seen(scene, truth)
    assert "not read" in scene.warnings[0]
    (tmp_path / "scan.r3d").write_bytes(b"PK")
    with pytest.raises(DataError, match="packed recording; unpack it"):
        load_scene(tmp_path / "scan.r3d")


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
