"""Blender's synthetic scenes of NeRF (Mildenhall et al. 2020): transforms_train.json, _val and _test.

Camera-to-world with OpenGL axes (y up, looking along -z), z up, one horizontal field of view, principal point in the
middle, RGBA pictures named without a suffix. The published scenes lie within 1.5 units of the origin; a dataset whose
cameras don't look into that box from outside is placed by its cameras. Intrinsics as in transforms.json are read too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import is_file
from onefield.data.frames import image_named, pose_from_opengl, with_intrinsics
from onefield.data.scene import Similarity
from onefield.data.strict_json import read_json_object

_SPLITS = ("train", "val", "test")
# Half-extent of the box in which the published scenes lie.
_HALF_EXTENT = 1.5
# Published cameras stand 4 units away; a dataset of another scale doesn't follow the convention.
_FARTHEST_CAMERA = 10 * _HALF_EXTENT
_MOSTLY = 0.9


def _recognises(path: Path) -> bool:
    return is_file(path / "transforms_train.json")


def _read(path: Path) -> Capture:
    views: list[View] = []
    for split in _SPLITS:
        file = path / f"transforms_{split}.json"
        if is_file(file):
            views += _read_split(path, file, split)
    box = Similarity.about(torch.zeros(3, dtype=torch.float64), 1.0 / _HALF_EXTENT)
    return Capture(
        views,
        "blender",
        transform=box if views and _fits_the_box(views) else None,
        z_up=True,
        background="white",
    )


def _read_split(root: Path, file: Path, split: str) -> list[View]:
    top = read_json_object(file)
    views = []
    for frame in top.objects("frames"):
        named = frame.text("file_path")
        bare = View(named, image_named(root, named, frame.where), pose_from_opengl(frame), split=split)
        views.append(with_intrinsics(bare, top, frame))
    return views


def _fits_the_box(views: list[View]) -> bool:
    """Do the cameras stand outside the published scenes' box and look into it?"""
    positions = np.stack([view.camera_to_world[:, 3] for view in views])
    forwards = np.stack([view.camera_to_world[:, 2] for view in views])
    if not (np.abs(positions) < _FARTHEST_CAMERA).all() or not (np.abs(forwards) < 2).all():
        return False
    nearest = positions - (positions * forwards).sum(axis=1, keepdims=True) * forwards
    looking_in = (np.linalg.norm(nearest, axis=1) < _HALF_EXTENT) & ((positions * forwards).sum(axis=1) < 0)
    outside = np.linalg.norm(positions, axis=1) > _HALF_EXTENT
    return bool((looking_in & outside).mean() > _MOSTLY)


BLENDER = SceneFormat("blender", "transforms_train.json (Blender, NeRF synthetic)", _recognises, _read)
