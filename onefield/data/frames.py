"""What the JSON formats share: frames with OpenGL poses, image names without a suffix, and intrinsics."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from onefield.data.capture import View
from onefield.data.dataset_paths import IMAGE_SUFFIXES, inside, is_file
from onefield.data.strict_json import JsonObject
from onefield.errors import DataError

_OPENGL_TO_OPENCV = np.array([1.0, -1.0, -1.0])
_PERSPECTIVE_MODELS = frozenset({"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL"})
_FISHEYE_MODELS = frozenset({"OPENCV_FISHEYE", "FISHEYE"})
_BROWN_KEYS = ("k1", "k2", "p1", "p2", "k3")
_FISHEYE_KEYS = ("k1", "k2", "k3", "k4")


def pose_from_opengl(frame: JsonObject) -> np.ndarray:
    """A frame's ``transform_matrix`` as a 3x4 camera-to-world pose with OpenCV axes.

    Raises:
        DataError: no 4x4 or 3x4 matrix of finite numbers.
    """
    return opencv_pose(frame.array("transform_matrix", ((4, 4), (3, 4)))[:3])


def opencv_pose(opengl: Float[np.ndarray, "3 4"]) -> Float[np.ndarray, "3 4"]:
    """A camera-to-world pose with OpenGL axes (y up, looking along -z) as one with OpenCV axes."""
    pose = opengl.copy()
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


def with_intrinsics(view: View, top: JsonObject, frame: JsonObject) -> View:
    """The view with the intrinsics of its frame, or else of the whole file.

    Raises:
        DataError: no focal length, numbers that mean nothing, or a camera model that isn't supported.
    """
    merged = JsonObject({**top.values, **{k: v for k, v in frame.values.items() if v is not None}}, frame.where)
    size = _size(merged)
    fisheye, distortion = _distortion(merged)
    known = "fl_x" in merged or size is not None
    return replace(
        view,
        focal=_focal(merged, size),
        center=_center(merged, size),
        size=size,
        field_of_view=None if known else _angle(merged, "camera_angle_x"),
        distortion=distortion,
        fisheye=fisheye,
    )


def _size(merged: JsonObject) -> tuple[int, int] | None:
    if "w" not in merged or "h" not in merged:
        return None
    return merged.pixels("w"), merged.pixels("h")


def _focal(merged: JsonObject, size: tuple[int, int] | None) -> tuple[float, float] | None:
    if "fl_x" in merged:
        across = merged.number("fl_x")
        return across, merged.number("fl_y", across)
    if "camera_angle_x" not in merged:
        raise DataError(f"{merged.where} has neither 'fl_x' nor 'camera_angle_x'; add the focal length in pixels.")
    if size is None:
        return None
    across = size[0] / 2 / math.tan(_angle(merged, "camera_angle_x") / 2)
    if "camera_angle_y" not in merged:
        return across, across
    return across, size[1] / 2 / math.tan(_angle(merged, "camera_angle_y") / 2)


def _angle(merged: JsonObject, key: str) -> float:
    angle = merged.number(key)
    if not 0 < angle < math.pi:
        raise DataError(f"{merged.where}: '{key}' is {angle}; it must lie between 0 and pi (radians).")
    return angle


def _center(merged: JsonObject, size: tuple[int, int] | None) -> tuple[float, float] | None:
    if "cx" in merged and "cy" in merged:
        return merged.number("cx"), merged.number("cy")
    return None if size is None else (size[0] / 2, size[1] / 2)


def _distortion(merged: JsonObject) -> tuple[bool, tuple[float, ...]]:
    model = str(merged.values.get("camera_model") or "OPENCV").upper()
    if model not in _PERSPECTIVE_MODELS | _FISHEYE_MODELS:
        known = ", ".join(sorted(_PERSPECTIVE_MODELS | _FISHEYE_MODELS))
        raise DataError(f"{merged.where}: camera_model '{model}' isn't supported; undistort to one of {known}.")
    fisheye = model in _FISHEYE_MODELS or merged.flag("is_fisheye")
    keys = _FISHEYE_KEYS if fisheye else _BROWN_KEYS
    numbers = tuple(merged.number(key, 0.0) for key in keys)
    if not fisheye and merged.number("k4", 0.0) != 0.0:
        raise DataError(f"{merged.where}: 'k4' belongs to a fisheye; set camera_model to OPENCV_FISHEYE or remove it.")
    return fisheye, numbers + (0.0,) * (8 - len(numbers))
