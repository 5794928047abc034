"""Segments of photos: from files beside them, at any window, and by colour where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.data.segments import SegmentStore, cut_by_color
from onefield.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_demo_scene(tmp_path, views=8, size=24)
    return tmp_path


def label_file(folder: Path, index: int, suffix: str) -> Path:
    scene = load_scene(folder)
    picture = scene.images.pictures[index].path.resolve().relative_to(folder.resolve())
    path = folder / "segments" / picture.with_suffix(suffix)
    if picture.parts[0] == "images":
        path = folder / "segments" / Path(*picture.parts[1:]).with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_label_maps_are_read_at_any_window_and_from_half_the_size(folder, suffix):
    labels = np.repeat(np.repeat(np.arange(9).reshape(3, 3), 4, 0), 4, 1).astype(np.uint16) * 1000
    file = label_file(folder, 2, suffix)
    if suffix == ".npy":
        np.save(file, labels)
    else:
        Image.fromarray(labels).save(file)
    store = SegmentStore(load_scene(folder))
    assert store.count == 1
    whole = store.labels(2, (0, 0), (24, 24))
    expected = torch.arange(9).reshape(3, 3).repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert torch.equal(whole, expected)
    assert torch.equal(store.labels(2, (5, 14), (10, 7)), expected[5:15, 14:21])


def test_without_files_photos_are_cut_where_colours_change():
    picture = np.full((60, 80, 3), 200, dtype=np.uint8)
    picture[20:50, 10:40] = (180, 20, 30)
    labels = cut_by_color(picture)
    inside, outside = labels[24:46, 14:36], np.delete(labels, np.s_[16:54], axis=0)
    assert len(np.unique(inside)) == 1
    assert len(np.unique(outside)) == 1
    assert inside[0, 0] != outside[0, 0]


def test_large_photos_are_cut_smaller_and_counted_so(folder):
    assert cut_by_color(np.zeros((10, 960, 3), dtype=np.uint8)).shape == (5, 480)
    store = SegmentStore(load_scene(folder))
    assert store.byte_size(0) == 4 * 24 * 24
    assert store.labels(0, (0, 0), (24, 24)).numel() * 4 == store.byte_size(0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((24, 24)), "whole numbers"),
        (np.zeros((24, 24, 3), dtype=np.int32), "whole numbers"),
        (np.zeros((24, 12), dtype=np.int32), "another shape"),
    ],
)
def test_files_that_are_no_segments_are_named(folder, values, message):
    np.save(label_file(folder, 0, ".npy"), values)
    with pytest.raises(DataError, match=rf"\.npy .*{message}"):
        SegmentStore(load_scene(folder)).labels(0, (0, 0), (24, 24))
