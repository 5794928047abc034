"""Binary glTF 2.0 (Khronos, ISO/IEC 12113): writing. Reading is `onefield.export.glb_reader`.

glTF is y up, so the mesh hangs below a node that turns z up to y up; positions that float32 would shift are stored
about the mesh's middle, and a second node, whose numbers are decimal, moves them back.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from onefield.export.arrays import color_array, face_array, needs_double, normal_array, vertex_array
from onefield.export.glb_buffers import Buffers, write_chunks
from onefield.export.glb_reader import (
    ELEMENT_ARRAY_BUFFER,
    FLOAT,
    TRIANGLES,
    UNSIGNED_INT,
    UNSIGNED_SHORT,
    Y_UP_FROM_Z_UP,
    read,
)
from onefield.types import Mesh

__all__ = ["read", "write"]


def write(mesh: Mesh, file: BinaryIO) -> tuple[str, ...]:
    """One mesh with positions, and normals and linear 16-bit colours where the mesh has them.

    Coloured meshes are marked unlit (KHR_materials_unlit), since their colours already hold the scene's light.
    """
    positions = vertex_array(mesh)
    offset = (positions.min(axis=0) + positions.max(axis=0)) / 2 if needs_double(positions) else np.zeros(3)
    buffers = Buffers()
    attributes = {"POSITION": buffers.add((positions - offset).astype("<f4"), "VEC3", FLOAT, with_range=True)}
    normals, colors = normal_array(mesh), color_array(mesh)
    if normals is not None:
        attributes["NORMAL"] = buffers.add(normals.astype("<f4"), "VEC3", FLOAT)
    if colors is not None:
        # glTF's vertex colours are linear and aligned to four bytes, hence the opaque fourth channel
        linear = np.ones((len(colors), 4))
        linear[:, :3] = linear_from_srgb(colors)
        attributes["COLOR_0"] = buffers.add(np.rint(linear * 65535).astype("<u2"), "VEC4", UNSIGNED_SHORT)
    indices = buffers.add(
        face_array(mesh).astype("<u4").reshape(-1), "SCALAR", UNSIGNED_INT, target=ELEMENT_ARRAY_BUFFER
    )
    nodes = [
        {"name": "z up to y up", "matrix": Y_UP_FROM_Z_UP.T.reshape(-1).tolist(), "children": [1]},
        {"name": "mesh", "mesh": 0},
    ]
    if offset.any():
        nodes[1]["translation"] = offset.tolist()
    material: dict = {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}
    primitive = {"attributes": attributes, "indices": indices, "mode": TRIANGLES, "material": 0}
    document = {
        "asset": {"version": "2.0", "generator": "Onefield"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "meshes": [{"primitives": [primitive]}],
        "materials": [material],
        "accessors": buffers.accessors,
        "bufferViews": buffers.views,
        "buffers": [{"byteLength": buffers.length}],
    }
    if colors is not None:
        material["extensions"] = {"KHR_materials_unlit": {}}
        document["extensionsUsed"] = ["KHR_materials_unlit"]
    write_chunks(file, document, buffers)
    return ()


def linear_from_srgb(colors: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, decoding."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
