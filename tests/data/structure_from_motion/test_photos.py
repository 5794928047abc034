"""Finding photos: what their files say, and everything that is left out by name."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
from PIL import Image

from onefield.data.structure_from_motion.photos import find_photos, is_photos_or_video
from onefield.errors import DataError


def save(path, seed, size=(40, 30), **exif):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 5, size[0] // 5, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size)
    tags = Image.Exif()
    tags[0x0110] = exif.get("model", "Box")
    if "orientation" in exif:
        tags[0x0112] = exif["orientation"]
    inner = tags.get_ifd(0x8769)
    if "equivalent" in exif:
        inner[0xA405] = exif["equivalent"]
    if "time" in exif:
        inner[0x9003] = exif["time"]
    image.save(path, exif=tags)
    return path


def three(folder):
    for index in range(3):
        save(folder / f"{index}.jpg", index)


def test_names_of_any_kind_in_subfolders_are_found_in_the_order_of_people(tmp_path):
    for index, name in enumerate(["b 10.jpg", "b 9.jpg", "ä/über uns.JPG", "ä/b 9.jpg", "c.png"]):
        save(tmp_path / name, index)
    found = find_photos(tmp_path)
    assert [photo.name for photo in found.photos] == ["b 9.jpg", "b 10.jpg", "c.png", "ä/b 9.jpg", "ä/über uns.JPG"]
    assert found.notes == []


def test_the_times_of_exif_order_photos_where_all_have_one(tmp_path):
    for name, hour in (("a.jpg", 12), ("b.jpg", 10), ("c.jpg", 11)):
        save(tmp_path / name, hour, time=f"2024:05:01 {hour}:00:00")
    assert [photo.name for photo in find_photos(tmp_path).photos] == ["b.jpg", "c.jpg", "a.jpg"]


def test_focal_length_comes_from_the_35_mm_equivalent_by_the_diagonal(tmp_path):
    three(tmp_path)
    save(tmp_path / "wide.jpg", 9, size=(400, 300), equivalent=28)
    photos = {photo.name: photo for photo in find_photos(tmp_path).photos}
    assert photos["0.jpg"].focal is None
    assert photos["wide.jpg"].focal == pytest.approx(28 / math.hypot(36, 24) * 500)


def test_sizes_are_those_after_turning_and_lenses_are_told_apart(tmp_path):
    save(tmp_path / "a.jpg", 0)
    save(tmp_path / "b.jpg", 1, orientation=6)
    save(tmp_path / "c.jpg", 2, model="Another")
    save(tmp_path / "d.jpg", 3)
    first, turned, other, same = find_photos(tmp_path).photos
    assert (first.size, turned.size) == ((40, 30), (30, 40))
    assert first.lens == same.lens
    assert len({first.lens, turned.lens, other.lens}) == 3


def test_damaged_doubled_hidden_and_mask_files_are_left_out_and_counted(tmp_path):
    three(tmp_path)
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "0.jpg").read_bytes()[:300])
    (tmp_path / "empty.png").touch()
    (tmp_path / "again.jpg").write_bytes((tmp_path / "1.jpg").read_bytes())
    save(tmp_path / ".hidden.jpg", 5)
    save(tmp_path / "masks" / "0.png", 6)
    found = find_photos(tmp_path)
    assert len(found.photos) == 3
    damaged, doubled = found.notes
    assert "2 of 6 photos can't be read" in damaged
    assert "broken.jpg" in damaged
    assert "1 photos show the same" in doubled
    assert "again.jpg" in doubled


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: (folder / "notes.txt").touch(), "no photos"),
        (lambda folder: save(folder / "a.jpg", 0), "has 1 photo; take at least 3"),
        (lambda folder: [save(folder / f"{i}.jpg", 0) for i in range(5)], "5 photos, all of the same picture"),
        (lambda folder: [save(folder / f"{i}.jpg", i // 2) for i in range(4)], "only 2 different ones"),
        (lambda folder: [(folder / f"{i}.jpg").write_bytes(b"no") for i in range(4)], "of which 4 can't be read"),
    ],
)
def test_too_few_photos_are_refused_in_a_sentence(tmp_path, prepare, words):
    prepare(tmp_path)
    with pytest.raises(DataError, match=words):
        find_photos(tmp_path)


@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "a.dng", "a.NEF"])
def test_formats_without_their_reader_name_the_extra(tmp_path, monkeypatch, name):
    three(tmp_path)
    (tmp_path / name).write_bytes(b"anything")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module: None if module in ("pi_heif", "rawpy") else find(module)
    )
    with pytest.raises(DataError, match=r"a\.\w+ .*onefield\[photos\]"):
        find_photos(tmp_path)


def test_photos_and_videos_are_recognised_by_a_cheap_look(tmp_path):
    assert not is_photos_or_video(tmp_path)
    assert not is_photos_or_video(tmp_path / "absent")
    save(tmp_path / "deep" / "a.jpg", 0)
    (tmp_path / "film.MP4").touch()
    assert is_photos_or_video(tmp_path)
    assert is_photos_or_video(tmp_path / "film.MP4")
    assert not is_photos_or_video(tmp_path / "deep" / "a.jpg")
