"""Depth maps as files store them: PNG or TIFF, NumPy arrays, OpenEXR, and Record3D's floats in Apple's LZFSE.

OpenImageIO reads OpenEXR and lzfse reads LZFSE; both are optional (Onefield's extras ``hdr`` and ``photos``).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from onefield.data.arrays import load_npy
from onefield.data.images import decode_raw_integers
from onefield.data.linear_images import read_single_channel
from onefield.errors import DataError

LZFSE_SUFFIX = ".depth"
# Suffix, the module that reads it, and the extra that brings the module.
_READERS = ((".exr", "OpenImageIO", "hdr"), (LZFSE_SUFFIX, "lzfse", "photos"))
# Depth sensors of phones have less than a megapixel; a packed file of a few bytes could claim gigabytes.
_MOST_NUMBERS = 1 << 24


def missing_readers(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Suffixes among the files whose reader is not installed, each with the line that installs it."""
    suffixes = {path.suffix.lower() for path in paths}
    return [
        (suffix, f'pip install "onefield[{extra}]"')
        for suffix, module, extra in _READERS
        if suffix in suffixes and importlib.util.find_spec(module) is None
    ]


def read_depth(path: Path, picture: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """The numbers of a depth map as stored.

    Args:
        picture: width and height of the map's picture, whose proportions a file of Record3D takes for granted.

    Raises:
        DataError: missing, damaged, several channels, or no numbers.
        ResourceError: the file's reader is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == LZFSE_SUFFIX:
        return _read_packed(path, picture)
    if suffix == ".npy":
        values = np.squeeze(load_npy(path))
    else:
        values = read_single_channel(path) if suffix == ".exr" else decode_raw_integers(path)
    if values.ndim != 2 or values.dtype.kind not in "iuf" or values.size == 0:
        raise DataError(f"{path} has shape {values.shape} of {values.dtype}; a depth image is height x width numbers.")
    return values


def _read_packed(path: Path, picture: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    import lzfse

    try:
        content = lzfse.decompress(path.read_bytes())
    except Exception as error:  # the library has kinds of its own
        raise DataError(f"{path} is truncated or damaged ({error}); export the recording again.") from error
    count, rest = divmod(len(content), np.dtype("<f4").itemsize)
    # the file holds nothing but the numbers: its height follows from their count and the picture's proportions
    height = round(math.sqrt(count * picture[1] / picture[0]))
    if rest or not 0 < count <= _MOST_NUMBERS or count % max(height, 1):
        raise DataError(
            f"{path} holds {len(content)} bytes, which are no depth map in the proportions of its picture, "
            f"{picture[0]} x {picture[1]}; export the recording again."
        )
    return np.frombuffer(content, dtype="<f4").reshape(height, count // height)
