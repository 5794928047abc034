"""The box that a run's export is cut to: in the file in the dataset's frame and units, in memory in the scene's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from onefield.data.scene import Similarity
from onefield.data.strict_json import read_json_object
from onefield.errors import DataError
from onefield.files import write_atomically
from onefield.types import Bounds

# of matrices written as decimal text
_ROTATION_TOLERANCE = 1e-3


def write_crop(path: Path, box: Bounds, transform: Similarity) -> None:
    """Writes a box of the scene's frame in the dataset's.

    The file's keys: ``center`` and ``size`` (dataset units) and ``axes``, a 3x3 matrix whose columns are the box's
    axes, which are the scene's: ``point = center + axes @ (size * share)`` with shares in [-0.5, 0.5].

    Raises:
        ResourceError: it can't be written.
    """
    center = transform.invert(torch.tensor(box.center, dtype=torch.float64))
    record = {
        "center": center.tolist(),
        "size": [transform.invert_distances(side) for side in box.extent],
        "axes": transform.rotation.T.tolist(),
    }
    write_atomically(path, json.dumps(record, indent=1).encode())


def read_crop(path: Path, transform: Similarity) -> Bounds:
    """The box of a file in the scene's frame.

    Raises:
        DataError: broken JSON, a missing key, a side that is not positive, axes that are not the scene's.
    """
    file = read_json_object(path)
    center, size, axes = file.array("center", ((3,),)), file.array("size", ((3,),)), file.array("axes", ((3, 3),))
    if not (size > 0).all():
        raise DataError(f"{path}: 'size' must be positive, got {size.tolist()}; save the box again from the viewer.")
    if np.abs(axes - transform.rotation.T.numpy()).max() > _ROTATION_TOLERANCE:
        raise DataError(f"{path}: 'axes' are not the axes of this run's scene; save the box again from the viewer.")
    middle = transform.apply(torch.from_numpy(center))
    half = torch.from_numpy(size) * transform.scale / 2
    return Bounds(tuple((middle - half).tolist()), tuple((middle + half).tolist()))
