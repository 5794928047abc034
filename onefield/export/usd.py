"""Universal Scene Description, text (.usda): one mesh under a root, with a UsdPreviewSurface. Reads what it writes.

Grammar and schemas after OpenUSD's documentation (UsdGeomMesh, UsdPreviewSurface); pictures lie beside the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from onefield.errors import DataError
from onefield.export.arrays import (
    Target,
    color_array,
    face_array,
    has_border,
    mesh_from_arrays,
    needs_double,
    normal_array,
    picture_beside,
    png,
    vertex_array,
)
from onefield.export.glb import linear_from_srgb
from onefield.export.glb_reader import srgb_from_linear
from onefield.files import write_atomically
from onefield.types import Mesh

# Tuples that are formatted at once: bounds the memory of the text.
_ROWS = 1 << 16
_HEADER = """#usda 1.0
(
    defaultPrim = "Root"
    doc = "written by Onefield"
    metersPerUnit = 1
    upAxis = "{up}"
)

def Xform "Root" (
    kind = "component"
)
{{
"""


def write(mesh: Mesh, file: BinaryIO, target: Target) -> tuple[str, ...]:
    """A polygonal mesh (no subdivision) with normals, linear colours or a texture where the mesh has them.

    A texture goes beside the file, as ``NAME-usda-color.png`` and ``NAME-usda-normals.png``. Positions that float32
    would shift are stored about the mesh's middle, which its transform, in double precision, moves back.
    """
    positions, faces = vertex_array(mesh), face_array(mesh)
    normals, colors = normal_array(mesh), color_array(mesh)
    offset = (positions.min(axis=0) + positions.max(axis=0)) / 2 if needs_double(positions) else np.zeros(3)
    stored = (positions - offset).astype(np.float32)
    surface = mesh.texture is not None or colors is not None
    file.write(_HEADER.format(up=target.up.upper()).encode())
    file.write(b'    def Mesh "Mesh"')
    file.write(b' (\n        prepend apiSchemas = ["MaterialBindingAPI"]\n    )\n    {\n' if surface else b"\n    {\n")
    low, high = (_tuple(corner) for corner in (stored.min(axis=0), stored.max(axis=0)))
    file.write(f"        float3[] extent = [{low}, {high}]\n".encode())
    _array(file, "int[] faceVertexCounts", np.full((len(faces), 1), 3))
    _array(file, "int[] faceVertexIndices", faces.reshape(-1, 1))
    _array(file, "point3f[] points", stored)
    if normals is not None:
        _array(file, "normal3f[] normals", normals, 'interpolation = "vertex"')
    if mesh.texture is not None:
        # here v grows upwards
        places = mesh.texture.coordinates.cpu().double().numpy().reshape(-1, 2) * (1, -1) + (0, 1)
        _array(file, "texCoord2f[] primvars:st", places, 'interpolation = "faceVarying"')
    elif colors is not None:
        _array(file, "color3f[] primvars:displayColor", linear_from_srgb(colors), 'interpolation = "vertex"')
    file.write(b'        uniform token subdivisionScheme = "none"\n')
    if has_border(faces):
        file.write(b"        uniform bool doubleSided = 1\n")
    if offset.any():
        numbers = ", ".join(f"{value:.17g}" for value in offset)
        file.write(f"        double3 xformOp:translate = ({numbers})\n".encode())
        file.write(b'        uniform token[] xformOpOrder = ["xformOp:translate"]\n')
    if surface:
        file.write(b"        rel material:binding = </Root/Material>\n    }\n\n")
        file.write(_material(mesh, target.path).encode())
    else:
        file.write(b"    }\n")
    file.write(b"}\n")
    return ()


def _array(file: BinaryIO, name: str, rows: np.ndarray, metadata: str = "") -> None:
    whole = np.issubdtype(rows.dtype, np.integer)
    number = "%d" if whole else "%.9g"
    row = number if rows.shape[1] == 1 else "(" + ", ".join([number] * rows.shape[1]) + ")"
    file.write(f"        {name} = [".encode())
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        text = ", ".join([row] * len(part)) % tuple(part.reshape(-1).tolist())
        file.write(((", " if first else "") + text).encode())
    file.write(f"]{' (' + metadata + ')' if metadata else ''}\n".encode())


def _tuple(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.9g}" for value in values.tolist()) + ")"


def _material(mesh: Mesh, path: Path) -> str:
    """The material, whose light is that of its colours; writes the pictures that it names beside the file."""
    shaders, inputs = [], ["float inputs:roughness = 1", "float inputs:metallic = 0", "color3f inputs:diffuseColor"]
    if mesh.texture is None:
        inputs[2] += ".connect = </Root/Material/Colors.outputs:result>"
        reader = ['string inputs:varname = "displayColor"', "color3f outputs:result"]
        shaders.append(("Colors", "UsdPrimvarReader_float3", reader))
    else:
        place = "float2 inputs:st.connect = </Root/Material/Places.outputs:result>"
        shaders.append(("Places", "UsdPrimvarReader_float2", ['string inputs:varname = "st"', "float2 outputs:result"]))
        pictures = [("Color", "color", mesh.texture.color, "sRGB", "diffuseColor", "color3f", [])]
        if mesh.texture.normals is not None:
            widened = ["float4 inputs:scale = (2, 2, 2, 1)", "float4 inputs:bias = (-1, -1, -1, 0)"]
            pictures.append(("Normals", "normals", mesh.texture.normals, "raw", "normal", "normal3f", widened))
            inputs.append("normal3f inputs:normal")
        for number, (name, word, pixels, space, slot, kind, more) in enumerate(pictures, start=2):
            file = picture_beside(path, word)
            write_atomically(file, png(pixels))
            # three signs around a name that has one
            mark = "@@@" if "@" in file.name else "@"
            lookup = [
                f"asset inputs:file = {mark}./{file.name}{mark}",
                f'token inputs:sourceColorSpace = "{space}"',
                place,
            ]
            wraps = [f'token inputs:wrap{axis} = "clamp"' for axis in "ST"]
            shaders.append((name, "UsdUVTexture", [*lookup, *wraps, *more, "float3 outputs:rgb"]))
            inputs[number] = f"{kind} inputs:{slot}.connect = </Root/Material/{name}.outputs:rgb>"
    shaders.insert(0, ("Surface", "UsdPreviewSurface", [*inputs, "token outputs:surface"]))
    text = '    def Material "Material"\n    {\n        token outputs:surface.connect = '
    text += "</Root/Material/Surface.outputs:surface>\n"
    for name, identity, lines in shaders:
        body = "".join(f"            {line}\n" for line in [f'uniform token info:id = "{identity}"', *lines])
        text += f'\n        def Shader "{name}"\n        {{\n{body}        }}\n'
    return text + "    }\n"


def read(content: bytes, path: Path) -> Mesh:
    """Reads the one mesh of a file that `write` made, or of another that is as plain, z up.

    Raises:
        DataError: the file is of another kind, or has none or several meshes, or polygons with more corners.
    """
    text = content.decode("utf-8")
    if not text.startswith("#usda"):
        raise DataError(f"{path} is no USD text file: it does not begin with '#usda'; convert it with usdcat.")
    if not text.endswith("}\n") or text.count("{") != text.count("}") or len(re.findall(r'def Mesh "', text)) != 1:
        raise DataError(f"{path} is cut short or does not hold exactly one mesh; write it again.")
    counts, indices = _numbers(text, "int[] faceVertexCounts"), _numbers(text, "int[] faceVertexIndices")
    points = _numbers(text, "point3f[] points")
    if counts is None or indices is None or points is None:
        raise DataError(f"{path} has a mesh without points or faces; write it again.")
    if (counts != 3).any() or len(indices) != counts.sum():
        raise DataError(f"{path} has faces that are no triangles, or too few corners; triangulate it first.")
    colors, normals = _numbers(text, "color3f[] primvars:displayColor"), _numbers(text, "normal3f[] normals")
    positions = points.reshape(-1, 3)
    moved = re.search(r"double3 xformOp:translate = \(([^)]*)\)", text)
    if moved is not None:
        positions = positions + np.array(moved[1].split(","), dtype=np.float64)
    attributes = [None if values is None else values.reshape(-1, 3) for values in (colors, normals)]
    if any(values is not None and len(values) != len(positions) for values in attributes):
        raise ValueError("its attributes have different counts")
    if re.search(r'upAxis = "Z"', text) is None:
        # (x, y, z), y up, is (x, -z, y), z up
        positions = positions[:, [0, 2, 1]] * (1, -1, 1)
        attributes[1] = None if attributes[1] is None else attributes[1][:, [0, 2, 1]] * (1, -1, 1)
    colors = None if attributes[0] is None else srgb_from_linear(attributes[0])
    return mesh_from_arrays(positions, indices.astype(np.int64).reshape(-1, 3), colors, attributes[1])


def _numbers(text: str, name: str) -> np.ndarray | None:
    begun = text.find(f"{name} = [")
    if begun < 0:
        return None
    first = begun + len(name) + 4
    plain = text[first : text.index("]", first)].translate(str.maketrans("(),", "   "))
    return np.array(plain.split(), dtype=np.float64)
