"""Pictures as every engine reads them alike: stored upright, without an orientation tag, 8 bits, JPEG or PNG."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from onefield.data.structure_from_motion.photos import HEIC_SUFFIXES, Photo, read_pixels
from onefield.files import explain_write_errors, write_atomically

_LOSSY_SUFFIXES = (".jpg", ".jpeg", *HEIC_SUFFIXES)
_KEPT_MODES = ("RGB", "L", "RGBA")
_ORIENTATION_TAG = 0x0112
# Hardly visible losses on top of the first ones; full colour resolution.
_JPEG_QUALITY, _JPEG_FULL_COLOR = 95, 0


def stored_suffix(photo: Photo) -> str:
    """``.jpg`` for photos that lost something already, ``.png`` for all others."""
    return ".jpg" if photo.path.suffix.lower() in _LOSSY_SUFFIXES else ".png"


def store_picture(photo: Photo, target: Path) -> None:
    """Writes a photo as a picture for reconstruction and training, byte for byte where its file allows.

    The pixels are those that training sees: its loader turns them by the EXIF orientation, so they are turned here
    and the tag is left behind, and poses belong to the turned picture for whoever reads it.

    Raises:
        DataError: the photo can't be read (any more).
        ResourceError: the target can't be written.
    """
    if _as_it_is(photo, target.suffix):
        partial = target.with_name(f".{target.name}.part")
        with explain_write_errors(target, partial):
            shutil.copyfile(photo.path, partial)
            partial.replace(target)
        return
    write_picture(read_pixels(photo.path), target)


def write_picture(pixels: np.ndarray, target: Path) -> None:
    """Writes uint8 pixels (grey, RGB, RGBA) as JPEG or PNG, by the target's suffix.

    Raises:
        ResourceError: the target can't be written.
    """
    stream = io.BytesIO()
    if target.suffix == ".jpg":
        picture = Image.fromarray(pixels[..., :3] if pixels.ndim == 3 else pixels)
        picture.save(stream, format="JPEG", quality=_JPEG_QUALITY, subsampling=_JPEG_FULL_COLOR)
    else:
        Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    write_atomically(target, stream.getvalue())


def _as_it_is(photo: Photo, suffix: str) -> bool:
    own = ".jpg" if photo.path.suffix.lower() in (".jpg", ".jpeg") else photo.path.suffix.lower()
    if own != suffix:
        return False
    with Image.open(photo.path) as image:
        turned = image.getexif().get(_ORIENTATION_TAG, 1) != 1
        plain = image.mode in _KEPT_MODES and image.format in ("JPEG", "MPO", "PNG")
        return plain and not turned
