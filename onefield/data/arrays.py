"""NumPy files that someone else wrote: nothing unpickled, nothing larger than the file holds."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from onefield.errors import DataError

# The largest array a dataset of photos legitimately stores is a depth image; its archives hold cameras only.
_LARGEST_BYTES = 1 << 30
_LARGEST_ARCHIVE = 64 << 20
_SMALLER = "save a part of it, or read a picture by tiles (--tile 512)."


def npy_shape(path: Path) -> tuple[int, ...]:
    """The shape that an array's file claims, without reading its numbers.

    Raises:
        DataError: unreadable, or holding Python objects.
    """
    try:
        with path.open("rb") as file:
            return _header(file, str(path))[0]
    except OSError as error:
        raise DataError(f"{path} can't be read: {error}.") from error


def load_npy(path: Path, largest: int = _LARGEST_BYTES) -> np.ndarray:
    """One array of numbers.

    Args:
        largest: bytes that are read at most.

    Raises:
        DataError: unreadable, too large, holding Python objects, or claiming more numbers than the file has.
    """
    try:
        size = path.stat().st_size
        if size > largest:
            raise DataError(f"{path} has {size:,} bytes, but at most {largest:,} are read at once; {_SMALLER}")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}.") from error
    return _parsed(content, str(path))


def load_npz(path: Path, largest: int = _LARGEST_ARCHIVE) -> dict[str, np.ndarray]:
    """All arrays of an archive by name.

    Args:
        largest: bytes that it may unpack to; 64 MiB by default.

    Raises:
        DataError: unreadable, holding Python objects, or too large.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            size = sum(member.file_size for member in members)
            if size > largest:
                raise DataError(
                    f"{path} unpacks to {size:,} bytes, but at most {largest:,} are read at once; {_SMALLER}"
                )
            for member in members:
                name = member.filename[: -len(".npy")]
                arrays[name] = _parsed(archive.read(member), f"{path}: '{name}'")
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is no readable .npz archive ({error}); write it again with numpy.savez.") from error
    return arrays


def _header(stream: BinaryIO, where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of the numbers that follow."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as error:  # NumPy evaluates the header's text, which fails in nearly any way.
        raise DataError(f"{where} is no NumPy array that can be read ({error}); write it with numpy.save.") from error
    if dtype.hasobject or dtype.kind not in "biuf":
        raise DataError(
            f"{where} holds {dtype} rather than numbers; objects are never unpickled: save a plain array of numbers."
        )
    return shape, fortran, dtype


def _parsed(content: bytes, where: str) -> np.ndarray:
    stream = io.BytesIO(content)
    shape, fortran, dtype = _header(stream, where)
    count = math.prod(shape)
    left = len(content) - stream.tell()
    if count < 0 or any(side < 0 for side in shape) or count * dtype.itemsize > left:
        raise DataError(f"{where} claims shape {shape} of {dtype}, but only {left} bytes follow; it is truncated.")
    if count == 0:
        raise DataError(f"{where} has shape {shape} and holds no numbers.")
    values = np.frombuffer(content, dtype=dtype, count=count, offset=stream.tell())
    return values.reshape(shape, order="F" if fortran else "C")
