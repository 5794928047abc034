"""Replica as NICE-SLAM renders it (Zhu et al. 2022): results/frame*.jpg and depth*.png, traj.txt, cam_params.json.

Each line of ``traj.txt`` is a 4x4 camera-to-world matrix with OpenCV axes, metres, line ``n`` for frame ``n``. One
``cam_params.json`` serves all scenes from the folder above, or lies in the scene's own. It counts pixels from the
centre of the first one (its principal point is at half the width less 0.5), so half a pixel is added; its ``scale`` is
the number of units of the depth images in a metre.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import is_file, is_folder
from onefield.data.numbered_files import files_by_number, read_number_rows
from onefield.data.strict_json import read_json_object
from onefield.errors import DataError

_TRAJECTORY = "traj.txt"
_CAMERA = "cam_params.json"
_FOLDER = "results"
_TO_PIXEL_CENTERS = 0.5


def _recognises(path: Path) -> bool:
    return is_file(path / _TRAJECTORY) and is_folder(path / _FOLDER)


def _read(path: Path) -> Capture:
    images = files_by_number(path, _FOLDER, (".jpg", ".jpeg", ".png"), prefix="frame")
    depths = files_by_number(path, _FOLDER, (".png",), prefix="depth")
    trajectory = path / _TRAJECTORY
    rows = read_number_rows(trajectory)
    if rows.shape[1] != 16:
        raise DataError(f"{trajectory} has {rows.shape[1]} numbers a line; a pose is 16 (a 4x4 matrix).")
    if len(rows) != len(images) or any(number >= len(rows) for number in images):
        raise DataError(
            f"{trajectory} has {len(rows)} poses but {path / _FOLDER} has {len(images)} images frame*.jpg; there must "
            "be one each, counted from 0."
        )
    file = path / _CAMERA if is_file(path / _CAMERA) else path.resolve().parent / _CAMERA
    if not is_file(file):
        raise DataError(f"{path} lacks {_CAMERA}; put the dataset's file there or into the folder above.")
    camera = read_json_object(file).object("camera")
    scale = camera.number("scale", 1.0)
    if not 0 < scale < 1e9:
        raise DataError(f"{camera.where}: 'scale' is {scale}; it must be above 0 (a metre in the depth images' units).")
    size = (camera.pixels("w"), camera.pixels("h"))
    focal = (camera.number("fx"), camera.number("fy"))
    center = (camera.number("cx") + _TO_PIXEL_CENTERS, camera.number("cy") + _TO_PIXEL_CENTERS)
    poses = np.reshape(rows, (-1, 4, 4))[:, :3]
    views = [
        View(image.name, image, poses[number], focal, center, size, depth_path=depths.get(number))
        for number, image in images.items()
    ]
    return Capture(views, "replica", depth_unit=1 / scale)


REPLICA = SceneFormat("replica", "traj.txt with results/frame*.jpg (Replica of NICE-SLAM)", _recognises, _read)
