"""Stored pictures show what training sees, whatever the orientation tag, for every reader alike."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onefield.data.images import decode
from onefield.data.structure_from_motion.photos import Photo
from onefield.data.structure_from_motion.pictures import store_picture, stored_suffix


def photo(path):
    return Photo(path, path.name, (0, 0), None, "", "", "")


def picture():
    steps = np.arange(24, dtype=np.uint8)
    return np.stack(np.broadcast_arrays(steps[:, None] * 8, np.arange(32, dtype=np.uint8) * 6, np.uint8(90)), axis=-1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_stored_picture_is_upright_without_a_tag(tmp_path, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(picture()).save(tmp_path / "photo.jpg", exif=tags, quality=95)
    store_picture(photo(tmp_path / "photo.jpg"), tmp_path / "stored.jpg")
    seen = decode(tmp_path / "photo.jpg").astype(int)
    with Image.open(tmp_path / "stored.jpg") as stored:
        assert stored.getexif().get(0x0112, 1) == 1
        bare = np.asarray(stored).astype(int)
    assert bare.shape == seen.shape
    assert np.abs(bare - seen).mean() < 2
    assert np.abs(decode(tmp_path / "stored.jpg").astype(int) - seen).mean() < 2


@pytest.mark.parametrize("name", ["photo.jpg", "photo.JPEG", "photo.png"])
def test_plain_files_are_kept_byte_for_byte(tmp_path, name):
    Image.fromarray(picture()).save(tmp_path / name)
    source = photo(tmp_path / name)
    target = tmp_path / f"stored{stored_suffix(source)}"
    store_picture(source, target)
    assert target.read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "mode"), [("a.webp", "RGB"), ("a.tiff", "RGB"), ("a.bmp", "RGB"), ("a.png", "I;16"), ("a.jpg", "CMYK")]
)
def test_other_files_become_pictures_that_every_engine_reads(tmp_path, name, mode):
    image = Image.fromarray(picture())
    if mode == "I;16":
        image = Image.fromarray(picture()[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    image.save(tmp_path / name)
    source = photo(tmp_path / name)
    target = tmp_path / f"stored{stored_suffix(source)}"
    store_picture(source, target)
    with Image.open(target) as stored:
        assert stored.mode in ("RGB", "L")
        assert np.abs(np.asarray(stored.convert("RGB")).astype(int) - decode(tmp_path / name)).mean() < 3
