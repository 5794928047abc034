"""What masks mean, on pictures of which every pixel is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.batches import RayBatches
from onefield.data.formats import load_scene
from onefield.data.image_store import ImageStore, Picture
from onefield.data.masks import mask_beside
from onefield.errors import DataError, UsageError

LEFT = np.repeat(np.array([[255, 255, 255, 255, 0, 0, 0, 0]], dtype=np.uint8), 6, axis=0)


@pytest.fixture
def masked(synthetic, tmp_path: Path) -> Path:
    """An open scene whose second and third views count on their left half only."""
    record = synthetic.ngp(synthetic.truth, tmp_path)
    Image.fromarray(LEFT).save(tmp_path / "left.png")
    for index in (1, 2):
        record["frames"][index]["mask_path"] = "left.png"
    (tmp_path / "transforms.json").write_text(json.dumps(record))
    return tmp_path


def drawn(scene) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether pixels of a masked view lie on the right, and their values."""
    batch = RayBatches(scene, [1]).next(2000)
    points = batch.rays.origins.double() + batch.rays.directions.double()
    column = scene.cameras.project(batch.rays.camera_indices, points)[0][:, 0]
    return column > 4, batch.colors


def test_ignored_pixels_are_never_drawn(masked):
    scene = load_scene(masked, masks="ignore")
    right, colors = drawn(scene)
    assert not right.any()
    assert colors.shape[1] == 3
    assert (scene.mask_meaning, scene.masked_views, scene.alpha) == ("ignore", 2, False)
    assert load_scene(masked).mask_meaning == "ignore"
    assert any("2 of 5 views have a mask" in warning for warning in scene.warnings)


def test_carved_pixels_are_empty_and_the_scene_stays_open(masked):
    scene = load_scene(masked, masks="carve")
    right, colors = drawn(scene)
    assert right.any()
    assert torch.equal(colors[:, 3] == 0, right)
    assert (colors[~right, 3] == 1).all()
    assert (scene.mask_meaning, scene.masks, scene.bounded, scene.background) == ("carve", None, False, "black")
    assert (scene.images.image(0)[..., 3] == 1).all()


def test_alpha_masks_are_the_pictures_alpha(masked):
    scene = load_scene(masked, masks="alpha")
    right, colors = drawn(scene)
    assert torch.equal(colors[:, 3] == 0, right)
    assert (scene.mask_meaning, scene.alpha, scene.background) == ("alpha", True, None)


def test_what_stood_behind_an_object_does_not_count_on_the_edge_of_its_mask(tmp_path):
    """A disc of one colour over another: composited over a third, it must be as if it had been drawn there."""
    down, across = np.mgrid[0:64, 0:64] - 31.5
    share = (20 - np.hypot(down, across)).clip(-2, 2) / 4 + 0.5
    disc, behind, third = (
        np.array(color) for color in ([220.0, 40.0, 30.0], [20.0, 200.0, 240.0], [255.0, 255.0, 255.0])
    )
    outline = np.rint(255 * share).astype(np.uint8)
    known = outline[..., None] / 255
    Image.fromarray(np.rint(known * disc + (1 - known) * behind).astype(np.uint8)).save(tmp_path / "photo.png")
    Image.fromarray(outline).save(tmp_path / "mask.png")
    store = ImageStore([Picture(tmp_path / "photo.png", (64, 64), object_mask=tmp_path / "mask.png")], 4)
    seen = store.image(0).numpy()
    over = seen[..., 3:] * seen[..., :3] * 255 + (1 - seen[..., 3:]) * third
    np.testing.assert_allclose(over, known * disc + (1 - known) * third, atol=1)
    # smaller pictures have edges that are shared by pixels even where the mask has none
    Image.fromarray(np.where(outline > 127, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(np.where(outline[..., None] > 127, disc, behind).astype(np.uint8)).save(tmp_path / "photo.png")
    small = ImageStore([Picture(tmp_path / "photo.png", (16, 16), object_mask=tmp_path / "mask.png")], 4).pixels(0)
    assert small[..., 3][small[..., 3] < 255].max() > 0
    assert (small[..., :3][small[..., 3] > 0] == disc).all()


def test_masks_can_be_disregarded_and_other_words_are_refused(masked):
    scene = load_scene(masked, masks="none")
    assert (scene.mask_meaning, scene.masks, scene.alpha) == (None, None, False)
    with pytest.raises(UsageError, match="did you mean 'carve'"):
        load_scene(masked, masks="curve")


def test_masks_lie_beside_the_images_under_colmaps_names(synthetic, tmp_path):
    for place, named in (("colmap", "masks/001.png.png"), ("ngp", "masks/001.png"), ("ngp", "mask/001.jpg")):
        folder = tmp_path / f"{place}-{len(named)}"
        synthetic.write("colmap_text" if place == "colmap" else "ngp", folder)
        (folder / named).parent.mkdir()
        Image.fromarray(LEFT).save(folder / named)
        scene = load_scene(folder)
        assert (scene.mask_meaning, scene.masked_views) == ("ignore", 1)
        assert scene.masks.mask(1).sum() == 24
        assert scene.masks.mask(0).all()
    # what lies in folders keeps its folder, and a split is no folder of images
    (tmp_path / "masks" / "train").mkdir(parents=True)
    (tmp_path / "masks" / "train" / "a.png.png").touch()
    assert mask_beside(tmp_path, tmp_path.resolve() / "train" / "a.png") is not None
    assert mask_beside(tmp_path, tmp_path.resolve() / "test" / "a.png") is None


def test_a_mask_of_half_the_size_is_stretched_and_one_of_another_shape_is_refused(masked):
    Image.fromarray(LEFT[::2, ::2]).save(masked / "left.png")
    assert torch.equal(load_scene(masked).masks.mask(1), torch.from_numpy(LEFT > 0))
    Image.fromarray(LEFT[:, :4]).save(masked / "left.png")
    with pytest.raises(DataError, match=r"left\.png is 4 x 6 pixels, but its picture .*001\.png is 8 x 6"):
        load_scene(masked)
