from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.formats import load_scene
from onefield.errors import DataError

BROWN = (0.05, -0.02, 0.003, -0.004, 0.01, 0.0, 0.0, 0.0)


def change(folder, old, new):
    file = folder / "cameras.csv"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def set_cell(folder, line, column, value):
    file = folder / "cameras.csv"
    rows = [row.split(",") for row in file.read_text().splitlines()]
    rows[line][column] = value
    file.write_text("\n".join(",".join(row) for row in rows) + "\n")


def test_cameras_see_the_truth(synthetic, tmp_path):
    truth = replace(
        synthetic.truth, points=synthetic.truth.wide_points, center=(4.2, 2.9), distortion=BROWN, radial8=0.2
    )
    synthetic.write("realityscan", tmp_path, **vars(truth))
    for path in (tmp_path, tmp_path / "cameras.csv"):
        scene = load_scene(path)
        assert (scene.format, scene.warnings) == ("realityscan", ())
        synthetic.assert_seen(scene, truth)


def test_angles_follow_the_published_matrix(synthetic, tmp_path):
    """World to camera for yaw, pitch and roll, entry by entry as the makers of RealityCapture give it."""
    synthetic.write("realityscan", tmp_path)
    angles = np.random.default_rng(3).uniform([-180, -90, -180], [360, 90, 180], (5, 3))
    for line, row in enumerate(angles, start=1):
        for column, angle in enumerate(row, start=4):
            set_cell(tmp_path, line, column, repr(float(angle)))
    scene = load_scene(tmp_path)
    poses = scene.transform.invert_poses(scene.cameras.camera_to_world).numpy()
    for pose, (yaw, pitch, roll) in zip(poses, np.radians(angles), strict=True):
        cx, cy, cz = np.cos([roll, pitch, yaw])
        sx, sy, sz = np.sin([roll, pitch, yaw])
        expected = [
            [cx * cz + sx * sy * sz, -cx * sz + cz * sx * sy, -cy * sx],
            [-cy * sz, -cy * cz, -sy],
            [cx * sy * sz - cz * sx, cx * cz * sy + sx * sz, -cx * cy],
        ]
        assert np.abs(pose[:, :3].T - expected).max() < 1e-12


def test_looking_straight_down_and_level_to_the_east(synthetic, tmp_path):
    synthetic.write("realityscan", tmp_path)
    for column, (down, east) in enumerate(zip("000", ("90", "90", "0"), strict=True), start=4):
        set_cell(tmp_path, 1, column, down)
        set_cell(tmp_path, 2, column, east)
    scene = load_scene(tmp_path)
    poses = scene.transform.invert_poses(scene.cameras.camera_to_world)
    axes = torch.tensor([[[1, 0, 0], [0, -1, 0], [0, 0, -1]], [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]]).double()
    torch.testing.assert_close(poses[:2, :, :3], axes, atol=1e-12, rtol=0)


def test_newer_column_names_a_count_before_them_and_fewer_columns(synthetic, tmp_path):
    truth = synthetic.write("realityscan", tmp_path)
    change(tmp_path, "heading", "yaw")
    change(tmp_path, ",f,px,py", ",f_35mm,px_norm,py_norm")
    change(tmp_path, "#name", "#cameras 5\n#name")
    synthetic.assert_seen(load_scene(tmp_path), truth)
    rows = (tmp_path / "cameras.csv").read_text().splitlines()[1:]
    (tmp_path / "cameras.csv").write_text("\n".join(",".join(row.split(",")[:8]) for row in rows))
    synthetic.assert_seen(load_scene(tmp_path), truth)


def test_portraits_and_landscapes_share_one_frame_width(synthetic, tmp_path):
    synthetic.write("realityscan", tmp_path)
    Image.new("RGB", (6, 8)).save(tmp_path / "images" / "IMG 1.png")
    scene = load_scene(tmp_path)
    assert scene.cameras.focal[1].tolist() == pytest.approx([9.0, 9.0])
    assert scene.cameras.center[1].tolist() == pytest.approx([3.0, 4.0])


def test_missing_images_are_counted(synthetic, tmp_path):
    synthetic.write("realityscan", tmp_path)
    (tmp_path / "images" / "IMG 3.png").unlink()
    scene = load_scene(tmp_path)
    assert len(scene) == 4
    assert "1 of 5 images are missing" in scene.warnings[0]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (0, "", "line 3 names no image"),
        (0, "../../outside.png", "images are missing"),
        (4, "north", "line 3: 'heading' is 'north'"),
        (7, "nan", "line 3: 'f' is 'nan'"),
        (7, "-10", "focal length"),
        (10, "inf", "line 3: 'k1' is 'inf'"),
        (13, "1e9", "no lens has that"),
        (15, "1,2", "line 3 has 17 columns rather than 16"),
    ],
)
def test_broken_tables_are_named(synthetic, tmp_path, column, value, said):
    synthetic.write("realityscan", tmp_path)
    set_cell(tmp_path, 2, column, value)
    if said == "images are missing":
        assert said in load_scene(tmp_path).warnings[0]
        return
    with pytest.raises(DataError, match=said):
        load_scene(tmp_path)


def test_a_table_cut_short(synthetic, tmp_path):
    synthetic.write("realityscan", tmp_path)
    file = tmp_path / "cameras.csv"
    file.write_text(file.read_text()[:-60])
    with pytest.raises(DataError, match=r"cameras\.csv, line 6 has \d+ columns"):
        load_scene(tmp_path)
