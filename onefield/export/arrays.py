"""Between the tensors of a mesh and the arrays of files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from onefield.types import Mesh

# A coordinate may move by this part of the mesh's longest side before float32 is called too coarse: a tenth of what is
# visible on a picture 10,000 pixels wide.
_VISIBLE_SHIFT = 1e-5
# Rounding moves a float32 by at most this part of its size.
_FLOAT32_ROUNDING = 2.0**-24


@dataclass(frozen=True)
class Target:
    """Where a mesh is being written.

    Attributes:
        path: the file; pictures that belong to it go beside it, under names that begin with its own.
        up: the axis of the mesh's coordinates that is up, "z" or "y".
    """

    path: Path
    up: str = "z"


def picture_beside(path: Path, shows: str) -> Path:
    """Where a picture that belongs to a file lies: ``mesh-obj-color.png`` for ``mesh.obj``.

    The suffix is in it, so that files of one stem, made in different ways perhaps, don't write over each other's.
    """
    return path.with_name(f"{path.stem}-{path.suffix[1:].lower()}-{shows}.png")


def vertex_array(mesh: Mesh) -> np.ndarray:
    """Positions as float64."""
    return mesh.vertices.detach().cpu().double().numpy()


def face_array(mesh: Mesh) -> np.ndarray:
    """Vertex indices as int64."""
    return mesh.faces.detach().cpu().numpy().astype(np.int64)


def normal_array(mesh: Mesh) -> np.ndarray | None:
    """Normals as float64, of unit length, as glTF demands; up where there is none."""
    if mesh.normals is None:
        return None
    normals = mesh.normals.detach().cpu().double()
    upwards = normals.new_tensor([0.0, 0.0, 1.0])
    normals = torch.where(normals.any(dim=1, keepdim=True), normals, upwards)
    return torch.nn.functional.normalize(normals, dim=1, eps=torch.finfo(torch.float64).tiny).numpy()


def color_array(mesh: Mesh) -> np.ndarray | None:
    """Colours in [0, 1], sRGB, float64."""
    return None if mesh.colors is None else mesh.colors.detach().cpu().double().clamp(0, 1).numpy()


def has_border(faces: np.ndarray) -> bool:
    """Whether some side belongs to one face alone, so that a surface's inside can be seen."""
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, uses = np.unique(sides[:, 0] * (sides.max() + 1) + sides[:, 1], return_counts=True)
    return bool((uses == 1).any())


def png(pixels: Tensor) -> bytes:
    """A picture of 8-bit values as the content of a PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels.cpu().numpy()).save(content, format="PNG")
    return content.getvalue()


def needs_double(positions: np.ndarray) -> bool:
    """Whether storing as float32 would shift a vertex visibly, compared with the longest side of the mesh."""
    if not len(positions):
        return False
    largest, side = float(np.abs(positions).max()), float(np.ptp(positions, axis=0).max())
    return largest * _FLOAT32_ROUNDING > _VISIBLE_SHIFT * side or largest > np.finfo(np.float32).max


def unit_colors(colors: np.ndarray) -> np.ndarray:
    """Colours in [0, 1] of a file that says no range: the largest tells whether they go to 1, to 255 or to 65535.

    Whole numbers go to 255 at least.
    """
    largest = np.nanmax(colors, initial=0)
    peaks = (255, 65535) if colors.dtype.kind in "iu" else (1, 255)
    return colors / next((peak for peak in peaks if largest <= peak), largest)


def mesh_from_arrays(
    positions: np.ndarray, faces: np.ndarray, colors: np.ndarray | None = None, normals: np.ndarray | None = None
) -> Mesh:
    """A mesh with float64 vertices where float32 would not do, and float32 attributes.

    What is no number is black among colours; normals with such are left out, as programs write them of faces without
    area.

    Raises:
        ValueError: a position is not finite, or a face names a vertex that is not there.
    """
    finite = np.isfinite(positions).all(axis=1)
    if not finite.all():
        raise ValueError(f"vertex {finite.argmin()} lies at {positions[finite.argmin()].tolist()}")
    check_faces(faces, len(positions))
    colors = None if colors is None else np.clip(np.nan_to_num(colors), 0, 1)
    normals = None if normals is None or not np.isfinite(normals).all() else normals
    dtype = np.float64 if needs_double(positions) else np.float32
    return Mesh(
        _tensor(positions.reshape(-1, 3), dtype),
        _tensor(faces.reshape(-1, 3), np.int64),
        colors=None if colors is None else _tensor(colors, np.float32),
        normals=None if normals is None else _tensor(normals, np.float32),
    )


def check_faces(faces: np.ndarray, count: int) -> None:
    """Raises ValueError where a face names a vertex outside ``0 .. count - 1``."""
    if faces.size and (faces.min() < 0 or faces.max() >= count):
        wrong = faces.min() if faces.min() < 0 else faces.max()
        raise ValueError(f"a face names vertex {wrong} of {count}")


def _tensor(array: np.ndarray, dtype: type) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=dtype, order="C"))
