"""The container ``.onef``: a safetensors file whose one tensor is a row of parts, read as far as they have arrived.

See docs/onef.md for the bytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onefield.errors import DataError

SUFFIX = ".onef"
VERSION = 1
_FORMAT = "onefield signal"
_TENSOR = "parts"
_HEADER_LENGTH = struct.Struct("<Q")
# Length and CRC-32 of each part, before it.
_FRAME = struct.Struct("<II")
# The header says four things; nothing that is one takes this much.
_LONGEST_HEADER = 1 << 12
# Facts of a signal take a kilobyte or two.
_LONGEST_FACTS = 1 << 20
_COPY = "copy it anew"


@dataclass(frozen=True)
class Onef:
    """What a file holds.

    Attributes:
        facts: plain JSON data.
        parts: bytes, those that the file has whole.
        part_count: how many there should be.
        ends: bytes of the file up to the end of each part.
    """

    facts: dict
    parts: tuple[bytes, ...]
    part_count: int
    ends: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether no part is missing."""
        return len(self.parts) == self.part_count


def encode(facts: dict, parts: Sequence[bytes]) -> bytes:
    """The file's content.

    Args:
        facts: plain finite JSON data.
        parts: most important first.
    """
    said = json.dumps({"facts": facts, "parts": len(parts)}, allow_nan=False, separators=(",", ":"))
    framed = [_FRAME.pack(len(part), zlib.crc32(part)) + part for part in (zlib.compress(said.encode(), 9), *parts)]
    body = b"".join(framed)
    return _header(len(body), VERSION) + body


def decode(content: bytes, path: Path, partial: bool = False) -> Onef:
    """Reads a file's content.

    Args:
        path: its name, for messages.
        partial: take the parts that are there, where the file ends early.

    Raises:
        DataError: no such file, of a newer version, damaged, or cut short (even with ``partial``, where not one part is
            whole).
    """
    start, expected = _checked_header(content, path)
    if len(content) > expected:
        raise DataError(f"{path} has {len(content) - expected:,} bytes too many behind its end; {_COPY}.")
    parts, ends = _parts(content, start, path)
    if not parts:
        raise DataError(f"{path} ends after {len(content):,} of {expected:,} bytes, too few to decode; {_COPY}.")
    facts, count = _facts(parts[0], path)
    if len(parts) > 1 + count or (len(parts) <= count and len(content) == expected):
        raise DataError(f"{path} holds {len(parts) - 1} parts instead of {count}; {_COPY}.")
    if len(parts) == 1 or (len(content) < expected and not partial):
        cure = "--partial decodes what is there, coarser" if len(parts) > 1 else f"too few to decode; {_COPY}"
        raise DataError(f"{path} ends after {len(content):,} of {expected:,} bytes; {cure}.")
    return Onef(facts, tuple(parts[1:]), count, tuple(ends[1:]))


def _header(length: int, version: int) -> bytes:
    """The beginning of a safetensors file with one tensor of so many bytes, padded to whole words."""
    said = {
        "__metadata__": {"format": _FORMAT, "version": str(version)},
        _TENSOR: {"dtype": "U8", "shape": [length], "data_offsets": [0, length]},
    }
    text = json.dumps(said, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_LENGTH.size)
    return _HEADER_LENGTH.pack(len(text)) + text


def _checked_header(content: bytes, path: Path) -> tuple[int, int]:
    """Where the parts begin, and how long the whole file should be."""
    length = 0
    if len(content) >= _HEADER_LENGTH.size:
        (length,) = _HEADER_LENGTH.unpack_from(content)
    start = _HEADER_LENGTH.size + length
    text = content[_HEADER_LENGTH.size : start]
    if not 1 < length <= _LONGEST_HEADER or text[:1] not in (b"{", b""):
        raise DataError(f"{path} is no {SUFFIX} file: it does not begin as those do.")
    if len(content) < start:
        raise DataError(f"{path} ends within its header, after {len(content):,} bytes; {_COPY}.")
    try:
        said = json.loads(text)
        if said["__metadata__"]["format"] != _FORMAT:
            raise DataError(f"{path} is a safetensors file, but no {SUFFIX}: its format is not '{_FORMAT}'.")
        version, body = int(said["__metadata__"]["version"]), int(said[_TENSOR]["data_offsets"][1])
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise DataError(f"{path} is no {SUFFIX} file, or its header is damaged; {_COPY}.") from error
    if version > VERSION:
        raise DataError(f"{path} is of version {version}, but this Onefield reads up to {VERSION}; update Onefield.")
    if content[:start] != _header(body, VERSION):
        raise DataError(f"{path} has a damaged header; {_COPY}.")
    return start, start + body


def _parts(content: bytes, start: int, path: Path) -> tuple[list[bytes], list[int]]:
    """All parts that are there whole, and where each ends."""
    parts, ends = [], []
    while start + _FRAME.size <= len(content):
        length, checksum = _FRAME.unpack_from(content, start)
        start += _FRAME.size
        part = content[start : start + length]
        start += length
        if len(part) < length:
            break
        if zlib.crc32(part) != checksum:
            raise DataError(f"{path} is damaged {start - length:,} bytes after its beginning; {_COPY}.")
        parts.append(part)
        ends.append(start)
    return parts, ends


def _facts(part: bytes, path: Path) -> tuple[dict, int]:
    decoder = zlib.decompressobj()
    try:
        said = json.loads(decoder.decompress(part, _LONGEST_FACTS))
        facts, count = said["facts"], said["parts"]
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} does not say what it holds; {_COPY}.") from error
    if not isinstance(facts, dict) or not isinstance(count, int) or count < 1:
        raise DataError(f"{path} does not say what it holds; {_COPY}.")
    return facts, count
