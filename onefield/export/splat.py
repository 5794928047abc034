"""Gaussians as ``.splat``: 32 bytes each without a header, colours without direction, for viewers in browsers.

Position and linear scale as float32, colour and opacity as 8 bits, the unit quaternion wxyz as ``128 + 128 q``; the
largest and most opaque come first, so that a picture appears while the file still loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch.nn import functional

from onefield.errors import DataError
from onefield.fields.gaussians import CONSTANT_HARMONIC
from onefield.types import Gaussians

_RECORD = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("rotation", "u1", 4)])
# 8 bits hold no opacity between 0 and 1/255; the half step keeps logits finite.
_HALF_STEP = 0.5 / 255


def write(gaussians: Gaussians, file: BinaryIO) -> tuple[str, ...]:
    """Sorted by opacity times volume, falling."""
    opacities = torch.sigmoid(gaussians.opacities.detach())
    order = (opacities.log() + gaussians.log_scales.detach().sum(1)).argsort(descending=True, stable=True)
    chosen = gaussians[order]
    records = np.zeros(len(chosen), dtype=_RECORD)
    colors = 0.5 + CONSTANT_HARMONIC * chosen.harmonics[0][:, 0]
    shown = torch.cat([colors, opacities[order][:, None]], dim=1).detach().clamp(0, 1)
    turned = functional.normalize(chosen.quaternions.detach(), dim=-1) * 128 + 128
    records["position"] = chosen.means.detach().numpy()
    records["scale"] = chosen.log_scales.detach().exp().numpy()
    records["color"] = (shown * 255).round().numpy().astype(np.uint8)
    records["rotation"] = turned.round().clamp(0, 255).numpy().astype(np.uint8)
    file.write(records.tobytes())
    notes = ["Colours and opacities are rounded to 8 bits, rotations to a hundredth."]
    if gaussians.degree:
        notes.append("The .splat format holds no colours that depend on direction; write .ply or .spz to keep them.")
    return tuple(notes)


def read(content: bytes, path: Path) -> Gaussians:
    """Colours of degree 0.

    Raises:
        DataError: the size is no multiple of 32 bytes.
    """
    if len(content) % _RECORD.itemsize:
        raise DataError(
            f"{path} has {len(content):,} bytes, which is no multiple of the {_RECORD.itemsize} of one Gaussian; it is "
            "cut short or no .splat file."
        )
    records = np.frombuffer(content, dtype=_RECORD)
    values = torch.from_numpy(records["color"].astype(np.float32) / 255)
    return Gaussians(
        torch.from_numpy(records["position"].copy()),
        torch.from_numpy(records["scale"].copy()).log(),
        torch.from_numpy((records["rotation"].astype(np.float32) - 128) / 128),
        torch.logit(values[:, 3].clamp(_HALF_STEP, 1 - _HALF_STEP)),
        (((values[:, :3] - 0.5) / CONSTANT_HARMONIC)[:, None],),
    )
