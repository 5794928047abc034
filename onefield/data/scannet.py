"""ScanNet's extracted scenes (Dai et al. 2017): color/, pose/, intrinsic/ and depth/, matched by number.

``pose/<n>.txt`` is camera-to-world with OpenCV axes, metres, and infinite where tracking was lost.
``intrinsic/intrinsic_color.txt`` counts pixels from the centre of the first one, as ScanNet's own unprojection does, so
half a pixel is added. Depth images hold millimetres along the optical axis; they were taken through a lens of their own
(``intrinsic_depth.txt``), and aligned: both images of a frame have the frame's pose.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import IMAGE_SUFFIXES, is_file, is_folder
from onefield.data.images import read_header
from onefield.data.numbered_files import files_by_number, read_matrix
from onefield.errors import DataError

_FOLDERS = ("color", "pose", "intrinsic")
_COLOR_LENS, _DEPTH_LENS = "intrinsic/intrinsic_color.txt", "intrinsic/intrinsic_depth.txt"
_DEPTH_UNIT = 1e-3
_TO_PIXEL_CENTERS = 0.5
# Cameras have their principal point near the middle; where it lies farther off than this share of the picture's sides,
# pictures were resized and the intrinsics were not.
_OFF_CENTER = 0.2


def _recognises(path: Path) -> bool:
    return all(is_folder(path / name) for name in _FOLDERS)


def _read(path: Path) -> Capture:
    images = files_by_number(path, "color", IMAGE_SUFFIXES)
    poses = files_by_number(path, "pose", (".txt",))
    depths = files_by_number(path, "depth", (".png",))
    if not images:
        raise DataError(f"{path / 'color'} has no images named by numbers, such as 0.jpg; extract the scene again.")
    bare = [number for number in images if number not in poses]
    if bare:
        raise DataError(
            f"{path / 'pose'} lacks {bare[0]}.txt ({len(images)} images, {len(poses)} poses); extract the poses again."
        )
    fx, fy, *center = _lens(path / _COLOR_LENS, next(iter(images.values())))
    depth_lens, warnings = None, []
    if depths and is_file(path / _DEPTH_LENS):
        depth_lens = _lens(path / _DEPTH_LENS, next(iter(depths.values())))
    elif depths and not _same_shape(next(iter(images.values())), next(iter(depths.values()))):
        depths = {}
        warnings.append(
            f"Depth images have another shape than the colour images and were left out; extract {_DEPTH_LENS}, too."
        )
    views, lost = [], 0
    for number, image in images.items():
        pose = read_matrix(poses[number])[:3]
        if not np.isfinite(pose).all():
            lost += 1
            continue
        depth = depths.get(number)
        views.append(View(image.name, image, pose, (fx, fy), tuple(center), depth_path=depth, depth_lens=depth_lens))
    if lost:
        warnings.append(f"{lost} of {len(images)} frames have no pose (tracking was lost) and were skipped.")
    return Capture(views, "scannet", depth_unit=_DEPTH_UNIT, warnings=warnings)


def _lens(file: Path, image: Path) -> tuple[float, float, float, float]:
    """Focal lengths and centre in pixels, the first one's centre at (0.5, 0.5).

    Args:
        image: one of those that were taken through it.
    """
    matrix = read_matrix(file, ((4, 4), (3, 3)))
    if not np.isfinite(matrix).all():
        raise DataError(f"{file} holds NaN or infinity; extract it again.")
    center = (float(matrix[0, 2]) + _TO_PIXEL_CENTERS, float(matrix[1, 2]) + _TO_PIXEL_CENTERS)
    header = read_header(image)
    sides = (header.width, header.height)
    if any(abs(value - side / 2) > _OFF_CENTER * side for value, side in zip(center, sides, strict=True)):
        raise DataError(
            f"{file} puts the principal point at {center[0]:.1f}, {center[1]:.1f}, but {image} is {sides[0]} x "
            f"{sides[1]} pixels; extract images of the original size, or scale the intrinsics with them."
        )
    return float(matrix[0, 0]), float(matrix[1, 1]), *center


def _same_shape(image: Path, depth: Path) -> bool:
    color, measured = read_header(image), read_header(depth)
    # Sides are whole pixels: up to one less or more than the exact share.
    return abs(color.width * measured.height / color.height - measured.width) <= 1


SCANNET = SceneFormat("scannet", "color/, pose/ and intrinsic/ (ScanNet, extracted)", _recognises, _read)
