import json

import pytest

from onefield.data.formats import load_scene
from onefield.errors import DataError


def test_cameras_see_the_truth(synthetic, tmp_path):
    truth = synthetic.write("replica", tmp_path, focal=(9.0, 10.0), center=(4.2, 2.9))
    scene = load_scene(tmp_path)
    assert (scene.format, scene.warnings) == ("replica", ())
    synthetic.assert_seen(scene, truth)
    assert scene.depths.unit == pytest.approx(scene.transform.scale / 6553.5)


def test_one_camera_file_above_all_scenes(synthetic, tmp_path):
    (tmp_path / "room0").mkdir()
    truth = synthetic.write("replica", tmp_path / "room0")
    (tmp_path / "room0" / "cam_params.json").rename(tmp_path / "cam_params.json")
    synthetic.assert_seen(load_scene(tmp_path / "room0"), truth)
    (tmp_path / "cam_params.json").unlink()
    with pytest.raises(DataError, match=r"lacks cam_params\.json"):
        load_scene(tmp_path / "room0")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], "4 poses but .* 5 images"),
        (lambda rows: [row.rsplit(" ", 1)[0] for row in rows], "15 numbers a line"),
        (lambda rows: [*rows[:-1], rows[-1][:40]], r"traj\.txt, line 5 has \d+ numbers"),
        (lambda rows: [rows[0].replace("0.0", "nan"), *rows[1:]], "NaN or infinity"),
        (lambda rows: ["3.0 " + rows[0].split(" ", 1)[1], *rows[1:]], "'frame000000.png' is no rotation"),
        (lambda rows: [], "holds no numbers"),
    ],
)
def test_broken_trajectories_are_named(synthetic, tmp_path, change, said):
    synthetic.write("replica", tmp_path)
    file = tmp_path / "traj.txt"
    file.write_text("\n".join(change(file.read_text().splitlines())))
    with pytest.raises(DataError, match=said):
        load_scene(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": 0}, "'scale' is 0"),
        ({"fx": None}, "lacks 'fx'"),
        ({"w": 80}, "another shape"),
        ({"h": 0}, "'h' is 0"),
    ],
)
def test_broken_camera_files_are_named(synthetic, tmp_path, changes, said):
    synthetic.write("replica", tmp_path)
    file = tmp_path / "cam_params.json"
    file.write_text(json.dumps({"camera": json.loads(file.read_text())["camera"] | changes}))
    with pytest.raises(DataError, match=said):
        load_scene(tmp_path)
    file.write_text("{}")
    with pytest.raises(DataError, match="'camera' must be an object"):
        load_scene(tmp_path)
