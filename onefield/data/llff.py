"""LLFF's poses_bounds.npy (Mildenhall et al. 2019): forward-facing captures.

One row an image, in the order of the sorted files: a 3x5 matrix ``[R | t | (height, width, focal)]`` whose camera axes
are down, right and backwards, then the nearest and the farthest depth. No distortion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onefield.data.arrays import load_npy
from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import images_in, inside, is_file
from onefield.errors import DataError

_FILE = "poses_bounds.npy"
_FOLDERS = ("images", "images_2", "images_4", "images_8")
# The stated bounds are percentiles of the points' depths; a little nearer there is still content (as LLFF's own code).
_NEAR_MARGIN = 0.9


def _recognises(path: Path) -> bool:
    return is_file(path / _FILE)


def _read(path: Path) -> Capture:
    file = path / _FILE
    table = load_npy(file).astype(np.float64)
    if table.ndim != 2 or table.shape[1] != 17:
        raise DataError(f"{file} has shape {table.shape}; it must be images x 17.")
    images = next((found for name in _FOLDERS if (found := images_in(path / name))), None)
    if images is None:
        raise DataError(f"{path} has no images; put them into {path / _FOLDERS[0]}.")
    if len(images) != len(table):
        raise DataError(
            f"{file} has {len(table)} rows but {images[0].parent} has {len(images)} images; keep just the images that "
            "the poses were made from."
        )
    for row, image in zip(table, images, strict=True):
        if not np.isfinite(row).all():
            raise DataError(f"{file}: the row of {image.name} holds NaN or infinity; correct or remove it.")
    near, far = table[:, 15].min(), table[:, 16].max()
    if not 0 < near < far:
        raise DataError(f"{file} states depths from {near} to {far}; correct them to 0 < nearest < farthest.")
    views = [_view(path, image, row) for image, row in zip(images, table, strict=True)]
    return Capture(views, "llff", near=_NEAR_MARGIN * float(near), far=float(far))


def _view(root: Path, image: Path, row: np.ndarray) -> View:
    matrix = row[:15].reshape(3, 5)
    down, right, back, position = (matrix[:, column] for column in range(4))
    height, width, focal = matrix[:, 4]
    if not (1 <= height <= 1e6 and 1 <= width <= 1e6):
        raise DataError(f"{root / _FILE}: the row of {image.name} states an image of {width} x {height} pixels.")
    return View(
        name=image.name,
        image_path=inside(root, str(image.relative_to(root)), str(root)),
        camera_to_world=np.stack([right, down, -back, position], axis=1),
        focal=(float(focal), float(focal)),
        size=(round(width), round(height)),
    )


LLFF = SceneFormat("llff", "poses_bounds.npy with images/ (LLFF)", _recognises, _read)
