"""Pieces of photos that belong together: label maps beside the pictures, or found by their colours.

A label map is ``segments/NAME.png`` (8 or 16 bits, one channel) or ``segments/NAME.npy`` (whole numbers) for the
picture NAME: equal numbers are one segment. Another size of the picture's shape is looked up at the nearest pixel.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from onefield.data.arrays import load_npy
from onefield.data.images import decode_raw_integers
from onefield.data.masks import named_beside
from onefield.data.scene import Scene
from onefield.errors import DataError

_FOLDERS = ("segments",)
_SUFFIXES = (".npy", ".png", ".tif", ".tiff")
# Photos are cut into segments at most this large, and larger ones looked up in that: outlines need no more.
_LONGEST_SIDE = 480
_LABEL_BYTES = 4
# Felzenszwalb and Huttenlocher (2004): blur and preference for large segments as published for photos; the smallest
# segment is a two thousandth of the picture.
_BLUR, _COARSENESS, _SMALLEST_SHARE = 0.8, 100.0, 1 / 2000


class SegmentStore:
    """The segments of each view of a scene, made or read when first asked for, and kept."""

    def __init__(self, scene: Scene) -> None:
        """Looks for label maps; reads none yet."""
        self._images = scene.images
        root = scene.path if scene.path.is_dir() else scene.path.parent
        self._files = tuple(
            named_beside(root, picture.path.resolve(), _FOLDERS, _SUFFIXES) for picture in scene.images.pictures
        )
        self._kept: dict[int, Int[Tensor, "h w"]] = {}

    @property
    def count(self) -> int:
        """Views that have a label map."""
        return sum(file is not None for file in self._files)

    def given(self, index: int) -> bool:
        """Whether a view has a label map."""
        return self._files[index] is not None

    def byte_size(self, index: int) -> int:
        """Bytes that the segments of a view are kept in."""
        width, height = self._images.pictures[index].size
        held = height * width if self._files[index] is not None else math.prod(_cut_shape(height, width))
        return _LABEL_BYTES * held

    def labels(self, index: int, corner: tuple[int, int], shape: tuple[int, int]) -> Int[Tensor, "h w"]:
        """The segment of each pixel of a window of a view, counted from 0.

        Args:
            corner: row and column of the window's first pixel.
            shape: its height and width.

        Raises:
            DataError: a label map can't be read, or has another shape than its picture.
        """
        if index not in self._kept:
            self._kept[index] = self._found(index)
        labels = self._kept[index]
        width, height = self._images.pictures[index].size
        rows = (torch.arange(corner[0], corner[0] + shape[0]) + 0.5) * (labels.shape[0] / height)
        columns = (torch.arange(corner[1], corner[1] + shape[1]) + 0.5) * (labels.shape[1] / width)
        return labels[rows.long()[:, None], columns.long()[None, :]].long()

    def _found(self, index: int) -> Int[Tensor, "h w"]:
        file, (width, height) = self._files[index], self._images.pictures[index].size
        labels = cut_by_color(self._images.pixels(index)[..., :3]) if file is None else _read(file, width, height)
        _, counted = np.unique(labels, return_inverse=True)
        return torch.from_numpy(counted.reshape(labels.shape).astype(np.int32))


def cut_by_color(picture: np.ndarray) -> Int[np.ndarray, "h w"]:
    """Segments of even colour (Felzenszwalb and Huttenlocher 2004), of a picture made smaller where it is large.

    Args:
        picture: 8-bit colours, ``H W 3``.
    """
    from skimage.segmentation import felzenszwalb
    from skimage.transform import resize

    shape = _cut_shape(*picture.shape[:2])
    small = resize(picture / 255, shape, anti_aliasing=shape != picture.shape[:2])
    least = max(1, int(_SMALLEST_SHARE * shape[0] * shape[1]))
    return felzenszwalb(small, scale=_COARSENESS, sigma=_BLUR, min_size=least)


def _cut_shape(height: int, width: int) -> tuple[int, int]:
    shrink = min(1.0, _LONGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _read(file: Path, width: int, height: int) -> Int[np.ndarray, "h w"]:
    labels = np.squeeze(load_npy(file)) if file.suffix.lower() == ".npy" else decode_raw_integers(file).astype(np.int64)
    if labels.ndim != 2 or labels.dtype.kind not in "iub" or labels.size == 0:
        raise DataError(f"{file} has shape {labels.shape} of {labels.dtype}; save height x width whole numbers.")
    # one pixel either way: sizes are rounded
    across = width * labels.shape[0] / height
    if abs(across - labels.shape[1]) > max(1.0, across / width):
        raise DataError(
            f"{file} is {labels.shape[1]} x {labels.shape[0]} pixels, but its picture is {width} x {height}, another "
            "shape; save the segments in the picture's shape."
        )
    return labels
