"""Binary glTF 2.0: the binary chunk as it is filled, and both chunks on their way into a file."""

from __future__ import annotations

import json
import struct
from typing import BinaryIO

import numpy as np

from onefield.errors import DataError
from onefield.export.glb_reader import ARRAY_BUFFER, BINARY_CHUNK, JSON_CHUNK, MAGIC

# lengths in a GLB are 32-bit
_LARGEST = 2**32 - 1


class Buffers:
    """The binary chunk as it grows; every part is a multiple of four bytes.

    Attributes:
        parts: the arrays in order.
        views: the document's buffer views.
        accessors: the document's accessors.
        length: bytes so far.
    """

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.views: list[dict] = []
        self.accessors: list[dict] = []
        self.length = 0

    def add(
        self, array: np.ndarray, kind: str, component: int, with_range: bool = False, target: int = ARRAY_BUFFER
    ) -> int:
        """Appends an array and returns the number of its accessor.

        Args:
            array: of little-endian numbers.
            kind: "SCALAR" or "VEC2" to "VEC4".
            component: number of the component's type.
            with_range: record the least and the largest values, as positions must.
            target: what the view is bound to.
        """
        view = {"buffer": 0, "byteOffset": self.length, "byteLength": array.nbytes, "target": target}
        accessor = {"bufferView": len(self.views), "componentType": component, "count": len(array), "type": kind}
        if with_range:
            accessor["min"], accessor["max"] = array.min(axis=0).tolist(), array.max(axis=0).tolist()
        self.parts.append(array)
        self.views.append(view)
        self.accessors.append(accessor)
        self.length += array.nbytes
        return len(self.accessors) - 1

    def add_file(self, content: bytes) -> int:
        """Appends a file, such as a picture, and returns the number of its view."""
        view = {"buffer": 0, "byteOffset": self.length, "byteLength": len(content)}
        padded = np.frombuffer(content + bytes(-len(content) % 4), dtype=np.uint8)
        self.parts.append(padded)
        self.views.append(view)
        self.length += padded.nbytes
        return len(self.views) - 1


def write_chunks(file: BinaryIO, document: dict, buffers: Buffers) -> None:
    """Writes header, document and binary chunk.

    Raises:
        DataError: more bytes than a GLB holds.
    """
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + buffers.length
    if total > _LARGEST:
        raise DataError(
            f"A GLB of {total:,} bytes is asked for, but it holds at most {_LARGEST:,}: write less, or .ply."
        )
    file.write(MAGIC + struct.pack("<II", 2, total))
    file.write(struct.pack("<II", len(text), JSON_CHUNK) + text)
    file.write(struct.pack("<II", buffers.length, BINARY_CHUNK))
    for part in buffers.parts:
        file.write(part.tobytes())
