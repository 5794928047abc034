"""Masks beside pictures: where they lie, what they mean, and whether they fit.

White marks what counts, or, where a mask has transparent pixels, opaque. What black means is said by one word:

- ``ignore``: nothing is known about these pixels: they are never learned from and never scored;
- ``carve``: nothing stands there: the opacity along these pixels' rays must be 0, and about the others nothing is said;
- ``alpha``: the mask is the picture's alpha over the background: black is empty, white is the object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from scipy.spatial import cKDTree

from onefield.data.dataset_paths import IMAGE_SUFFIXES, inside, is_file, is_folder
from onefield.data.images import ImageHeader
from onefield.errors import DataError

MASK_USES = ("auto", "ignore", "carve", "alpha", "none")
_FOLDERS = ("masks", "mask")
# Of a pixel that a mask marks whole.
_WHOLE = 255
# Folders that hold pictures and are left out of the names of their masks; splits such as train/ are not.
_IMAGE_FOLDERS = ("images", "image", "input", "images_2", "images_4", "images_8", "rgb")


def mask_beside(root: Path, image: Path) -> Path | None:
    """A picture's mask by COLMAP's convention: ``masks/NAME.png`` for ``images/NAME``, or any image of NAME's stem.

    Args:
        root: the dataset's folder.
        image: resolved path of the picture.

    Returns:
        An existing file, else None.
    """
    return named_beside(root, image, _FOLDERS, IMAGE_SUFFIXES)


def named_beside(root: Path, image: Path, folders: tuple[str, ...], suffixes: tuple[str, ...]) -> Path | None:
    """The file of a picture's name in one of some folders beside the pictures: ``FOLDER/NAME.png``, or NAME's stem.

    Args:
        root: the dataset's folder.
        image: resolved path of the picture.
        suffixes: that the file may have in the place of the picture's own.

    Returns:
        An existing file, else None.
    """
    there = [folder for folder in folders if is_folder(root / folder)]
    base = root.resolve()
    if not there or not image.is_relative_to(base):
        return None
    name = image.relative_to(base)
    if len(name.parts) > 1 and name.parts[0] in _IMAGE_FOLDERS:
        name = Path(*name.parts[1:])
    named = name.as_posix()
    candidates = [f"{named}.png", named, *(f"{named.rsplit('.', 1)[0]}{suffix}" for suffix in suffixes)]
    for folder in there:
        for candidate in candidates:
            found = inside(root, f"{folder}/{candidate}", str(root))
            if is_file(found):
                return found
    return None


def check_mask_size(mask: Path, header: ImageHeader, image: Path, size: tuple[int, int], oriented: bool) -> None:
    """Refuses a mask of another shape than its picture; another size of the same shape is resampled (nearest pixel).

    Args:
        size: width and height of the picture before it is made smaller.
        oriented: whether EXIF orientations are applied.

    Raises:
        DataError: the shapes differ by more than rounding to whole pixels explains.
    """
    found = (header.width, header.height) if oriented else (header.stored_width, header.stored_height)
    across, down = found[0] / size[0], found[1] / size[1]
    if abs(found[0] - size[0] * down) > 1 and abs(found[1] - size[1] * across) > 1:
        raise DataError(
            f"{mask} is {found[0]} x {found[1]} pixels, but its picture {image} is {size[0]} x {size[1]}, another "
            "shape; save the mask in the picture's size."
        )


def colors_of_marked(
    colors: UInt8[np.ndarray, "H W 3"], outline: UInt8[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """A photo's colours with those on the mask's edge taken from inside: straight colours, as alpha asks for.

    Where a mask marks a share of a pixel, the photo shows that share of the object over whatever stood behind it.
    Composited once more, what stood behind would count: with black behind a white object and half a pixel marked, as a
    quarter of white less. So these pixels take the colour of the nearest one that is marked whole.

    Args:
        outline: share of each pixel that is marked, 255 for all of it. Without pixels marked whole nothing changes.
    """
    whole = outline == _WHOLE
    part = (outline > 0) & ~whole
    if not part.any() or not whole.any():
        return colors
    surrounded = whole.copy()
    surrounded[1:] &= whole[:-1]
    surrounded[:-1] &= whole[1:]
    surrounded[:, 1:] &= whole[:, :-1]
    surrounded[:, :-1] &= whole[:, 1:]
    # none that is surrounded is the nearest of any other
    border = np.argwhere(whole & ~surrounded)
    nearest = border[cKDTree(border).query(np.argwhere(part))[1]]
    changed = colors.copy()
    changed[part] = colors[nearest[:, 0], nearest[:, 1]]
    return changed
