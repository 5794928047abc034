"""transforms.json as instant-ngp and nerfstudio write it.

Camera-to-world with OpenGL axes (y up, looking along -z), z up; intrinsics for all frames or for each. A file with
``aabb_scale`` follows instant-ngp (Mueller et al. 2022): ``0.33 x + 0.5`` (or the file's own ``scale`` and
``offset``) maps the region of interest to the unit cube, and ``aabb_scale`` is the extent of the scene. Without it, the
region comes from the cameras and points.

Poses are taken as they stand: ``applied_transform`` tells how the writer came to this frame, which is the one that
exports return to.

Masks mark pixels to ignore, as nerfstudio defines them; in a scene that ends with its unit cube (``aabb_scale`` 1) they
outline the object. A frame without ``mask_path`` has the mask of its name in ``masks/``, where there is one.

Depth images (``depth_file_path`` or ``depth_path``) hold depth along the optical axis, in ``depth_unit_scale_factor``
(or ``integer_depth_scale``) units of the poses, a thousandth where neither is stated; with ``depth_along_rays`` true
they hold distances along rays. Normal maps are named by ``normal_file_path``; see
`onefield.data.normal_files` for what they hold.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import inside, is_file
from onefield.data.frames import image_named, pose_from_opengl, with_intrinsics
from onefield.data.point_files import read_ply_points
from onefield.data.scene import Similarity
from onefield.data.strict_json import JsonObject, read_json_object
from onefield.errors import DataError

_LEAST_SCALE = 1e-9  # beyond this, and above its inverse, the file is wrong
# of unit cubes, by which a file may shift its poses; those of map coordinates are millions of units
_LARGEST_OFFSET = 1e9
_NGP_SCALE, _NGP_OFFSET = 0.33, 0.5
_LARGEST_AABB_SCALE = 128.0
# nerfstudio's depth images hold millimetres where nothing else is said.
_DEPTH_UNIT = 1e-3
_SPLIT_KEYS = {"train": "train_filenames", "val": "val_filenames", "test": "test_filenames"}


def _file_of(path: Path) -> Path:
    return path if path.suffix.lower() == ".json" else path / "transforms.json"


def _recognises(path: Path) -> bool:
    return is_file(_file_of(path))


def _read(path: Path) -> Capture:
    file = _file_of(path)
    root = file.parent
    top = read_json_object(file)
    splits = _splits(top)
    views = [_view(root, top, frame, splits) for frame in top.objects("frames")]
    strangers = sorted(splits.keys() - {view.name for view in views})
    warnings = (
        [f"{len(strangers)} names of the splits belong to no frame (first: {strangers[0]})."] if strangers else []
    )
    from_ngp = "aabb_scale" in top
    extent = _aabb_scale(top) if from_ngp else None
    points, colors = _points(root, top)
    masked = any(view.mask_path is not None for view in views)
    return Capture(
        views,
        "transforms.json (instant-ngp)" if from_ngp else "transforms.json (nerfstudio)",
        points=points,
        colors=colors,
        transform=_ngp_transform(top) if from_ngp else None,
        z_up=True,
        bounded=extent == 1.0,
        extent_scale=extent,
        object_masks=extent == 1.0 and masked,
        depth_unit=_depth_unit(top),
        depth_along_rays=top.flag("depth_along_rays"),
        warnings=warnings,
    )


def _splits(top: JsonObject) -> dict[str, str]:
    return {name: split for split, key in _SPLIT_KEYS.items() if key in top for name in top.texts(key)}


def _view(root: Path, top: JsonObject, frame: JsonObject, splits: dict[str, str]) -> View:
    named = frame.text("file_path")
    bare = View(named, image_named(root, named, frame.where), pose_from_opengl(frame), split=splits.get(named))
    return replace(
        with_intrinsics(bare, top, frame),
        mask_path=inside(root, frame.text("mask_path"), frame.where) if "mask_path" in frame else None,
        depth_path=_depth_path(root, frame),
        normal_path=inside(root, frame.text("normal_file_path"), frame.where) if "normal_file_path" in frame else None,
    )


def _depth_path(root: Path, frame: JsonObject) -> Path | None:
    for key in ("depth_file_path", "depth_path"):
        if key in frame:
            return inside(root, frame.text(key), frame.where)
    return None


def _depth_unit(top: JsonObject) -> float:
    key = "depth_unit_scale_factor" if "depth_unit_scale_factor" in top else "integer_depth_scale"
    unit = top.number(key, _DEPTH_UNIT)
    if not 0 < unit < 1e6:
        raise DataError(f"{top.where}: '{key}' is {unit}; it must be above 0 (scene units for one unit of the files).")
    return unit


def _aabb_scale(top: JsonObject) -> float:
    value = top.number("aabb_scale")
    if not 1 <= value <= _LARGEST_AABB_SCALE:
        raise DataError(f"{top.where}: 'aabb_scale' is {value}; it must be a power of two from 1 to 128.")
    return 2.0 ** math.ceil(math.log2(value))


def _ngp_transform(top: JsonObject) -> Similarity:
    scale = top.number("scale", _NGP_SCALE)
    if not _LEAST_SCALE < scale < 1 / _LEAST_SCALE:
        raise DataError(f"{top.where}: 'scale' is {scale}; it must be above 0.")
    offset = np.full(3, _NGP_OFFSET)
    if isinstance(top.values.get("offset"), list):
        offset = top.array("offset", ((3,),))
    elif "offset" in top:
        offset = np.full(3, top.number("offset"))
    if np.abs(offset).max() > _LARGEST_OFFSET:
        raise DataError(f"{top.where}: 'offset' is {offset.tolist()}, far from the unit cube; correct it.")
    # [0, 1] to [-1, 1].
    return Similarity(2 * scale, torch.eye(3, dtype=torch.float64), torch.from_numpy(2 * offset - 1))


def _points(root: Path, top: JsonObject) -> tuple[np.ndarray | None, np.ndarray | None]:
    if "ply_file_path" not in top:
        return None, None
    path = inside(root, top.text("ply_file_path"), top.where)
    if not is_file(path):
        return None, None
    return read_ply_points(path)


TRANSFORMS_JSON = SceneFormat("transforms.json", "transforms.json (instant-ngp, nerfstudio)", _recognises, _read)
