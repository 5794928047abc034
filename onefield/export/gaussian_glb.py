"""Gaussians as binary glTF 2.0 with the extension KHR_gaussian_splatting (ratified by Khronos in 2026).

Each is a point with its scale, opacity, unit quaternion xyzw and harmonics as attributes; readers without the extension
show points in the colours of degree 0. glTF is y up, so the points hang below a node that turns z up to y up.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onefield.errors import DataError
from onefield.export.glb import linear_from_srgb
from onefield.export.glb_buffers import Buffers, write_chunks
from onefield.export.glb_reader import (
    FLOAT,
    Y_UP_FROM_Z_UP,
    placed_nodes,
    read_accessor,
    read_chunks,
)
from onefield.fields.gaussian_frames import moved_gaussians
from onefield.fields.gaussian_sets import merged_gaussians, with_degree
from onefield.fields.gaussians import CONSTANT_HARMONIC
from onefield.kernels.harmonic_colors import MOST_DEGREE
from onefield.types import Gaussians

EXTENSION = "KHR_gaussian_splatting"
POINTS = 0
# Opacities of exactly 0 or 1 have no finite logit: what float32 can tell from them.
_OPACITY_STEP = 2.0**-24
# A node that stretches less than this is one that turns and scales evenly, up to rounding.
_EVEN = 1e-4


def write(gaussians: Gaussians, file: BinaryIO) -> tuple[str, ...]:
    """float32 throughout; colours are those of a display (sRGB with the primaries of BT.709)."""
    buffers = Buffers()

    def floats(values: Tensor, kind: str, with_range: bool = False) -> int:
        return buffers.add(values.detach().cpu().numpy().astype("<f4"), kind, FLOAT, with_range)

    opacities = torch.sigmoid(gaussians.opacities.detach())
    turned = functional.normalize(gaussians.quaternions.detach().double(), dim=-1)
    attributes = {
        "POSITION": floats(gaussians.means, "VEC3", with_range=True),
        "COLOR_0": buffers.add(_point_colors(gaussians, opacities), "VEC4", FLOAT),
        f"{EXTENSION}:ROTATION": floats(turned[:, [1, 2, 3, 0]], "VEC4"),
        f"{EXTENSION}:SCALE": floats(gaussians.log_scales.exp(), "VEC3"),
        f"{EXTENSION}:OPACITY": floats(opacities, "SCALAR"),
    }
    for degree, band in enumerate(gaussians.harmonics):
        for number in range(band.shape[1]):
            attributes[_harmonic(degree, number)] = floats(band[:, number], "VEC3")
    primitive = {
        "attributes": attributes,
        "mode": POINTS,
        "extensions": {
            EXTENSION: {
                "kernel": "ellipse",
                "colorSpace": "srgb_rec709_display",
                "projection": "perspective",
                "sortingMethod": "cameraDistance",
            }
        },
    }
    document = {
        "asset": {"version": "2.0", "generator": "Onefield"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": "z up to y up", "matrix": Y_UP_FROM_Z_UP.T.reshape(-1).tolist(), "children": [1]},
            {"name": "gaussians", "mesh": 0},
        ],
        "meshes": [{"primitives": [primitive]}],
        "accessors": buffers.accessors,
        "bufferViews": buffers.views,
        "buffers": [{"byteLength": buffers.length}],
    }
    write_chunks(file, document, buffers)
    return ()


def read(content: bytes, path: Path) -> Gaussians:
    """All sets of the default scene under their nodes' transforms, z up, with as many harmonics as the best of them.

    Raises:
        DataError: no set, another kernel or colour space, an attribute missing, or a node that stretches unevenly.
    """
    document, binary = read_chunks(content, path)
    parts = []
    for node, transform in placed_nodes(document, path):
        primitives = document["meshes"][node["mesh"]]["primitives"] if "mesh" in node else []
        for primitive in primitives:
            if EXTENSION in primitive.get("extensions", {}):
                parts.append(_placed(_set(document, binary, primitive, path), transform, path))
    if not parts:
        raise DataError(f"{path} holds no set of Gaussians ({EXTENSION}); if it is a mesh, open it as such.")
    degree = max(part.degree for part in parts)
    return merged_gaussians([with_degree(part, degree) for part in parts])


def _set(document: dict, binary: bytes, primitive: dict, path: Path) -> Gaussians:
    stated = primitive["extensions"][EXTENSION]
    for name, known in (("kernel", "ellipse"), ("colorSpace", "srgb_rec709_display")):
        if stated.get(name, known) != known:
            raise DataError(f"{path} has Gaussians whose {name} is '{stated[name]}'; only '{known}' is read.")
    if len(stated.get("extensions", {})):
        raise DataError(f"{path} has Gaussians compressed by {', '.join(stated['extensions'])}; write it uncompressed.")
    attributes = primitive["attributes"]

    def values(name: str) -> Tensor:
        if name not in attributes:
            raise DataError(f"{path} has Gaussians without the attribute {name}; write it again.")
        return torch.from_numpy(read_accessor(document, binary, attributes[name])).float()

    degree = 0
    while degree < MOST_DEGREE and _harmonic(degree + 1, 0) in attributes:
        degree += 1
    bands = [
        torch.stack([values(_harmonic(band, number)) for number in range(2 * band + 1)], dim=1)
        for band in range(degree + 1)
    ]
    opacities = values(f"{EXTENSION}:OPACITY")[:, 0]
    return Gaussians(
        values("POSITION"),
        values(f"{EXTENSION}:SCALE").log(),
        values(f"{EXTENSION}:ROTATION")[:, [3, 0, 1, 2]],
        torch.logit(opacities.double().clamp(_OPACITY_STEP, 1 - _OPACITY_STEP)).float(),
        tuple(bands),
    )


def _placed(gaussians: Gaussians, transform: np.ndarray, path: Path) -> Gaussians:
    if np.array_equal(transform, np.eye(4)):
        return gaussians
    linear = torch.from_numpy(transform[:3, :3].copy())
    scale = float(torch.linalg.det(linear)) ** (1 / 3) if torch.linalg.det(linear) > 0 else 0.0
    if scale == 0 or float((linear @ linear.T / scale**2 - torch.eye(3)).abs().max()) > _EVEN:
        raise DataError(f"{path} has Gaussians below a node that mirrors or stretches them unevenly; apply it first.")
    return moved_gaussians(gaussians, scale, linear / scale, torch.from_numpy(transform[:3, 3].copy()))


def _harmonic(degree: int, number: int) -> str:
    return f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{number}"


def _point_colors(gaussians: Gaussians, opacities: Tensor) -> np.ndarray:
    shown = (0.5 + CONSTANT_HARMONIC * gaussians.harmonics[0].detach()[:, 0]).clamp(0, 1).cpu().double().numpy()
    colors = np.concatenate([linear_from_srgb(shown), opacities.cpu().double().numpy()[:, None]], axis=1)
    # programs misread those of 16 bits
    return colors.astype("<f4")
