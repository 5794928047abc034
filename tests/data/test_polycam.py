import json

import numpy as np
import pytest

from onefield.data.formats import load_scene
from onefield.errors import DataError


def files_of(folder, kind="corrected_cameras"):
    return sorted((folder / "keyframes" / kind).iterdir())


def rewrite(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_optimised_cameras_see_the_truth(synthetic, tmp_path):
    truth = synthetic.write("polycam", tmp_path, focal=(9.0, 10.0), center=(4.2, 2.9))
    scene = load_scene(tmp_path)
    assert (scene.format, scene.warnings) == ("polycam", ())
    synthetic.assert_seen(scene, truth)
    assert len(load_scene(tmp_path / "keyframes")) == 5


def test_depth_is_in_millimetres(synthetic, tmp_path):
    synthetic.write("polycam", tmp_path)
    scene = load_scene(tmp_path)
    assert scene.depths.count == 5
    assert scene.depths.unit == pytest.approx(1e-3 * scene.transform.scale)


def test_the_phones_own_cameras_where_nothing_was_optimised(synthetic, tmp_path):
    truth = synthetic.write("polycam", tmp_path)
    for file in files_of(tmp_path):
        file.unlink()
    shift = np.zeros((3, 4))
    shift[0, 3] = 0.3
    scene = load_scene(tmp_path)
    poses = scene.transform.invert_poses(scene.cameras.camera_to_world)
    assert np.abs(poses.numpy() - truth.poses - shift).max() < 1e-12


def test_images_without_camera_file_are_counted(synthetic, tmp_path):
    synthetic.write("polycam", tmp_path)
    files_of(tmp_path)[2].unlink()
    scene = load_scene(tmp_path)
    assert len(scene) == 4
    assert "1 images" in scene.warnings[0]
    assert "no camera file" in scene.warnings[0]


def test_missing_images_are_counted(synthetic, tmp_path):
    synthetic.write("polycam", tmp_path)
    files_of(tmp_path, "corrected_images")[2].unlink()
    scene = load_scene(tmp_path)
    assert len(scene) == 4
    assert "1 of 5 images are missing" in scene.warnings[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"t_12": None}, "lacks 't_12'"),
        ({"t_12": "a"}, "'t_12' must be a number"),
        ({"t_00": float("nan")}, "'t_00' is nan"),
        ({"t_00": 3.0, "t_11": 3.0}, "no rotation"),
        ({"width": 0}, "'width' is 0"),
        ({"width": 80, "height": 6}, "80 x 6, another shape"),
        ({"fx": -1.0}, "focal length"),
    ],
)
def test_broken_camera_files_are_named(synthetic, tmp_path, changes, said):
    synthetic.write("polycam", tmp_path)
    rewrite(files_of(tmp_path)[1], **changes)
    with pytest.raises(DataError, match=said) as caught:
        load_scene(tmp_path)
    assert "17001" in str(caught.value)


def test_a_truncated_camera_file(synthetic, tmp_path):
    synthetic.write("polycam", tmp_path)
    file = files_of(tmp_path)[1]
    file.write_text(file.read_text()[:50])
    with pytest.raises(DataError, match=r"17001\.json is broken JSON"):
        load_scene(tmp_path)
