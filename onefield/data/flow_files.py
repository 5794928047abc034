"""Optical flow between photos as files: where each pixel of one photo is to be found in another.

One NumPy archive a pair, ``A--B.npz`` for the way from the photo A to the photo B (names without folder and suffix):

- ``flow``: ``h w 2`` numbers: what to add to a pixel's column and row to get to where B shows the same point, in pixels
  of this array; it may be smaller or larger than the photo, but shows all of it;
- ``valid``: ``h w``, true where the flow is to be believed (both photos see the point); without it, wherever the flow
  is finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.data.arrays import load_npz
from onefield.data.dataset_paths import is_file
from onefield.errors import DataError

FOLDER = "flow"
"""Where files of flow lie, in a dataset's folder."""


@dataclass(frozen=True)
class Flow:
    """Where pixels of one photo are in another.

    Attributes:
        positions: in the other photo, as shares of its width and height; the middle of its first pixel is
            ``(0.5 / width, 0.5 / height)``.
        valid: where that is known; positions may lie outside of the other photo.
    """

    positions: Float[Tensor, "H W 2"]
    valid: Bool[Tensor, "H W"]


def flow_path(folder: Path, first: str, second: str) -> Path:
    """The file of the flow from one image to another, by the names that the dataset gives them."""
    return folder / f"{PurePosixPath(first).stem}--{PurePosixPath(second).stem}.npz"


def read_flow(path: Path, width: int, height: int) -> Flow | None:
    """The flow from a photo of this size; None where there is no such file.

    Raises:
        DataError: damaged, or of another shape than described above.
    """
    if not is_file(path):
        return None
    arrays = load_npz(path)
    if "flow" not in arrays:
        raise DataError(f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}, but no array 'flow'; name it so.")
    flow = arrays["flow"]
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind != "f":
        raise DataError(
            f"{path}: 'flow' has shape {flow.shape} of {flow.dtype}; write height x width x 2 floating-point numbers."
        )
    valid = arrays.get("valid", np.ones(flow.shape[:2], dtype=bool))
    if valid.shape != flow.shape[:2]:
        raise DataError(f"{path}: 'valid' has shape {valid.shape}, but 'flow' is {flow.shape[0]} x {flow.shape[1]}.")
    # the photo's pixels take the nearest number
    down = ((np.arange(height) + 0.5) * flow.shape[0] / height).astype(np.int64)
    across = ((np.arange(width) + 0.5) * flow.shape[1] / width).astype(np.int64)
    chosen = (down[:, None], across[None, :])
    moved = flow[chosen].astype(np.float64) / [flow.shape[1], flow.shape[0]]
    known = valid[chosen].astype(bool) & np.isfinite(moved).all(-1)
    own = np.stack(np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height), -1)
    positions = np.where(known[..., None], own + moved, 0.0)
    return Flow(torch.from_numpy(positions.astype(np.float32)), torch.from_numpy(known))
