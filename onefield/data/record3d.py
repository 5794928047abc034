"""Record3D's recordings: metadata(.json) with rgb/ (its EXR + JPG export) or rgbd/ (an unpacked .r3d).

``poses`` holds for each frame a quaternion (x, y, z, w) and a position, camera-to-world with OpenGL axes (y up, looking
along -z) in a world whose y axis points up, metres. ``perFrameIntrinsicCoeffs`` holds fx, fy, cx, cy of each frame, or
is absent where ``K``, a 3x3 matrix column by column, holds for all; in pixels of an image of ``w`` x ``h`` from its top
left corner. Image ``i`` belongs to pose ``i``. Depth maps hold metres along the optical axis in the pictures'
proportions: ``depth/<i>.exr`` with one channel of floats, or ``rgbd/<i>.depth``, floats packed in Apple's LZFSE.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import inside, is_file, is_folder
from onefield.data.depth_files import LZFSE_SUFFIX
from onefield.data.frames import opencv_pose
from onefield.data.numbered_files import files_by_number
from onefield.data.strict_json import JsonObject, read_json_object
from onefield.errors import DataError

_METADATA = ("metadata.json", "metadata", "EXR_RGBD/metadata.json", "EXR_RGBD/metadata")
_IMAGES = ("rgb", "rgbd")
_PHOTOS = (".jpg", ".jpeg", ".png")
_ARCHIVE = ".r3d"
# Quaternions are written with at least 6 digits; anything farther from unit length isn't one.
_QUATERNION_TOLERANCE = 1e-2


def _metadata(path: Path) -> Path | None:
    files = (path / name for name in _METADATA)
    return next((file for file in files if is_file(file) and _image_folder(file.parent) is not None), None)


def _image_folder(folder: Path) -> str | None:
    return next((name for name in _IMAGES if is_folder(folder / name)), None)


def _recognises(path: Path) -> bool:
    return _metadata(path) is not None or (path.suffix.lower() == _ARCHIVE and is_file(path))


def _read(path: Path) -> Capture:
    file = _metadata(path)
    if file is None:
        raise DataError(f"{path} is a packed recording; unpack it (it is a zip archive) and give the folder.")
    folder = _image_folder(file.parent) or _IMAGES[0]
    record = read_json_object(file)
    rows = record.values.get("poses")
    count = len(rows) if isinstance(rows, list) else 0
    poses = record.array("poses", ((count, 7),))
    size = (record.pixels("w"), record.pixels("h"))
    images = files_by_number(file.parent, folder, _PHOTOS)
    surplus = [image.name for number, image in images.items() if number >= count]
    if surplus:
        raise DataError(
            f"{file} has {count} poses but {file.parent / folder} has {len(images)} images, up to {surplus[-1]}; "
            "export the recording again."
        )
    intrinsics = _intrinsics(record, count)
    relative = (file.parent / folder).relative_to(path)
    depths = _depth_files(file.parent, folder)
    views = []
    for number, (pose, (fx, fy, cx, cy)) in enumerate(zip(poses, intrinsics, strict=True)):
        image = images.get(number) or inside(path, f"{relative}/{number}.jpg", str(file))
        camera_to_world = _camera_to_world(pose, f"{file}: poses[{number}]")
        depth = depths.get(number)
        views.append(View(image.name, image, camera_to_world, (fx, fy), (cx, cy), size, depth_path=depth))
    return Capture(views, "record3d")


def _depth_files(root: Path, images: str) -> dict[int, Path]:
    """By their numbers."""
    return files_by_number(root, "depth", (".exr",)) or files_by_number(root, images, (LZFSE_SUFFIX,))


def _intrinsics(record: JsonObject, count: int) -> np.ndarray:
    """fx, fy, cx, cy of each frame."""
    if record.values.get("perFrameIntrinsicCoeffs"):
        return record.array("perFrameIntrinsicCoeffs", ((count, 4),))
    matrix = record.array("K", ((9,),)).reshape(3, 3).T
    return np.tile([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]], (count, 1))


def _camera_to_world(pose: np.ndarray, said_by: str) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(pose[:4]))
    if not abs(length - 1) <= _QUATERNION_TOLERANCE:
        raise DataError(
            f"{said_by} is no rotation and position (its quaternion has length {length:.3g}); export the recording "
            "again."
        )
    rotation = Rotation.from_quat(pose[:4]).as_matrix()
    return opencv_pose(np.concatenate([rotation, pose[4:, None]], axis=1))


RECORD3D = SceneFormat("record3d", "metadata(.json) with rgb/ or rgbd/ (Record3D)", _recognises, _read)
