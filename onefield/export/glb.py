"""Binary glTF 2.0 (Khronos, ISO/IEC 12113): writing. Reading is `onefield.export.glb_reader`.

glTF is y up, so the mesh hangs below a node that turns z up to y up; positions that float32 would shift are stored
about the mesh's middle, and a second node, whose numbers are decimal, moves them back.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from onefield.export.arrays import (
    Target,
    color_array,
    face_array,
    has_border,
    needs_double,
    normal_array,
    png,
    vertex_array,
)
from onefield.export.glb_buffers import Buffers, write_chunks
from onefield.export.glb_reader import (
    ELEMENT_ARRAY_BUFFER,
    FLOAT,
    TRIANGLES,
    UNSIGNED_INT,
    Y_UP_FROM_Z_UP,
    read,
)
from onefield.types import Mesh, Texture

__all__ = ["read", "write"]

# how pictures are looked up between and beyond their pixels
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071


def write(mesh: Mesh, file: BinaryIO, target: Target) -> tuple[str, ...]:
    """One mesh with positions, and normals and linear colours, or a texture, where the mesh has them.

    Coloured meshes are marked unlit (KHR_materials_unlit), since their colours already hold the scene's light; those
    with a normal map are not, since it tells how light falls. Both sides are shown of surfaces that are open.
    """
    del target
    faces, open_surface = face_array(mesh), has_border(face_array(mesh))
    corners, attributes_of = np.arange(len(mesh.vertices)), {}
    if mesh.texture is not None:
        corners, faces, attributes_of = _split_at_seams(faces, mesh.texture)
    positions, normals, colors = vertex_array(mesh), normal_array(mesh), color_array(mesh)
    offset = (positions.min(axis=0) + positions.max(axis=0)) / 2 if needs_double(positions) else np.zeros(3)
    buffers = Buffers()
    stored = (positions - offset)[corners].astype("<f4")
    attributes = {"POSITION": buffers.add(stored, "VEC3", FLOAT, with_range=True)}
    if normals is not None:
        attributes["NORMAL"] = buffers.add(normals[corners].astype("<f4"), "VEC3", FLOAT)
    for name, values in attributes_of.items():
        attributes[name] = buffers.add(values.astype("<f4"), f"VEC{values.shape[1]}", FLOAT)
    if colors is not None and mesh.texture is None:
        # glTF's vertex colours are linear, of which 8 bits are too few in the dark, and programs misread 16
        attributes["COLOR_0"] = buffers.add(linear_from_srgb(colors).astype("<f4"), "VEC3", FLOAT)
    indices = buffers.add(faces.astype("<u4").reshape(-1), "SCALAR", UNSIGNED_INT, target=ELEMENT_ARRAY_BUFFER)
    nodes = [
        {"name": "z up to y up", "matrix": Y_UP_FROM_Z_UP.T.reshape(-1).tolist(), "children": [1]},
        {"name": "mesh", "mesh": 0},
    ]
    if offset.any():
        nodes[1]["translation"] = offset.tolist()
    document = {
        "asset": {"version": "2.0", "generator": "Onefield"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "mode": TRIANGLES, "material": 0}]}],
    }
    document |= _appearance(mesh, buffers, open_surface)
    document |= {
        "accessors": buffers.accessors,
        "bufferViews": buffers.views,
        "buffers": [{"byteLength": buffers.length}],
    }
    write_chunks(file, document, buffers)
    return ()


def _split_at_seams(faces: np.ndarray, texture: Texture) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """A vertex for each place that a vertex has in the texture: whose it is, the faces, and the attributes."""
    coordinates = texture.coordinates.cpu().double().numpy().reshape(-1, 2)
    keys = np.concatenate([faces.reshape(-1, 1), coordinates], axis=1)
    _, first, numbers = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    attributes = {"TEXCOORD_0": coordinates[first]}
    if texture.tangents is not None:
        attributes["TANGENT"] = texture.tangents.cpu().double().numpy().reshape(-1, 4)[first]
    return faces.reshape(-1)[first], numbers.reshape(-1, 3), attributes


def _appearance(mesh: Mesh, buffers: Buffers, open_surface: bool) -> dict:
    """The document's material, with the pictures that it takes."""
    surface: dict = {"metallicFactor": 0, "roughnessFactor": 1}
    material: dict = {"pbrMetallicRoughness": surface}
    document: dict = {"materials": [material]}
    if open_surface:
        material["doubleSided"] = True
    pictures = []
    if mesh.texture is not None:
        pictures.append(mesh.texture.color)
        surface["baseColorTexture"] = {"index": 0}
        if mesh.texture.normals is not None:
            pictures.append(mesh.texture.normals)
            material["normalTexture"] = {"index": 1}
    if pictures:
        views = [buffers.add_file(png(picture)) for picture in pictures]
        document["images"] = [{"bufferView": view, "mimeType": "image/png"} for view in views]
        document["textures"] = [{"sampler": 0, "source": number} for number in range(len(views))]
        document["samplers"] = [
            {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
        ]
    colored = mesh.colors is not None or mesh.texture is not None
    if colored and "normalTexture" not in material:
        material["extensions"] = {"KHR_materials_unlit": {}}
        document["extensionsUsed"] = ["KHR_materials_unlit"]
    return document


def linear_from_srgb(colors: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, decoding."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
