"""Contours of pictures in a stack: around labels, or where intensities pass a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from onefield.data.contours import Slice
from onefield.errors import DataError

# A stack of at most so many different whole numbers is one of labels; scanners tell hundreds of intensities apart.
_MOST_LABELS = 16


@dataclass(frozen=True)
class PicturePlane:
    """One picture of a stack and where it lies.

    Attributes:
        name: for messages.
        values: rows and columns; above the stack's level is inside.
        corner: world position of the middle of the first pixel.
        steps: from a pixel to the next along a row, and to the next row, world units.
    """

    name: str
    values: Float[np.ndarray, "rows columns"]
    corner: Float[np.ndarray, "3"]
    steps: Float[np.ndarray, "2 3"]


def slices_of_pictures(pictures: Sequence[PicturePlane]) -> tuple[list[Slice], str]:
    """The contours of a stack, closed at the pictures' borders, and in words how they were found.

    Whole numbers from 0 with at most 16 different values are labels, of which all but 0 are inside; anything else are
    intensities, parted in two by Otsu's threshold (1979) for the whole stack: inside is what is brighter than the
    middle between the two parts' means, where a sharp border that pixels blur has its place.

    Raises:
        DataError: values that are not finite, pictures without pixels, or the same value everywhere.
    """
    for picture in pictures:
        if picture.values.ndim != 2 or not picture.values.size:
            raise DataError(f"{picture.name} has shape {picture.values.shape}; a slice is one picture of one channel.")
        if not np.isfinite(picture.values).all():
            raise DataError(f"{picture.name} holds values that are not finite; replace them.")
    level, note = _level(pictures)
    return [_slice(picture, level) for picture in pictures], note


def _level(pictures: Sequence[PicturePlane]) -> tuple[float, str]:
    known = np.unique(np.concatenate([np.unique(picture.values) for picture in pictures]))
    if len(known) < 2:
        raise DataError(f"{pictures[0].name} and all other slices hold the value {known[0]:g} alone; nothing is cut.")
    if len(known) <= _MOST_LABELS and (known == np.round(known)).all() and known[0] == 0:
        return 0.5, "inside is every label but 0"
    from skimage.filters import threshold_otsu

    values = np.concatenate([picture.values.ravel() for picture in pictures])
    bright = values > threshold_otsu(values)
    level = float((values[bright].mean() + values[~bright].mean()) / 2)
    return level, f"inside is what is brighter than {level:.4g} (between dark and bright by Otsu's threshold)"


def _slice(picture: PicturePlane, level: float) -> Slice:
    from skimage.measure import find_contours

    values = picture.values.astype(np.float64)
    if level == 0.5 and (values == np.round(values)).all():
        values = (values > 0).astype(np.float64)
    # outside all around, so that what reaches the border is closed there
    values = np.pad(values, 1, constant_values=min(values.min(), 2 * level - values.max()))
    normal = np.cross(picture.steps[0], picture.steps[1])
    right = picture.steps[0] / np.linalg.norm(picture.steps[0])
    up = np.cross(normal / np.linalg.norm(normal), right)
    axes = np.stack([right, up])
    to_plane = picture.steps @ axes.T
    contours = []
    for rows_columns in find_contours(values, level):
        places = rows_columns[:-1, ::-1] - 1
        if len(np.unique(places, axis=0)) >= 3:
            contours.append(places @ to_plane)
    return Slice(picture.name, picture.corner, axes, tuple(contours))
