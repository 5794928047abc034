"""Polycam's raw data export: keyframes/corrected_cameras with corrected_images, else cameras with images; and depth.

One JSON file an image: camera-to-world as ``t_00`` ... ``t_23`` with OpenGL axes (y up, looking along -z) in a world
whose y axis points up, metres; intrinsics in pixels from the image's top left corner. Poses that Polycam optimised are
preferred to those of the phone. Depth images hold millimetres along the optical axis.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import images_in, inside, is_file, is_folder
from onefield.data.frames import opencv_pose
from onefield.data.strict_json import JsonObject, read_json_object
from onefield.errors import DataError

_PAIRS = (("corrected_cameras", "corrected_images"), ("cameras", "images"))
_DEPTH_UNIT = 1e-3
# All keys of a camera file fit into these first bytes.
_HEAD = 4096


def _camera_files(folder: Path) -> list[Path]:
    if not is_folder(folder):
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".json" and is_file(file))


def _folders(path: Path) -> tuple[Path, Path] | None:
    """Folders of camera files and images."""
    root = path / "keyframes" if is_folder(path / "keyframes") else path
    for cameras, images in _PAIRS:
        if _camera_files(root / cameras) and is_folder(root / images):
            return root / cameras, root / images
    return None


def _recognises(path: Path) -> bool:
    folders = _folders(path)
    if folders is None:
        return False
    try:
        with open(_camera_files(folders[0])[0], "rb") as file:
            return folders[0].parent.name == "keyframes" or b'"t_00"' in file.read(_HEAD)
    except OSError:
        return False


def _read(path: Path) -> Capture:
    folders = _folders(path)
    if folders is None:
        raise DataError(f"{path} lacks keyframes/cameras with keyframes/images; export the raw data again.")
    cameras, images = folders
    by_stem = {image.stem: image for image in images_in(images)}
    files = _camera_files(cameras)
    views = [_view(path, file, by_stem.get(file.stem, images / f"{file.stem}.jpg")) for file in files]
    bare = len(by_stem.keys() - {file.stem for file in files})
    warnings = [f"{bare} images in {images} have no camera file in {cameras} and were left out."] if bare else []
    return Capture(views, "polycam", depth_unit=_DEPTH_UNIT, warnings=warnings)


def _view(root: Path, file: Path, image: Path) -> View:
    camera = read_json_object(file)
    depth = file.parent.parent / "depth" / f"{file.stem}.png"
    pose = np.array([[camera.number(f"t_{row}{column}") for column in range(4)] for row in range(3)])
    return View(
        name=file.stem,
        image_path=inside(root, str(image.relative_to(root)), str(file)),
        camera_to_world=opencv_pose(pose),
        focal=(camera.number("fx"), camera.number("fy")),
        center=(camera.number("cx"), camera.number("cy")),
        size=_size(camera),
        depth_path=inside(root, str(depth.relative_to(root)), str(file)) if is_folder(depth.parent) else None,
    )


def _size(camera: JsonObject) -> tuple[int, int]:
    return camera.pixels("width"), camera.pixels("height")


POLYCAM = SceneFormat("polycam", "keyframes/ with cameras and images (Polycam's raw data)", _recognises, _read)
