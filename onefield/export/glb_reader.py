"""Binary glTF 2.0: reading the triangles of a scene, turned back to z up."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from onefield.errors import DataError
from onefield.export.arrays import check_faces, mesh_from_arrays
from onefield.types import Mesh

MAGIC = b"glTF"
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
UNSIGNED_SHORT, UNSIGNED_INT, FLOAT = 5123, 5125, 5126
TRIANGLES = 4
# (x, y, z) to (x, z, -y)
Y_UP_FROM_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", UNSIGNED_SHORT: "<u2", UNSIGNED_INT: "<u4", FLOAT: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
# extensions without which the geometry can still be read as it is
_HARMLESS = frozenset({"KHR_materials_unlit", "KHR_texture_transform", "KHR_mesh_quantization"})


def read(content: bytes, path: Path) -> Mesh:
    """Reads all triangles of the default scene under their nodes' transforms, as one mesh."""
    document, binary = read_chunks(content, path)
    unknown = sorted(set(document.get("extensionsRequired", [])) - _HARMLESS)
    if unknown:
        raise DataError(f"{path} needs the glTF extensions {', '.join(unknown)}, which are not read; export it plain.")
    parts = []
    for node, transform in placed_nodes(document, path):
        if "mesh" in node:
            for primitive in document["meshes"][node["mesh"]]["primitives"]:
                parts.append(_part(document, binary, primitive, transform, path))
    if not parts:
        raise DataError(f"{path} has no triangles in its scene.")
    firsts = np.cumsum([0] + [len(positions) for positions, *_ in parts[:-1]])
    faces = np.concatenate([part[1] + first for part, first in zip(parts, firsts, strict=True)])
    colors, normals = (
        None if any(part[n] is None for part in parts) else np.concatenate([part[n] for part in parts]) for n in (2, 3)
    )
    return mesh_from_arrays(np.concatenate([part[0] for part in parts]), faces, colors, normals)


def srgb_from_linear(colors: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, encoding."""
    return np.where(colors <= 0.0031308, colors * 12.92, 1.055 * np.maximum(colors, 0) ** (1 / 2.4) - 0.055)


def read_chunks(content: bytes, path: Path) -> tuple[dict, bytes]:
    """The document of a GLB file and its binary chunk.

    Raises:
        DataError: the file is of another kind or version, or cut short.
    """
    if content[:4] != MAGIC:
        raise DataError(f"{path} is no GLB file: it does not begin with 'glTF'.")
    version, length = struct.unpack_from("<II", content, 4)
    if version != 2 or length != len(content):
        raise DataError(
            f"{path} says that it is glTF {version} of {length} bytes, but it has {len(content)} bytes and only "
            "version 2 is read; it may be cut short."
        )
    chunks, offset = {}, 12
    while offset < length:
        size, kind = struct.unpack_from("<II", content, offset)
        if offset + 8 + size > length:
            raise DataError(f"{path} has a chunk that ends beyond the file; it is cut short.")
        chunks.setdefault(kind, content[offset + 8 : offset + 8 + size])
        offset += 8 + size
    document = json.loads(chunks[JSON_CHUNK])
    if not isinstance(document, dict):
        raise DataError(f"{path} has no JSON object in its first chunk; write it again.")
    return document, chunks.get(BINARY_CHUNK, b"")


def placed_nodes(document: dict, path: Path) -> list[tuple[dict, np.ndarray]]:
    """Nodes of the default scene with their transforms to the z-up world."""
    nodes = document.get("nodes", [])
    scene = document["scenes"][document.get("scene", 0)]
    waiting = [(number, Y_UP_FROM_Z_UP.T) for number in scene.get("nodes", [])]
    placed: list[tuple[dict, np.ndarray]] = []
    seen: set[int] = set()
    while waiting:
        number, parent = waiting.pop()
        if number in seen:
            raise DataError(f"{path} has nodes that are children of more than one node; write it again.")
        node = nodes[_index(number)]
        seen.add(number)
        transform = parent @ _local_transform(node)
        placed.append((node, transform))
        waiting.extend((child, transform) for child in reversed(node.get("children", [])))
    return placed


def _local_transform(node: dict) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), dtype=np.float64)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    transform = np.eye(4)
    transform[:3, :3] = rotation * np.array(node.get("scale", [1, 1, 1]), dtype=np.float64)
    transform[:3, 3] = node.get("translation", [0, 0, 0])
    return transform


def _part(document: dict, binary: bytes, primitive: dict, transform: np.ndarray, path: Path):
    """Positions, faces, colours and normals of one primitive."""
    if primitive.get("mode", TRIANGLES) != TRIANGLES:
        raise DataError(f"{path} holds strips, lines or points (mode {primitive['mode']}); only triangles are read.")
    attributes = primitive["attributes"]
    linear = transform[:3, :3]
    positions = read_accessor(document, binary, attributes["POSITION"]) @ linear.T + transform[:3, 3]
    if "indices" in primitive:
        faces = read_accessor(document, binary, primitive["indices"]).astype(np.int64)
    else:
        faces = np.arange(len(positions))
    faces = faces.reshape(-1, 3)
    check_faces(faces, len(positions))
    if np.linalg.det(linear) < 0:
        faces = faces[:, ::-1]
    colors = normals = None
    if "COLOR_0" in attributes:
        colors = srgb_from_linear(read_accessor(document, binary, attributes["COLOR_0"])[:, :3])
    if "NORMAL" in attributes:
        normals = read_accessor(document, binary, attributes["NORMAL"]) @ np.linalg.pinv(linear)
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    if any(values is not None and len(values) != len(positions) for values in (colors, normals)):
        raise ValueError("its attributes have different counts")
    return positions, faces, colors, normals


def read_accessor(document: dict, binary: bytes, number: int) -> np.ndarray:
    """Values as float64 (integers scaled to [0, 1] or [-1, 1] where they are normalised)."""
    accessor = document["accessors"][_index(number)]
    if "sparse" in accessor or "bufferView" not in accessor:
        raise ValueError("sparse accessors are not read")
    view = document["bufferViews"][_index(accessor["bufferView"])]
    if view["buffer"] != 0 or "uri" in document["buffers"][0]:
        raise ValueError("buffers outside the file are not read")
    dtype, width, count = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[accessor["type"]], accessor["count"]
    stride = view.get("byteStride", dtype.itemsize * width)
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    end = start + (count - 1) * stride + dtype.itemsize * width
    if min(start, count - 1, stride - dtype.itemsize * width) < 0 or end > len(binary):
        raise ValueError(f"accessor {number} reaches beyond the file")
    values = np.ndarray((count, width), dtype, binary, start, (stride, dtype.itemsize)).astype(np.float64)
    if accessor.get("normalized", False):
        values = np.maximum(values / np.iinfo(dtype).max, -1)
    return values


def _index(number: int) -> int:
    """Refuses what Python would count from the end."""
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"an index is {number!r}")
    return number
