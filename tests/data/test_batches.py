import json

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.batches import RayBatches
from onefield.data.formats import load_scene
from onefield.errors import DataError, UsageError


def pixels_of(scene, rays) -> torch.Tensor:
    """Column and row that each ray passes through."""
    points = rays.origins.double() + rays.directions.double()
    pixels, _ = scene.cameras.project(rays.camera_indices, points)
    return pixels


@pytest.mark.parametrize("budget", [1 << 20, 300])
def test_targets_are_the_pixels_that_the_rays_pass_through(synthetic, tmp_path, budget):
    synthetic.write("ngp", tmp_path, distortion=(0.05, -0.02, 0.003, -0.004, 0.0, 0.0, 0.0, 0.0))
    # The smaller budget holds two of the four training pictures.
    scene = load_scene(tmp_path, byte_budget=budget)
    batches = RayBatches(scene, scene.train_indices, seed=3)
    seen = set()
    for _ in range(600):
        batch = batches.next(16)
        rays, colors = batch.rays, batch.colors
        seen |= set(rays.camera_indices.tolist())
    assert seen == set(scene.train_indices.tolist())
    pixels = pixels_of(scene, rays)
    assert (pixels - pixels.floor() - 0.5).abs().max() < 1e-4
    column, row = pixels.floor().unbind(-1)
    expected = torch.stack([30 * column, 40 * row, 20.0 * rays.camera_indices], dim=-1) / 255
    torch.testing.assert_close(colors, expected.float())


def test_pixels_are_drawn_uniformly(synthetic, tmp_path):
    synthetic.write("ngp", tmp_path)
    scene = load_scene(tmp_path)
    rays = RayBatches(scene, scene.train_indices).next(48 * 4 * 200).rays
    column, row = pixels_of(scene, rays).floor().long().unbind(-1)
    counts = torch.bincount(rays.camera_indices * 48 + row * 8 + column, minlength=240)
    counts = counts.reshape(5, 48)[scene.train_indices].double()
    # Poisson with mean 200: chi-square of 192 cells has mean 191 and deviation 19.6.
    assert abs(float(((counts - 200) ** 2 / 200).sum()) - 191) < 5 * 19.6


@pytest.mark.parametrize("budget", [1 << 20, 300])
def test_the_sequence_resumes_exactly(synthetic, tmp_path, budget):
    synthetic.write("ngp", tmp_path)
    scene = load_scene(tmp_path, byte_budget=budget)
    unbroken = RayBatches(scene, scene.train_indices, seed=8)
    for _ in range(300):
        unbroken.next(5)
    state = {name: tensor.clone() for name, tensor in unbroken.state().items()}
    resumed = RayBatches(scene, scene.train_indices, seed=1)
    resumed.next(7)
    resumed.load_state(state)
    for _ in range(3):
        expected, again = unbroken.next(9), resumed.next(9)
        assert torch.equal(expected.rays.directions, again.rays.directions)
        assert torch.equal(expected.colors, again.colors)
    assert not torch.equal(unbroken.next(9).rays.directions, unbroken.next(9).rays.directions)
    other, this = (RayBatches(scene, scene.train_indices, seed=seed).next(9).rays for seed in (9, 8))
    assert not torch.equal(other.directions, this.directions)
    with pytest.raises(DataError, match="'seed' and 'step'"):
        resumed.load_state({})


def test_masked_pixels_are_never_drawn(synthetic, tmp_path):
    record = synthetic.ngp(synthetic.truth, tmp_path)
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[1:3, 5:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    record["frames"][1]["mask_path"] = "mask.png"
    (tmp_path / "transforms.json").write_text(json.dumps(record))
    scene = load_scene(tmp_path)
    rays = RayBatches(scene, scene.train_indices).next(3000).rays
    masked = rays.camera_indices == 1
    column, row = pixels_of(scene, rays)[masked].floor().unbind(-1)
    assert set(zip(row.tolist(), column.tolist(), strict=True)) == {(r, c) for r in (1, 2) for c in (5, 6, 7)}
    # Views count by the pixels they have left: 6 of 150.
    assert 0.02 < masked.double().mean() < 0.06


def test_alpha_and_limits_come_along(synthetic, tmp_path):
    for name in ("blender", "llff"):
        (tmp_path / name).mkdir()
        synthetic.write(name, tmp_path / name)
    batch = RayBatches(load_scene(tmp_path / "blender"), [0, 1]).next(6)
    rays, colors = batch.rays, batch.colors
    assert colors.shape == (6, 4)
    torch.testing.assert_close(colors[:, 3], torch.full((6,), 200 / 255))
    assert rays.near is None
    batch = RayBatches(load_scene(tmp_path / "llff"), [0, 1]).next(6)
    rays, colors = batch.rays, batch.colors
    assert colors.shape == (6, 3)
    assert bool((rays.near < rays.far).all())


def test_no_views_to_draw_from(synthetic, tmp_path):
    synthetic.write("ngp", tmp_path)
    with pytest.raises(UsageError, match="no views"):
        RayBatches(load_scene(tmp_path), [])
