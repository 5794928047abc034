"""Whole numbers as bit planes, most significant first: each prefix of them holds the same numbers, coarser.

A plane says three things, as the embedded coders of pictures do (Shapiro 1993, Said and Pearlman 1996): for each number
that was 0 so far whether it is so no more, the signs of those that begin, and one more bit of the others. The first
part is far from even and goes through the adaptive range coder of LZMA; signs and further bits are as good as random
and are stored as they are.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Sequence

import numpy as np

from onefield.errors import DataError

# No contexts of neighbours, which say nothing of a network's weights: a plain adaptive range coder remains.
_FILTERS = ({"id": lzma.FILTER_LZMA2, "preset": lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0},)
_LENGTH = struct.Struct("<I")
# float32 holds no more.
MOST_PLANES = 24


def packed(content: bytes) -> bytes:
    """Bytes through the range coder, without any header."""
    return lzma.compress(content, format=lzma.FORMAT_RAW, filters=_FILTERS)


def unpacked(content: bytes, length: int) -> bytes:
    """What `packed` was given.

    Args:
        length: of the result, in bytes; never more are unpacked.

    Raises:
        DataError: no such content, or of another length.
    """
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        plain = decoder.decompress(content, max_length=length + 1)
    except lzma.LZMAError as error:
        raise DataError(f"a part can't be unpacked ({error})") from error
    if len(plain) != length:
        raise DataError(f"a part unpacks to {len(plain):,} bytes instead of {length:,}")
    return plain


def plane_count(numbers: np.ndarray) -> int:
    """Planes that hold all bits of whole numbers."""
    return int(np.abs(numbers).max(initial=0)).bit_length()


def encode_planes(numbers: np.ndarray) -> list[bytes]:
    """The planes of whole numbers, int64 of shape ``n``, most significant first."""
    magnitudes, negative = np.abs(numbers), numbers < 0
    planes = []
    for place in reversed(range(plane_count(numbers))):
        begun = (magnitudes >> (place + 1)) > 0
        bits = (magnitudes >> place & 1).astype(bool)
        begins = bits[~begun]
        rest = np.concatenate([negative[~begun][begins], bits[begun]])
        beginning = packed(np.packbits(begins).tobytes())
        planes.append(_LENGTH.pack(len(beginning)) + beginning + np.packbits(rest).tobytes())
    return planes


def decode_planes(planes: Sequence[bytes], total: int, count: int) -> np.ndarray:
    """Numbers from the first planes, float64 of shape ``n``: the middle of what the missing planes leave open.

    Args:
        planes: the first ones, as many as there are.
        total: how many planes all bits take.
        count: how many numbers there are.

    Raises:
        DataError: a plane that does not fit those before it.
    """
    magnitudes, negative = np.zeros(count, np.int64), np.zeros(count, bool)
    for plane in planes:
        if len(plane) < _LENGTH.size:
            raise DataError("a bit plane is empty")
        (length,) = _LENGTH.unpack_from(plane)
        begun = magnitudes > 0
        fresh = np.flatnonzero(~begun)
        beginning = unpacked(plane[_LENGTH.size : _LENGTH.size + length], (len(fresh) + 7) // 8)
        begins = _bits(beginning, len(fresh))
        signs = int(begins.sum())
        rest = _bits(plane[_LENGTH.size + length :], signs + count - len(fresh))
        negative[fresh[begins]] = rest[:signs]
        magnitudes <<= 1
        magnitudes[fresh] += begins
        magnitudes[begun] += rest[signs:]
    missing = 1 << (total - len(planes))
    middles = magnitudes * missing + np.where(magnitudes > 0, (missing - 1) / 2, 0.0)
    return np.where(negative, -middles, middles)


def _bits(content: bytes, count: int) -> np.ndarray:
    if len(content) != (count + 7) // 8:
        raise DataError(f"a bit plane holds {8 * len(content):,} bits instead of {count:,}")
    return np.unpackbits(np.frombuffer(content, np.uint8), count=count).astype(bool)
