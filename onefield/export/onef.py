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
from onefield.export.lengths import pack_length, unpack_length

SUFFIX = ".onef"
VERSION = 1
# The tensor's name, with the version behind.
_TENSOR = "onef-"
_HEADER_LENGTH = struct.Struct("<Q")
# It says one thing; nothing that is one takes this much.
_LONGEST_HEADER = 1 << 8
# Behind the length of each part, before its content.
_CHECKSUM = struct.Struct("<I")
# Facts of a signal take a kilobyte or two.
_LONGEST_FACTS = 1 << 20
_COPY = "copy it anew"
# What facts usually say, so that a file does not: deflate refers to it (preset dictionary of RFC 1950). Part of the
# format, as it stands.
_USUAL = (
    b'"dense""hash""fourier""finer","bound":5.0,"first_factor":30.0,"factor":30.0,"stretch":1.0,"features":256,"frequency":'
    b'"levels":16,"base_resolution":16,"growth":1.5,"table_size":"channels":1,"kind":"audio","video","volume","shape",'
    b'"distance","domain":{"minimum":[-1.0,-1.0,-1.0],"maximum":[1.0,1.0,1.0]},'
    b'{"facts":{"version":1,"recipe":{"field":"siren","options":{"width":32,"hidden_layers":3,"w0":30.0,"first_w0":30.0,'
    b'"output_gain":1.0},"encoding_rate":0.001,"network_rate":0.001,"final_rate":0.05,"batch":16384,"steps":1500},'
    b'"target":{"quantity":"value","domain":{"minimum":[0.0,0.0],"maximum":[1.0,0.6666666666666666]},"channels":3,'
    b'"offset":0.5,"scale":0.5},"kind":"image","shape":[512,768],"metrics":{},"planes":[5,1,1,1,1,1,1]},"parts":8}'
)


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
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS, zdict=_USUAL)
    first = compressor.compress(said.encode()) + compressor.flush()
    framed = [pack_length(len(part)) + _CHECKSUM.pack(zlib.crc32(part)) + part for part in (first, *parts)]
    body = b"".join(framed)
    return _header(len(body)) + body


def decode(content: bytes, path: Path, partial: bool = False) -> Onef:
    """Reads a file's content.

    Args:
        path: its name, for messages.
        partial: take the parts that are there, where the file ends early.

    Raises:
        DataError: no such file, of another version, damaged, or cut short (even with ``partial``, where not one part is
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
    if len(parts) == 1 + count and ends[-1] != expected:
        raise DataError(f"{path} has a damaged header; {_COPY}.")
    if len(parts) == 1 or (len(content) < expected and not partial):
        cure = "--partial decodes what is there, coarser" if len(parts) > 1 else f"too few to decode; {_COPY}"
        raise DataError(f"{path} ends after {len(content):,} of {expected:,} bytes; {cure}.")
    return Onef(facts, tuple(parts[1:]), count, tuple(ends[1:]))


def _header(length: int) -> bytes:
    """The beginning of a safetensors file with one tensor of so many bytes, padded to whole words."""
    said = {f"{_TENSOR}{VERSION}": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}
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
        ((name, said),) = json.loads(text).items()
        if not name.startswith(_TENSOR):
            raise DataError(f"{path} is a safetensors file, but no {SUFFIX}: its tensor is '{name}'.")
        version, body = int(name.removeprefix(_TENSOR)), int(said["data_offsets"][1])
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise DataError(f"{path} is no {SUFFIX} file, or its header is damaged; {_COPY}.") from error
    if version > VERSION:
        raise DataError(f"{path} is of version {version}, but this Onefield reads {VERSION}; update Onefield.")
    if content[:start] != _header(body):
        raise DataError(f"{path} has a damaged header; {_COPY}.")
    return start, start + body


def _parts(content: bytes, start: int, path: Path) -> tuple[list[bytes], list[int]]:
    """All parts that are there whole, and where each ends."""
    parts, ends = [], []
    while (found := unpack_length(content, start)) is not None and found[1] + _CHECKSUM.size <= len(content):
        length, start = found
        (checksum,) = _CHECKSUM.unpack_from(content, start)
        start += _CHECKSUM.size
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
    decoder = zlib.decompressobj(wbits=-zlib.MAX_WBITS, zdict=_USUAL)
    try:
        said = json.loads(decoder.decompress(part, _LONGEST_FACTS))
        facts, count = said["facts"], said["parts"]
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} does not say what it holds; {_COPY}.") from error
    if not isinstance(facts, dict) or not isinstance(count, int) or count < 1:
        raise DataError(f"{path} does not say what it holds; {_COPY}.")
    return facts, count
