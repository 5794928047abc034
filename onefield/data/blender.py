"""Blender's synthetic scenes of NeRF (Mildenhall et al. 2020): transforms_train.json, _val and _test.

Camera-to-world with OpenGL axes (y up, looking along -z), z up, one horizontal field of view, principal point in the
middle, RGBA pictures named without a suffix. The published scenes lie within 1.5 units of the origin.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import IMAGE_SUFFIXES, inside, is_file
from onefield.data.scene import Similarity
from onefield.data.strict_json import JsonObject, read_json_object
from onefield.errors import DataError

_SPLITS = ("train", "val", "test")
# Half-extent of the box in which the published scenes lie.
_HALF_EXTENT = 1.5
_OPENGL_TO_OPENCV = np.array([1.0, -1.0, -1.0])


def pose_from_opengl(frame: JsonObject) -> np.ndarray:
    """A frame's ``transform_matrix`` as a 3x4 camera-to-world pose with OpenCV axes.

    Raises:
        DataError: no 4x4 or 3x4 matrix of finite numbers.
    """
    matrix = frame.array("transform_matrix", ((4, 4), (3, 4)))
    pose = matrix[:3].copy()
    pose[:, :3] *= _OPENGL_TO_OPENCV
    return pose


def image_named(root: Path, named: str, said_by: str) -> Path:
    """The image that a frame names, with the first known suffix that exists where it names none.

    Raises:
        DataError: the path leaves the dataset.
    """
    path = inside(root, named, said_by)
    if is_file(path) or path.suffix.lower() in IMAGE_SUFFIXES:
        return path
    for suffix in IMAGE_SUFFIXES:
        candidate = inside(root, named + suffix, said_by)
        if is_file(candidate):
            return candidate
    return inside(root, named + IMAGE_SUFFIXES[0], said_by)


def _recognises(path: Path) -> bool:
    return is_file(path / "transforms_train.json")


def _read(path: Path) -> Capture:
    views: list[View] = []
    for split in _SPLITS:
        file = path / f"transforms_{split}.json"
        if is_file(file):
            views += _read_split(path, file, split)
    return Capture(
        views,
        "blender",
        transform=Similarity.about(torch.zeros(3, dtype=torch.float64), 1.0 / _HALF_EXTENT),
        z_up=True,
        background="white",
    )


def _read_split(root: Path, file: Path, split: str) -> list[View]:
    top = read_json_object(file)
    angle = top.number("camera_angle_x")
    if not 0 < angle < math.pi:
        raise DataError(f"{file}: 'camera_angle_x' is {angle}; it must lie between 0 and pi (radians).")
    views = []
    for frame in top.objects("frames"):
        named = frame.text("file_path")
        views.append(
            View(
                name=named,
                image_path=image_named(root, named, frame.where),
                camera_to_world=pose_from_opengl(frame),
                field_of_view=angle,
                split=split,
            )
        )
    return views


BLENDER = SceneFormat("blender", "transforms_train.json (Blender, NeRF synthetic)", _recognises, _read)
