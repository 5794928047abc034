"""Normal maps: a ball's in the right frame, by closed form, and files that can't be believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.cameras import Cameras
from onefield.data.batches import RayBatches
from onefield.data.formats import load_scene
from onefield.data.image_store import NormalStore
from onefield.data.inspect import inspect_dataset
from onefield.data.normal_files import read_normals
from onefield.errors import DataError, UsageError

TO_MAP = np.diag([1.0, -1.0, -1.0])  # the camera's axes (y down, z forward) to the map's (y up, z to the camera)


def turned_camera() -> Cameras:
    """From (3, 2, 1) at the origin, tilted; 24 x 18 pixels."""
    eye = np.array([3.0, 2.0, 1.0])
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.3, 0.2, 1.0])
    right /= np.linalg.norm(right)
    pose = np.column_stack([right, np.cross(forward, right), forward, eye])
    return Cameras.pinhole(torch.from_numpy(pose)[None], 40.0, (12.0, 9.0), 24, 18)


def ball_normals(cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """World normals of the unit ball as the view shows it, and the same in the axes of maps; NaN beside the ball."""
    rays = cameras.image_rays(0)
    origins, directions = rays.origins.double().numpy(), rays.directions.double().numpy()
    half = -(origins * directions).sum(-1)
    under = half**2 - (origins**2).sum(-1) + 1
    reach = half - np.sqrt(np.where(under > 0, under, np.nan))
    normals = (origins + reach[:, None] * directions).reshape(18, 24, 3)
    return normals, normals @ cameras.camera_to_world[0, :, :3].numpy() @ TO_MAP


def test_a_balls_normals_come_back_in_the_world(tmp_path: Path) -> None:
    cameras = turned_camera()
    truth, local = ball_normals(cameras)
    np.save(tmp_path / "exact.npy", local)
    found = NormalStore(cameras, [tmp_path / "exact.npy"]).normals(0)
    np.testing.assert_allclose(found, truth, atol=1e-5)
    # what faces the camera is light blue in a picture, and what is unknown grey
    colors = np.nan_to_num((local + 1) * 127.5, nan=127.5).round().astype(np.uint8)
    assert colors[9, 12, 2] > 250
    Image.fromarray(colors).resize((72, 54), Image.Resampling.NEAREST).save(tmp_path / "rounded.png")
    np.testing.assert_allclose(NormalStore(cameras, [tmp_path / "rounded.png"]).normals(0), truth, atol=0.01)
    two = NormalStore(Cameras.concatenate([cameras, cameras]), [None, tmp_path / "exact.npy"])
    assert (two.count, two.normals(0)) == (1, None)
    flat = two.gather_flat([0, 1])
    assert torch.isnan(flat[: 24 * 18]).all()
    assert torch.equal(flat[24 * 18 :].isnan(), found.reshape(-1, 3).isnan())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda local: local @ TO_MAP, r"100 % of the normals look away from the camera; .* negate y and z"),
        (lambda local: 255 * local, r"vectors of usual length 255; write unit vectors"),
        (lambda local: local.transpose(2, 0, 1), r"has shape \(3, 18, 24\) of float64; write .* height x width x 3"),
        (lambda local: np.nan_to_num(local).astype(np.int32), r"of int32; write .* floating-point"),
        (lambda local: local[:, :12], r"12 x 18 pixels, but its picture is 24 x 18"),
        (lambda local: np.full_like(local, np.nan), r"vectors that are not finite"),
    ],
)
def test_maps_that_cannot_be_believed_are_named(tmp_path: Path, change, words: str) -> None:
    cameras = turned_camera()
    np.save(tmp_path / "bad.npy", change(ball_normals(cameras)[1]))
    with pytest.raises(DataError, match=r"bad\.npy.*" + words):
        NormalStore(cameras, [tmp_path / "bad.npy"]).normals(0)


def test_a_picture_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"cut\.png"):
        read_normals(tmp_path / "cut.png")


def test_batches_bring_the_normals_of_their_own_pixels(synthetic, tmp_path: Path) -> None:
    record = synthetic.ngp(synthetic.truth, tmp_path)
    facing = np.zeros((6, 8, 3), dtype=np.float32)
    facing[..., 2] = 1
    facing[:3] = [0.0, 0.6, 0.8]
    np.save(tmp_path / "facing.npy", facing)
    for index in range(4):
        record["frames"][index]["normal_file_path"] = "facing.npy"
    (tmp_path / "transforms.json").write_text(json.dumps(record))
    scene = load_scene(tmp_path)
    assert scene.normals.count == 4
    assert "4 of 5 views have a normal map." in scene.warnings
    assert inspect_dataset(tmp_path).normals == 4
    batch = RayBatches(scene, range(5), normals=True).next(200)
    points = batch.rays.origins.double() + batch.rays.directions.double()
    row = scene.cameras.project(batch.rays.camera_indices, points)[0][:, 1].floor()
    upper = (row < 3)[:, None]
    axes = scene.cameras.camera_to_world[batch.rays.camera_indices]
    expected = torch.where(upper, -0.8 * axes[:, :, 2] - 0.6 * axes[:, :, 1], -axes[:, :, 2])
    has_map = batch.rays.camera_indices < 4
    torch.testing.assert_close(batch.normals[has_map], expected[has_map].float())
    assert torch.isnan(batch.normals[~has_map]).all()
    assert RayBatches(scene, scene.train_indices).next(5).normals is None


def test_normals_are_not_to_be_had_without_maps(synthetic, tmp_path: Path) -> None:
    synthetic.write("ngp", tmp_path)
    with pytest.raises(UsageError, match="no normal maps to learn from"):
        RayBatches(load_scene(tmp_path), [0], normals=True)
