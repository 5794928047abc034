"""Gaussians as PLY with the attributes of Kerbl et al. (2023): what most tools exchange; nothing is lost.

Higher harmonics lie channel by channel: all of red, then all of green, then all of blue.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from onefield.errors import DataError
from onefield.export.ply import vertex_columns
from onefield.types import Gaussians

_POSITION = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_CONSTANT = ("f_dc_0", "f_dc_1", "f_dc_2")
_SCALE = ("scale_0", "scale_1", "scale_2")
_ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")
# Higher coefficients of three channels, and the degree that they make.
_DEGREES = {0: 0, 9: 1, 24: 2, 45: 3}


def write(gaussians: Gaussians, file: BinaryIO) -> tuple[str, ...]:
    """Binary little-endian float32, in the usual order, normals zero as everywhere."""
    count = len(gaussians)
    higher = torch.cat(gaussians.harmonics[1:], dim=1) if gaussians.degree else torch.zeros(count, 0, 3)
    rest = higher.mT.reshape(count, -1)
    parts = {
        _POSITION: gaussians.means,
        _NORMAL: torch.zeros(count, 3),
        _CONSTANT: gaussians.harmonics[0][:, 0],
        tuple(f"f_rest_{k}" for k in range(rest.shape[1])): rest,
        ("opacity",): gaussians.opacities[:, None],
        _SCALE: gaussians.log_scales,
        _ROTATION: gaussians.quaternions,
    }
    names = [name for part in parts for name in part]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header += [*(f"property float {name}" for name in names), "end_header\n"]
    table = torch.cat([values.detach().cpu().float() for values in parts.values()], dim=1)
    file.write("\n".join(header).encode())
    file.write(table.numpy().astype("<f4", copy=False).tobytes())
    return ()


def read(content: bytes, path: Path) -> Gaussians:
    """By the properties' names, in any order, byte order or as text; properties of other names are passed over.

    Raises:
        DataError: properties are missing, or higher harmonics are not those of a whole degree.
    """
    columns = vertex_columns(content, path)
    needed = (*_POSITION, *_CONSTANT, "opacity", *_SCALE, *_ROTATION)
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DataError(
            f"{path} lacks the properties {', '.join(missing)} of a set of Gaussians; if it is a mesh or points, open "
            "it as such."
        )
    rest = sum(name.startswith("f_rest_") for name in columns)
    if rest not in _DEGREES or any(f"f_rest_{k}" not in columns for k in range(rest)):
        raise DataError(
            f"{path} has {rest} properties f_rest_*, but harmonics of whole degrees have 0, 9, 24 or 45, numbered from "
            "0; write it again."
        )

    def stacked(*names: str) -> Tensor:
        return torch.from_numpy(np.stack([columns[name].astype(np.float32) for name in names], axis=-1))

    bands = [stacked(*_CONSTANT)[:, None]]
    if rest:
        higher = stacked(*(f"f_rest_{k}" for k in range(rest))).unflatten(1, (3, -1)).mT
        bands += higher.contiguous().split([2 * band + 1 for band in range(1, _DEGREES[rest] + 1)], dim=1)
    return Gaussians(
        stacked(*_POSITION),
        stacked(*_SCALE),
        stacked(*_ROTATION),
        stacked("opacity")[:, 0],
        tuple(band.contiguous() for band in bands),
    )
