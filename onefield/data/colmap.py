"""COLMAP reconstructions: sparse/0 (or sparse, colmap/sparse/0, ...) beside images/.

World-to-camera poses with OpenCV axes, first pixel centre at (0.5, 0.5). Of several models the one with most images is
read.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.colmap_files import ColmapCamera, ColmapImage, count_images, model_suffix, read_model
from onefield.data.dataset_paths import find_image_folder, inside, is_folder
from onefield.errors import DataError

_MODEL_PARENTS = ("sparse", "colmap/sparse", "distorted/sparse", ".")
_IMAGE_FOLDERS = ("images", "image", "input", "images_2", "images_4", "images_8")
# Quaternions are written with about 17 digits; anything farther from unit length isn't one.
_QUATERNION_TOLERANCE = 1e-2


def _model_folders(path: Path) -> list[Path]:
    """Folders with a model, in the first place that has any."""
    for parent in _MODEL_PARENTS:
        folder = path / parent
        if not is_folder(folder):
            continue
        numbered = sorted(sub for sub in folder.iterdir() if sub.name.isdecimal() and is_folder(sub))
        found = [candidate for candidate in (*numbered, folder) if model_suffix(candidate) is not None]
        if found:
            return found
    return []


def _recognises(path: Path) -> bool:
    return bool(_model_folders(path))


def _read(path: Path) -> Capture:
    folders = _model_folders(path)
    warnings = []
    folder = folders[0]
    if len(folders) > 1:
        counts = [count_images(candidate) for candidate in folders]
        folder = folders[int(np.argmax(counts))]
        warnings.append(f"{path} has {len(folders)} models; {folder.relative_to(path)} with most images was read.")
    images_folder = find_image_folder(path, _IMAGE_FOLDERS) or path
    model = read_model(folder)
    seen_by = _points_by_image(model.tracks)
    views = [
        replace(
            _view(path, images_folder, folder, image, model.cameras[image.camera]),
            seen_points=seen_by.get(image.identifier),
        )
        for image in sorted(model.images, key=lambda image: image.name)
    ]
    return Capture(views, "colmap", points=model.points, colors=model.colors, warnings=warnings)


def _points_by_image(tracks: np.ndarray) -> dict[int, np.ndarray]:
    """Rows of the points that each image saw."""
    order = np.argsort(tracks[:, 1], kind="stable")
    images, starts = np.unique(tracks[order, 1], return_index=True)
    rows = np.split(tracks[order, 0], starts[1:])
    return dict(zip(images.tolist(), rows, strict=False))


def _view(root: Path, images: Path, model: Path, image: ColmapImage, camera: ColmapCamera) -> View:
    name = image.name.replace("\\", "/")
    said_by = str(model)
    image_path = inside(root, str(images.relative_to(root) / name), said_by)
    focal, center, distortion, fisheye = _intrinsics(camera, said_by)
    return View(
        name=name,
        image_path=image_path,
        camera_to_world=_camera_to_world(image, said_by),
        focal=focal,
        center=center,
        size=(camera.width, camera.height),
        distortion=distortion,
        fisheye=fisheye,
    )


def _camera_to_world(image: ColmapImage, said_by: str) -> np.ndarray:
    w, x, y, z = image.quaternion
    length = float(np.sqrt(w * w + x * x + y * y + z * z))
    if not abs(length - 1) <= _QUATERNION_TOLERANCE or not np.isfinite(image.translation).all():
        raise DataError(
            f"{said_by}: the pose of image '{image.name}' is no rotation and shift (its quaternion has length "
            f"{length:.3g}); export the model again."
        )
    w, x, y, z = w / length, x / length, y / length, z / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    position = -rotation.T @ np.array(image.translation)
    return np.concatenate([rotation.T, position[:, None]], axis=1)


def _intrinsics(
    camera: ColmapCamera, said_by: str
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, ...], bool]:
    """Focal lengths, centre, distortion in the order of `Cameras`, and whether it is a fisheye's."""
    values = camera.parameters
    single = camera.model.startswith("SIMPLE") or camera.model in ("RADIAL", "RADIAL_FISHEYE")
    focal = (values[0], values[0]) if single else (values[0], values[1])
    center, rest = (values[1:3], values[3:]) if single else (values[2:4], values[4:])
    supported = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
    fisheyes = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
    if camera.model not in supported + fisheyes:
        raise DataError(
            f"{said_by}: the camera model {camera.model} isn't supported; undistort the images with COLMAP's "
            "image_undistorter, which writes PINHOLE cameras."
        )
    # Radial coefficients come first in every model, the tangential ones third: OpenCV's own order.
    distortion = tuple(rest) + (0.0,) * (8 - len(rest))
    return focal, (center[0], center[1]), distortion, camera.model in fisheyes


COLMAP = SceneFormat("colmap", "sparse/0 with cameras.bin and images.bin, or .txt (COLMAP)", _recognises, _read)
