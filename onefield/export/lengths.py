"""Lengths in as few bytes as they need (LEB128): seven bits a byte, lowest first; the eighth says that more follow."""

from __future__ import annotations

_BITS = 7
_MORE = 1 << _BITS
# Nothing that is one takes more bytes.
_LONGEST = 9


def pack_length(length: int) -> bytes:
    """The bytes of a length."""
    packed = bytearray()
    while length >= _MORE:
        packed.append(length % _MORE | _MORE)
        length >>= _BITS
    return bytes([*packed, length])


def unpack_length(content: bytes, start: int) -> tuple[int, int] | None:
    """The length that is packed there, and where it ends; None where the content ends within it."""
    length = 0
    for index, byte in enumerate(content[start : start + _LONGEST]):
        length |= byte % _MORE << _BITS * index
        if byte < _MORE:
            return length, start + index + 1
    return None
