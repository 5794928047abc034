"""Depth maps: what their numbers mean, by closed form."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.cameras import Cameras
from onefield.data.batches import RayBatches
from onefield.data.formats import load_scene
from onefield.data.image_store import DepthStore
from onefield.errors import DataError, UsageError


def looking_along_z() -> Cameras:
    """Focal length 2 on a picture of 4 x 2 pixels."""
    return Cameras.pinhole(torch.eye(3, 4, dtype=torch.float64)[None], 2.0, (2.0, 1.0), 4, 2)


def test_depth_along_the_axis_becomes_distance_along_the_ray(tmp_path: Path) -> None:
    np.save(tmp_path / "wall.npy", np.full((2, 4), 1500.0))
    found = DepthStore(looking_along_z(), [tmp_path / "wall.npy"], 1e-3).distances(0)
    # a wall at z = 1.5: the pixel at (x, y) sees it at 1.5 |(x - 2, y - 1, 2)| / 2
    truth = [[1.5 * math.sqrt((x - 1.5) ** 2 + 0.5**2 + 4) / 2 for x in range(4)] for _ in range(2)]
    torch.testing.assert_close(found, torch.tensor(truth))
    along = DepthStore(looking_along_z(), [tmp_path / "wall.npy"], 1e-3, along_rays=True).distances(0)
    torch.testing.assert_close(along, torch.full((2, 4), 1.5))


def test_what_was_not_measured_is_unknown(tmp_path: Path) -> None:
    np.save(tmp_path / "holes.npy", np.array([[0.0, np.nan, np.inf, -1.0], [1.0, 1.0, 1.0, 1.0]]))
    store = DepthStore(looking_along_z(), [tmp_path / "holes.npy"], 1.0)
    assert torch.isnan(store.distances(0)).tolist() == [[True] * 4, [False] * 4]
    two = Cameras.concatenate([looking_along_z(), looking_along_z()])
    flat = DepthStore(two, [None, tmp_path / "holes.npy"], 1.0).gather_flat([1, 0])
    assert torch.isnan(flat).tolist() == [True] * 4 + [False] * 4 + [True] * 8


def test_a_map_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "turned.npy", np.ones((8, 4)))
    with pytest.raises(DataError, match=r"turned\.npy is 4 x 8 pixels, but its picture is 4 x 2"):
        DepthStore(looking_along_z(), [tmp_path / "turned.npy"], 1.0).distances(0)


def test_batches_bring_the_distances_of_their_own_pixels(synthetic, tmp_path: Path) -> None:
    record = synthetic.ngp(synthetic.truth, tmp_path)
    numbers = np.arange(1, 49, dtype=np.uint16).reshape(6, 8)
    Image.fromarray(numbers).save(tmp_path / "depth.png")
    for index in range(5):
        record["frames"][index]["depth_path"] = "depth.png"
    (tmp_path / "transforms.json").write_text(json.dumps(record))
    scene = load_scene(tmp_path, depth_unit=0.1, depth_kind="ray")
    batch = RayBatches(scene, scene.train_indices, distances=True).next(50)
    points = batch.rays.origins.double() + batch.rays.directions.double()
    column, row = scene.cameras.project(batch.rays.camera_indices, points)[0].floor().unbind(-1)
    expected = 0.1 * (8 * row + column + 1) * scene.transform.scale
    torch.testing.assert_close(batch.distances, expected.float(), rtol=1e-5, atol=0)
    assert RayBatches(scene, scene.train_indices).next(5).distances is None
    # the file can say so itself
    (tmp_path / "transforms.json").write_text(json.dumps(record | {"depth_along_rays": True}))
    stated = load_scene(tmp_path, depth_unit=0.1)
    assert torch.equal(stated.depths.distances(0), scene.depths.distances(0))
    for wrong in ({"depth_unit": 0.0}, {"depth_unit": math.nan}, {"depth_kind": "y"}):
        with pytest.raises(UsageError, match="depth"):
            load_scene(tmp_path, **wrong)


def test_distances_are_not_to_be_had_without_maps(synthetic, tmp_path: Path) -> None:
    synthetic.write("ngp", tmp_path)
    with pytest.raises(UsageError, match="no depth to learn from"):
        RayBatches(load_scene(tmp_path), [0], distances=True)
