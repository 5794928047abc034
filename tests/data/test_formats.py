import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.formats import SCENE_FORMATS, load_scene
from onefield.errors import DataError, UsageError

BROWN = (0.05, -0.02, 0.003, -0.004, 0.0, 0.0, 0.0, 0.0)
RATIONAL = (0.05, -0.02, 0.003, -0.004, 0.01, 0.02, -0.01, 0.005)
FISHEYE = (0.04, -0.01, 0.003, -0.002, 0.0, 0.0, 0.0, 0.0)


def assert_sees_the_truth(scene, truth, cameras_of_views):
    """Points projected through the loaded cameras fall where the definitions put them, to 1e-4 pixels."""
    points = scene.transform.apply(torch.from_numpy(truth.points))
    for view, camera in enumerate(cameras_of_views):
        pixels, _ = scene.cameras.project(torch.tensor(view), points)
        assert np.abs(pixels.numpy() - truth.project(camera, truth.points)).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ngp", {"focal": (9.0, 10.0), "center": (4.2, 2.9), "distortion": BROWN}),
        ("nerfstudio", {"focal": (9.0, 10.0), "center": (4.2, 2.9), "distortion": FISHEYE, "fisheye": True}),
        ("blender", {}),
        ("colmap_binary", {"focal": (9.0, 10.0), "center": (4.2, 2.9), "distortion": BROWN}),
        ("colmap_text", {"focal": (9.0, 10.0), "center": (4.2, 2.9), "distortion": BROWN}),
        ("llff", {}),
        ("dtu", {"focal": (9.0, 10.0), "center": (4.2, 2.9)}),
    ],
)
def test_every_format_sees_the_same_points_at_the_same_pixels(synthetic, tmp_path, name, changes):
    truth = synthetic.write(name, tmp_path, **changes)
    scene = load_scene(tmp_path)
    assert len(scene) == 5
    assert_sees_the_truth(scene, truth, range(5))
    # Views carry their own pictures: the blue channel says which camera took each.
    colors = scene.images.colors(torch.arange(5), torch.full((5,), 3), torch.full((5,), 2))
    expected = torch.tensor([[90, 80, 20 * camera] for camera in range(5)]) / 255
    torch.testing.assert_close(colors[:, :3], expected)


@pytest.mark.parametrize("text", [False, True])
def test_colmap_camera_models(synthetic, tmp_path, colmap_model, text):
    used = {
        "SIMPLE_RADIAL": 1, "RADIAL": 2, "OPENCV": 4, "FULL_OPENCV": 8, "OPENCV_FISHEYE": 4,
        "SIMPLE_RADIAL_FISHEYE": 1, "RADIAL_FISHEYE": 2,
    }.get(colmap_model, 0)  # fmt: skip
    fisheye = colmap_model.endswith("FISHEYE")
    coefficients = (FISHEYE if fisheye else RATIONAL)[:used]
    single = colmap_model not in ("PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV")
    truth = replace(
        synthetic.truth,
        focal=(9.0, 9.0 if single else 10.0),
        center=(4.2, 2.9),
        distortion=coefficients + (0.0,) * (8 - used),
        fisheye=fisheye,
    )
    synthetic.colmap(truth, tmp_path, colmap_model, text)
    scene = load_scene(tmp_path)
    assert bool(scene.cameras.fisheye.all()) is fisheye
    assert_sees_the_truth(scene, truth, range(5))


def test_the_region_of_interest_holds_what_all_cameras_look_at(synthetic, tmp_path, format_name):
    truth = synthetic.write(format_name, tmp_path)
    scene = load_scene(tmp_path)
    points = scene.transform.apply(torch.from_numpy(truth.points))
    assert points.abs().max() < 1.0
    assert points.abs().max() > 0.15
    up = -scene.cameras.camera_to_world[:, :, 1].mean(dim=0)
    assert up[2] > 0.7
    assert scene.extent_scale in (1.0, 2.0, 4.0, 8.0)
    assert scene.bounded or scene.extent_scale >= scene.cameras.positions.abs().median()


def test_exporting_undoes_the_normalisation_in_national_grid_coordinates(synthetic, tmp_path):
    truth = synthetic.make_truth((448_262.5, 5_411_932.25, 310.0))
    synthetic.colmap(truth, tmp_path)
    scene = load_scene(tmp_path)
    assert scene.points.points.abs().max() < 1.5
    assert_sees_the_truth(scene, truth, range(5))
    # Normalised points lose digits as float32 (1e-7 of their own size), never those of the grid.
    back = scene.transform.invert(scene.points.points)
    assert np.abs(back.numpy() - truth.points).max() < 1e-6
    cameras = scene.transform.invert_cameras(scene.cameras)
    assert np.abs(cameras.camera_to_world.numpy() - truth.poses).max() < 1e-7


def test_ngp_maps_by_its_own_convention(synthetic, tmp_path):
    synthetic.ngp(synthetic.truth, tmp_path, aabb_scale=4)
    scene = load_scene(tmp_path)
    point = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64)
    # Unit cube 0.33 x + 0.5, stretched to [-1, 1].
    torch.testing.assert_close(scene.transform.apply(point), 2 * (0.33 * point + 0.5) - 1)
    assert (scene.extent_scale, scene.bounded) == (4.0, False)
    synthetic.ngp(synthetic.truth, tmp_path, aabb_scale=1, scale=0.5, offset=[0.1, 0.2, 0.3])
    scene = load_scene(tmp_path)
    torch.testing.assert_close(
        scene.transform.apply(point), 2 * (0.5 * point + torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)) - 1
    )
    assert (scene.extent_scale, scene.bounded) == (1.0, True)


def test_blender_keeps_its_splits_and_alpha(synthetic, tmp_path):
    synthetic.write("blender", tmp_path)
    scene = load_scene(tmp_path)
    assert scene.train_indices.tolist() == [0, 1, 2]
    assert scene.test_indices.tolist() == [3, 4]
    assert scene.alpha
    assert scene.bounded
    assert scene.background == "white"
    torch.testing.assert_close(scene.images.image(0)[..., 3], torch.full((6, 8), 200 / 255))
    assert scene.transform.scale == pytest.approx(1 / 1.5)


def test_blender_of_another_scale_is_placed_by_its_cameras(synthetic, tmp_path):
    truth = synthetic.make_truth()
    truth = replace(truth, poses=truth.poses * [1, 1, 1, 50], points=truth.points * 50)
    synthetic.write("blender", tmp_path, poses=truth.poses, points=truth.points)
    scene = load_scene(tmp_path)
    assert_sees_the_truth(scene, truth, range(5))
    reach = scene.transform.apply(torch.from_numpy(truth.points)).abs().max()
    assert 0.2 < reach < 1.0


def test_blender_files_with_intrinsics_of_a_real_camera(synthetic, tmp_path):
    truth = synthetic.write("blender", tmp_path, focal=(9.0, 10.0), center=(4.2, 2.9), distortion=BROWN)
    for split in ("train", "test"):
        file = tmp_path / f"transforms_{split}.json"
        record = json.loads(file.read_text())
        del record["camera_angle_x"]
        k1, k2, p1, p2 = BROWN[:4]
        record |= {"fl_x": 9.0, "fl_y": 10.0, "cx": 4.2, "cy": 2.9, "k1": k1, "k2": k2, "p1": p1, "p2": p2}
        file.write_text(json.dumps(record))
    assert_sees_the_truth(load_scene(tmp_path), truth, range(5))


def test_llff_states_depth_limits_along_each_ray(synthetic, tmp_path):
    synthetic.write("llff", tmp_path)
    scene = load_scene(tmp_path)
    rays = scene.image_rays(2)
    depth = (rays.directions.double() @ scene.cameras.forwards[2]) * rays.far.double()
    torch.testing.assert_close(depth / scene.transform.scale, torch.full((48,), 9.0).double(), rtol=1e-5, atol=0)
    assert bool((rays.near < rays.far).all())


def test_dtu_masks_are_the_alpha_matched_by_number(synthetic, tmp_path):
    synthetic.write("dtu", tmp_path)
    scene = load_scene(tmp_path)
    assert scene.alpha
    assert scene.masks is None
    for view in range(5):
        covered = scene.images.image(view)[..., 3] > 0.5
        assert int(covered.sum()) == 6 * (view + 1)
    # The unit sphere of the format is the unit sphere of the scene.
    assert scene.transform.scale == pytest.approx(0.5)
    assert (scene.bounded, scene.extent_scale) == (True, 1.0)
    # Without the masks, what stands behind the object belongs to the scene.
    open_scene = load_scene(tmp_path, masks="none")
    assert open_scene.images.channels == 3
    assert not open_scene.bounded
    assert open_scene.extent_scale > 1.0
    assert load_scene(tmp_path, masks="ignore").masks.count == 5


def test_nerfstudio_masks_splits_and_depths(synthetic, tmp_path):
    record = synthetic.ngp(synthetic.truth, tmp_path, aabb_scale=4)
    del record["aabb_scale"]
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[2:, :] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(np.full((3, 4), 2500, dtype=np.uint16)).save(tmp_path / "depth.png")
    names = [frame["file_path"] for frame in record["frames"]]
    record["frames"][1] |= {"mask_path": "mask.png", "depth_file_path": "depth.png"}
    record |= {"train_filenames": names[1:], "val_filenames": names[:1], "test_filenames": []}
    (tmp_path / "transforms.json").write_text(json.dumps(record))
    scene = load_scene(tmp_path)
    assert scene.train_indices.tolist() == [1, 2, 3, 4]
    assert scene.test_indices.tolist() == [0]
    assert not scene.alpha
    assert scene.masks.count == 1
    assert scene.masks.mask(1).sum() == 32
    assert scene.masks.mask(0).all()
    # 2500 millimetres, in normalised units.
    ahead = scene.cameras.image_rays(1).directions.double() @ scene.cameras.forwards[1]
    along_axis = scene.depths.distances(1).double() * ahead.reshape(6, 8)
    torch.testing.assert_close(along_axis, torch.full((6, 8), 2.5 * scene.transform.scale).double(), rtol=1e-5, atol=0)
    assert scene.depths.distances(0) is None
    assert any("1 of 5 views have a mask" in warning for warning in scene.warnings)


def test_every_eighth_view_is_held_out_in_sorted_order(data_folder):
    scene = load_scene(data_folder / "fox")
    order = sorted(range(50), key=lambda index: scene.image_names[index])
    assert sorted(order[::8]) == scene.test_indices.tolist()
    assert sorted(set(range(50)) - set(order[::8])) == scene.train_indices.tolist()
    assert len(load_scene(data_folder / "fox", hold_out_every=0).test_indices) == 0


@pytest.mark.parametrize(
    ("format_written", "rule"),
    [("blender", "the data set's own test views"), ("ngp", "every 8th view by name, from the first on")],
)
def test_the_rule_that_held_views_out_is_told(synthetic, tmp_path, format_written, rule):
    synthetic.write(format_written, tmp_path)
    assert load_scene(tmp_path).split_rule == rule
    if format_written == "ngp":
        assert load_scene(tmp_path, hold_out_every=0).split_rule == "none"


def test_downscaled_pictures_are_area_averages_and_cameras_follow(synthetic, tmp_path):
    synthetic.ngp(synthetic.truth, tmp_path)
    full, half = load_scene(tmp_path), load_scene(tmp_path, downscale=2)
    assert half.cameras.width.tolist() == [4] * 5
    torch.testing.assert_close(half.cameras.focal, full.cameras.focal / 2)
    averaged = full.images.image(3).reshape(3, 2, 4, 2, 3).mean(dim=(1, 3))
    assert (half.images.image(3) - averaged).abs().max() <= 1 / 255
    with pytest.raises(UsageError, match=r"downscale 4 leaves too little of photos that are 6 pixels .*at most 3"):
        load_scene(tmp_path, downscale=4)


def test_the_largest_of_several_colmap_models_is_read(synthetic, tmp_path):
    synthetic.colmap(synthetic.truth, tmp_path)
    good = tmp_path / "sparse" / "0"
    small = tmp_path / "sparse" / "1"
    good.rename(small)
    good.mkdir()
    for name in ("cameras", "points3D"):
        (good / f"{name}.bin").write_bytes((small / f"{name}.bin").read_bytes())
    (good / "images.bin").write_bytes(b"\0" * 8)
    scene = load_scene(tmp_path)
    assert len(scene) == 5
    assert any("sparse/1" in warning for warning in scene.warnings)


def test_points_keep_their_colours(synthetic, tmp_path):
    for name in ("nerfstudio", "colmap_binary", "colmap_text"):
        synthetic.write(name, tmp_path / name)
        scene = load_scene(tmp_path / name)
        assert scene.points.points.shape == (60, 3)
        torch.testing.assert_close(scene.points.colors[7], torch.tensor([1.0, 0.0, 0.2]))


REAL = {
    "fox": ("transforms.json (instant-ngp)", 50),
    "nerf_synthetic/lego": ("blender", 300),
    "llff/fern": ("llff", 20),
    "dtu/scan65": ("dtu", 49),
    "colmap/monk": ("colmap", 23),
    "synthetic/spot_textured": ("transforms.json (instant-ngp)", 48),
}


@pytest.mark.parametrize("name", REAL)
def test_real_scenes(data_folder, name):
    scene = load_scene(data_folder / name)
    assert (scene.format, len(scene)) == REAL[name]
    # What is looked at lies in the region: the axes pass through it.
    to_origin = -scene.cameras.positions
    along = (to_origin * scene.cameras.forwards).sum(-1, keepdim=True)
    nearest = scene.cameras.positions + along * scene.cameras.forwards
    assert (nearest.abs().amax(dim=-1) < 1.0).double().mean() > 0.95
    if scene.points is not None:
        # Points of structure from motion fall into the pictures that saw them.
        pixels, depth = scene.cameras.project(torch.tensor(0), scene.points.points)
        assert ((pixels > 0) & (pixels < 1001)).all(-1).double().mean() > 0.8
        assert bool((depth > 0).all())


def test_missing_images_are_counted_in_one_line(data_folder):
    scene = load_scene(data_folder / "fox" / "transforms_with_missing.json")
    assert len(scene) == 50
    assert len(scene.warnings) == 1
    assert "17 of 67 images are missing" in scene.warnings[0]


def test_unknown_folders_are_told_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match="doesn't exist"):
        load_scene(tmp_path / "nowhere")
    with pytest.raises(DataError) as caught:
        load_scene(tmp_path)
    for form in SCENE_FORMATS:
        assert form.looked_for in str(caught.value)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"1 images but no camera poses.*COLMAP"):
        load_scene(tmp_path)
