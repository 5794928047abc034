"""Pictures as batches: every pixel with its own colour, every view in turn, windows, masks, and exact resuming."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onefield.cameras import Picture
from onefield.data.formats import load_scene
from onefield.data.picture_batches import PictureBatches
from onefield.errors import DataError, UsageError
from tests.data.test_batches import pixels_of

ALL = 10_000


@pytest.mark.parametrize("budget", [1 << 20, 300])
@pytest.mark.parametrize("count", [ALL, 14])
def test_every_ray_of_a_picture_has_its_pixels_colour(synthetic, tmp_path, budget, count):
    synthetic.write("ngp", tmp_path)
    scene = load_scene(tmp_path, byte_budget=budget)
    batches, views = PictureBatches(scene, scene.train_indices, seed=3), []
    for _ in range(len(scene.train_indices)):
        batch = batches.next(count)
        assert isinstance(batch.rays, Picture)
        assert len(batch.rays) <= count
        assert batch.counted is None
        pixels = pixels_of(scene, batch.rays)
        column, row = pixels.floor().unbind(-1)
        expected = torch.stack([30 * column, 40 * row, 20.0 * batch.rays.camera_indices], dim=-1) / 255
        torch.testing.assert_close(batch.colors, expected.float())
        (view,) = set(batch.rays.camera_indices.tolist())
        views.append(view)
        # the camera that comes along is that of the window
        again, _ = batch.rays.camera.project(torch.tensor([0]), batch.rays.origins + batch.rays.directions)
        height, width = batch.rays.shape
        assert float(again.min()) == pytest.approx(0.5, abs=1e-3)
        assert again.amax(0).tolist() == pytest.approx([width - 0.5, height - 0.5], abs=1e-3)
    assert sorted(views) == sorted(scene.train_indices.tolist())


def test_views_come_in_another_order_each_time_and_windows_move(synthetic, tmp_path):
    synthetic.write("ngp", tmp_path)
    scene = load_scene(tmp_path)
    batches = PictureBatches(scene, scene.train_indices, seed=1)
    passes = [[int(batches.next(12).rays.camera_indices[0]) for _ in scene.train_indices] for _ in range(8)]
    assert len({tuple(views) for views in passes}) > 1
    centres = {tuple(batches.next(12).rays.camera.center[0].tolist()) for _ in range(30)}
    assert len(centres) > 5


def test_the_sequence_resumes_exactly(synthetic, tmp_path):
    synthetic.write("ngp", tmp_path)
    scene = load_scene(tmp_path)
    unbroken = PictureBatches(scene, scene.train_indices, seed=8)
    for _ in range(7):
        unbroken.next(20)
    resumed = PictureBatches(scene, scene.train_indices, seed=1)
    resumed.load_state(unbroken.state())
    for _ in range(6):
        one, other = unbroken.next(20), resumed.next(20)
        assert torch.equal(one.rays.directions, other.rays.directions)
        assert torch.equal(one.colors, other.colors)
    with pytest.raises(DataError, match="'seed' and 'step'"):
        resumed.load_state({})


def test_without_views_or_depth_it_says_so(synthetic, tmp_path):
    synthetic.write("ngp", tmp_path)
    scene = load_scene(tmp_path)
    with pytest.raises(UsageError, match="no views"):
        PictureBatches(scene, [])
    with pytest.raises(UsageError, match="no depth"):
        PictureBatches(scene, scene.train_indices, distances=True)


def test_masked_pixels_are_named(synthetic, tmp_path):
    synthetic.write("ngp", tmp_path)
    scene = load_scene(tmp_path)

    class Masks:
        def mask(self, view):
            masked = torch.ones(6, 8, dtype=torch.bool)
            masked[:, :3] = False
            return masked

    object.__setattr__(scene, "masks", Masks())
    batch = PictureBatches(scene, scene.train_indices).next(ALL)
    columns = np.asarray(pixels_of(scene, batch.rays)[:, 0].floor())
    assert torch.equal(batch.counted, torch.from_numpy(columns >= 3))
