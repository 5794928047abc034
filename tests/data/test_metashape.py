from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.formats import load_scene
from onefield.errors import DataError

FRAME = (0.05, -0.02, 0.003, -0.004, 0.01, 0.0, 0.0, 0.0)
FISHEYE = (0.04, -0.01, 0.003, -0.002, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def wide(synthetic):
    """Everything that the format can state, at once."""
    truth = synthetic.truth
    return replace(
        truth, points=truth.wide_points, focal=(9.5, 9.0), center=(4.2, 2.9), distortion=FRAME, radial8=0.2, skew=0.3
    )


def change(folder, old, new, count=1):
    file = folder / "cameras.xml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, count))


@pytest.mark.parametrize("placed", ["component", "chunk"])
def test_frame_cameras_see_the_truth(synthetic, tmp_path, wide, placed):
    synthetic.metashape(wide, tmp_path, placed)
    for path in (tmp_path, tmp_path / "cameras.xml"):
        scene = load_scene(path)
        assert (scene.format, scene.warnings) == ("metashape", ())
        synthetic.assert_seen(scene, wide)


def test_rays_and_resizing_follow_skew_and_all_coefficients(synthetic, tmp_path, wide):
    synthetic.metashape(wide, tmp_path)
    cameras = load_scene(tmp_path).cameras
    for scaled in (cameras, cameras.resized(16, 18)):
        rays = scaled.image_rays(2)
        points = rays.origins.double() + 3.0 * rays.directions.double()
        pixels, _ = scaled.project(rays.camera_indices[:1], points)
        width, height = int(scaled.width[2]), int(scaled.height[2])
        y, x = np.mgrid[:height, :width] + 0.5
        assert np.abs(pixels.numpy() - np.stack([x, y], axis=-1).reshape(-1, 2)).max() < 1e-4
    point = load_scene(tmp_path).transform.apply(torch.from_numpy(wide.points))
    before, _ = cameras.project(rays.camera_indices[:1], point)
    after, _ = scaled.project(rays.camera_indices[:1], point)
    assert np.abs((after / before).numpy() - [2.0, 3.0]).max() < 1e-9


def test_fisheye_cameras_see_the_truth(synthetic, tmp_path, wide):
    truth = replace(wide, distortion=FISHEYE, radial8=0.0, fisheye=True)
    synthetic.metashape(truth, tmp_path)
    synthetic.assert_seen(load_scene(tmp_path), truth)
    change(tmp_path, "</k4></calibration>", "</k4><p1>0.001</p1></calibration>")
    assert "tangential" in load_scene(tmp_path).warnings[0]


def test_world_coordinates_keep_their_digits(synthetic, tmp_path):
    truth = synthetic.make_truth((448_262.5, 5_411_932.25, 310.0))
    synthetic.metashape(truth, tmp_path)
    scene = load_scene(tmp_path)
    synthetic.assert_seen(scene, truth)
    poses = scene.transform.invert_poses(scene.cameras.camera_to_world)
    assert np.abs(poses.numpy() - truth.poses).max() < 1e-7


def test_cameras_without_pose_are_counted(synthetic, tmp_path):
    synthetic.write("metashape", tmp_path)
    change(tmp_path, 'label="DSC0001"', 'label="DSC0001" enabled="false"')
    change(tmp_path, "</group>", '<camera id="9" sensor_id="3" label="DSC0009"/></group>')
    scene = load_scene(tmp_path)
    assert len(scene) == 4
    assert scene.warnings == ("2 of 6 cameras are not aligned or switched off and were left out.",)


def test_components_without_a_common_world(synthetic, tmp_path):
    synthetic.metashape(synthetic.truth, tmp_path, "nowhere")
    change(tmp_path, 'component_id="0"', 'component_id="1"')
    scene = load_scene(tmp_path)
    assert len(scene) == 4
    assert "2 components" in scene.warnings[0]
    assert "4 of 5 cameras" in scene.warnings[0]


def test_labels_with_suffix_and_two_images_of_one_name(synthetic, tmp_path):
    synthetic.write("metashape", tmp_path)
    change(tmp_path, 'label="DSC0001"', 'label="DSC0001.png"')
    change(tmp_path, 'label="DSC0002"', 'label="dsc0002.TIF"')
    assert len(load_scene(tmp_path)) == 5
    (tmp_path / "images" / "more").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "more" / "DSC0003.png")
    with pytest.raises(DataError, match=r"'DSC0003', which .* both could be"):
        load_scene(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<f>9.0</f>", "", "calibration lacks 'f'"),
        ("<f>9.0</f>", "<f>wide</f>", "'f' must hold 1 finite numbers, got 'wide'"),
        ("<f>9.0</f>", "<f>nan</f>", "'f' must hold 1 finite numbers"),
        ("<f>9.0</f>", "<f>-9.0</f>", "focal length"),
        ("<f>9.0</f>", "<f>9.0</f><p3>1e-4</p3>", "'p3' and 'p4'"),
        ('type="frame"', 'type="spherical"', "type 'spherical'"),
        ("<scale>2.5</scale>", "<scale>0</scale>", "'scale' is 0.0"),
        ('sensor_id="3"', 'sensor_id="7"', "sensor that the file lacks"),
        ('width="8"', 'width="80"', "another shape"),
        ('width="8"', 'width="wide"', "'resolution'"),
        ("<transform>", "<transform>1 ", "'transform' must hold 16 finite numbers"),
        ("<chunk", "<Chunk", "no camera poses"),
        ("</document>", "", "broken XML at line"),
        ("<document", "<!DOCTYPE x []><document", "document type"),
        ('rotation locked="false">', 'rotation locked="false">5 ', "'rotation' must hold 9"),
    ],
)
def test_broken_documents_are_named(synthetic, tmp_path, old, new, said):
    synthetic.write("metashape", tmp_path)
    every = -1 if old.startswith(("type", "width")) else 1
    if old == "<transform>":
        old, new = 'label="DSC0001"><transform>', 'label="DSC0001"><transform>1 '
    change(tmp_path, old, new, every)
    with pytest.raises(DataError, match=said):
        load_scene(tmp_path)


def test_a_matrix_that_is_no_rotation(synthetic, tmp_path):
    synthetic.write("metashape", tmp_path)
    text = (tmp_path / "cameras.xml").read_text()
    begin = text.index('label="DSC0002"><transform>') + len('label="DSC0002"><transform>')
    numbers = text[begin : text.index("</transform>", begin)]
    first = numbers.split()[0]
    (tmp_path / "cameras.xml").write_text(text[:begin] + "2.0" + text[begin + len(first) :])
    with pytest.raises(DataError, match="'DSC0002' is no rotation"):
        load_scene(tmp_path)
