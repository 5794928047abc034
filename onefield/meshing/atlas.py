"""A place in a square picture for each face of a mesh, by the library xatlas."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.extras import extra_library
from onefield.types import Mesh

# Fewer pixels hold no picture of a surface; more are 200 MB a picture, and more than graphics cards take.
SMALLEST_TEXTURE, LARGEST_TEXTURE = 64, 8192
# Pixels between charts: a picture that is halved three times still keeps them apart.
PADDING = 8
# Padding takes no more than this share of a chart's side in small pictures of many charts.
_PADDED_SHARE = 256


def unwrap(mesh: Mesh, size: int) -> Float[Tensor, "F 3 2"]:
    """Cuts a surface into charts, flattens them and packs them into a square.

    Args:
        mesh: manifold; its faces stay as they are, seams are only in the coordinates.
        size: of the picture's sides in pixels, which charts are kept apart by.

    Returns:
        For each corner of each face a place in [0, 1]^2, x to the right and y down, float32, on the CPU.

    Raises:
        UsageError: the size is outside [64, 8192].
        DataError: there is no face.
        ResourceError: xatlas is not installed.
    """
    if not SMALLEST_TEXTURE <= size <= LARGEST_TEXTURE:
        raise UsageError(f"A texture has {SMALLEST_TEXTURE} to {LARGEST_TEXTURE} pixels along a side, got {size}.")
    if not mesh.faces.shape[0]:
        raise DataError("The mesh has no faces, so there is nothing to put a texture on; extract at another isovalue.")
    xatlas = unwrapping_library()
    vertices = mesh.vertices.detach().double().cpu().numpy()
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centered = (vertices - (low + high) / 2) / max(float((high - low).max()), np.finfo(np.float64).tiny)
    atlas = xatlas.Atlas()
    atlas.add_mesh(
        np.ascontiguousarray(centered, dtype=np.float32), np.ascontiguousarray(mesh.faces.cpu(), dtype=np.uint32)
    )
    packing = xatlas.PackOptions()
    packing.resolution, packing.bilinear = size, True
    # turning charts by a quarter exchanges x and y, which mirrors them
    packing.rotate_charts = False
    packing.padding = max(1, min(PADDING, size // _PADDED_SHARE))
    flattening = xatlas.ChartOptions()
    flattening.fix_winding = True
    atlas.generate(flattening, packing)
    _, faces, coordinates = atlas[0]
    # the library's picture is not quite square: both of its sides are stretched to ours; there y runs up
    places = coordinates.astype(np.float64) * (1, -1) + (0, 1)
    return torch.from_numpy(places[faces.reshape(-1, 3).astype(np.int64)].astype(np.float32)).clamp(0, 1)


def unwrapping_library() -> ModuleType:
    """xatlas, which unwraps surfaces.

    Raises:
        ResourceError: it is not installed.
    """
    return extra_library("xatlas", "mesh", "A texture", ", or export without one")
