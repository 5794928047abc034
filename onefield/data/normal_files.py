"""Normal maps as files store them: what surfaces look like turned, pixel by pixel, as predictors of normals write it.

Vectors have unit length and the camera's axes as ``transforms.json`` has them (OpenGL): x right, y up, z towards the
camera, so that a wall that faces the camera is (0, 0, 1). Pictures of 8 bits hold ``(n + 1) / 2`` (that wall is light
blue); NumPy arrays hold height x width x 3 floating-point numbers as they are. Where a vector is far from unit length,
or not finite, nothing is known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from onefield.data.arrays import load_npy
from onefield.data.images import decode
from onefield.errors import DataError

# Rounding to 8 bits changes a length by 0.007 at most; grey, black and white, which pictures hold for "unknown", have
# lengths of 0 and 1.7. Averages of two normals 80 degrees apart are as short as this allows.
_LENGTH_TOLERANCE = 0.25


def read_normals(path: Path) -> Float[np.ndarray, "h w 3"]:
    """Unit vectors in the camera's axes (x right, y up, z towards the camera); NaN where nothing is known.

    Raises:
        DataError: missing, damaged, of another shape, or without a single unit vector.
    """
    if path.suffix.lower() == ".npy":
        vectors = load_npy(path)
        if vectors.ndim != 3 or vectors.shape[2] != 3 or vectors.dtype.kind != "f":
            raise DataError(
                f"{path} has shape {vectors.shape} of {vectors.dtype}; write a normal map as height x width x 3 "
                "floating-point numbers."
            )
        vectors = vectors.astype(np.float32)
    else:
        vectors = decode(path)[..., :3].astype(np.float32) / 127.5 - 1
    lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(-1))
    # comparisons with NaN and infinity are false
    known = np.abs(lengths - 1) <= _LENGTH_TOLERANCE
    if not known.any():
        finite = lengths[np.isfinite(lengths)]
        usual = f"of usual length {np.median(finite):.3g}" if len(finite) else "that are not finite"
        raise DataError(
            f"{path} holds only vectors {usual}; write unit vectors, (n + 1) / 2 in a picture of 8 bits or n itself in "
            "a NumPy array."
        )
    held = np.where(known, lengths, 1.0)[..., None]
    return np.where(known[..., None], vectors / held, np.nan).astype(np.float32)
