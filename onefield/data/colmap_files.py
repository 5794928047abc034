"""COLMAP's cameras, images and points3D files, binary and text, read within their bounds.

Format: https://colmap.github.io/format.html. Nothing is allocated for a count that the file can't hold.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onefield.errors import DataError

# Number and name of each camera model, and how many parameters it has.
_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
}
_PARAMETERS = dict(_MODELS.values())
# Identifier, rotation, position, camera, the shortest name's end, number of observations.
_SMALLEST_IMAGE = 4 + 32 + 24 + 4 + 1 + 8
_SMALLEST_CAMERA = 4 + 4 + 16 + 24
_SMALLEST_POINT = 8 + 24 + 3 + 8 + 8
_LONGEST_NAME = 4096
# Numbers of an observation in text: its place, and its point's number.
_OBSERVATION = 3
# Images are numbered with 32 bits.
_LARGEST_NUMBER = 2**32


@dataclass(frozen=True)
class ColmapCamera:
    """Intrinsics: COLMAP's model name, image size, parameters in COLMAP's order."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """A registered image: number, name, camera number, world-to-camera pose (quaternion w, x, y, z, and shift)."""

    identifier: int
    name: str
    camera: int
    quaternion: tuple[float, float, float, float]
    translation: tuple[float, float, float]


@dataclass(frozen=True)
class ColmapModel:
    """One reconstruction.

    Points are N x 3 float64, colours N x 3 in [0, 1], tracks T x 2: the row of a point and the number of an image.
    """

    cameras: dict[int, ColmapCamera]
    images: list[ColmapImage]
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    colors: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    tracks: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))


def model_suffix(folder: Path) -> str | None:
    """``".bin"`` or ``".txt"`` where the folder holds a model, else None."""
    for suffix in (".bin", ".txt"):
        if all((folder / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
            return suffix
    return None


def count_images(folder: Path) -> int:
    """How many images a model has registered.

    Raises:
        DataError: the file is broken.
    """
    return len(read_model(folder, with_points=False).images)


def read_model(folder: Path, *, with_points: bool = True) -> ColmapModel:
    """A model from its binary files, or from its text files where there are no binary ones.

    Raises:
        DataError: missing, truncated, or with counts, camera models or references that can't be.
    """
    suffix = model_suffix(folder)
    if suffix is None:
        raise DataError(f"{folder} has no COLMAP model; it needs cameras.bin and images.bin (or .txt).")
    binary = suffix == ".bin"
    cameras_file, images_file, points_file = (folder / f"{n}{suffix}" for n in ("cameras", "images", "points3D"))
    cameras = _binary_cameras(cameras_file) if binary else _text_cameras(cameras_file)
    images = _binary_images(images_file) if binary else _text_images(images_file)
    for image in images:
        if image.camera not in cameras:
            raise DataError(f"{images_file}: image '{image.name}' has camera {image.camera}, absent in {cameras_file}.")
    if not with_points or not points_file.is_file():
        return ColmapModel(cameras, images)
    return ColmapModel(cameras, images, *(_binary_points(points_file) if binary else _text_points(points_file)))


class _Reader:
    """Numbers from a byte string, with the place in every error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.content = path.read_bytes()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} can't be read: {error}.") from error
        self.offset = 0

    def take(self, layout: struct.Struct) -> tuple:
        if self.offset + layout.size > len(self.content):
            raise DataError(f"{self.path} is truncated: {layout.size} bytes are missing at byte {self.offset}.")
        values = layout.unpack_from(self.content, self.offset)
        self.offset += layout.size
        return values

    def count(self, what: str, smallest: int) -> int:
        """A number of records, refused where the rest of the file can't hold them."""
        (count,) = self.take(_COUNT)
        left = len(self.content) - self.offset
        if count * smallest > left:
            raise DataError(
                f"{self.path} claims {count} {what} at byte {self.offset - 8}, but only {left} bytes follow; "
                "it is truncated or no COLMAP file."
            )
        return count

    def skip(self, size: int) -> None:
        if self.offset + size > len(self.content):
            raise DataError(f"{self.path} is truncated: {size} bytes are missing at byte {self.offset}.")
        self.offset += size

    def name(self) -> str:
        end = self.content.find(b"\0", self.offset, self.offset + _LONGEST_NAME)
        if end < 0:
            raise DataError(f"{self.path}: the image name at byte {self.offset} has no end.")
        name = self.content[self.offset : end].decode("utf-8", errors="replace")
        self.offset = end + 1
        return name


_COUNT = struct.Struct("<Q")
_CAMERA = struct.Struct("<IiQQ")
_IMAGE = struct.Struct("<I4d3dI")
_POINT = struct.Struct("<Q3d3BdQ")


def _binary_cameras(path: Path) -> dict[int, ColmapCamera]:
    reader = _Reader(path)
    cameras = {}
    for _ in range(reader.count("cameras", _SMALLEST_CAMERA)):
        begin = reader.offset
        identifier, model, width, height = reader.take(_CAMERA)
        if model not in _MODELS:
            raise DataError(f"{path}: camera {identifier} at byte {begin} has the unknown model {model}; {_advice()}.")
        name, length = _MODELS[model]
        parameters = reader.take(struct.Struct(f"<{length}d"))
        cameras[identifier] = _checked_camera(path, identifier, ColmapCamera(name, width, height, parameters))
    return cameras


def _binary_images(path: Path) -> list[ColmapImage]:
    reader = _Reader(path)
    images = []
    for _ in range(reader.count("images", _SMALLEST_IMAGE)):
        values = reader.take(_IMAGE)
        name = reader.name()
        reader.skip(24 * reader.count("observations", 24))
        images.append(ColmapImage(values[0], name, values[8], values[1:5], values[5:8]))
    return images


def _binary_points(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    reader = _Reader(path)
    count = reader.count("points", _SMALLEST_POINT)
    points, colors, tracks = np.empty((count, 3)), np.empty((count, 3)), [np.zeros((0, 2), dtype=np.int64)]
    for row in range(count):
        values = reader.take(_POINT)
        points[row], colors[row] = values[1:4], values[4:7]
        # each element is an image's number and the place of the keypoint in its list
        begin = reader.offset
        reader.skip(8 * values[8])
        tracks.append(_track(row, np.frombuffer(reader.content[begin : reader.offset], dtype="<u4")[::2]))
    return points, colors / 255, np.concatenate(tracks)


def _track(row: int, images: np.ndarray) -> np.ndarray:
    return np.stack([np.full(len(images), row), images.astype(np.int64)], axis=-1)


def _rows(path: Path) -> list[tuple[int, str]]:
    """Lines with their numbers, without comments."""
    try:
        lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}.") from error
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if not line.startswith("#")]


def _numbers(path: Path, line: int, words: list[str], kind: type) -> list:
    try:
        return [kind(word) for word in words]
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}; expected numbers there.") from error


def _text_cameras(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for line, text in _rows(path):
        words = text.split()
        if not words:
            continue
        if len(words) < 5 or words[1] not in _PARAMETERS or len(words) != 4 + _PARAMETERS[words[1]]:
            raise DataError(f"{path}, line {line}: {text[:60]!r} is no camera of a known model; {_advice()}.")
        identifier, width, height = _numbers(path, line, [words[0], words[2], words[3]], int)
        parameters = tuple(_numbers(path, line, words[4:], float))
        cameras[identifier] = _checked_camera(path, identifier, ColmapCamera(words[1], width, height, parameters))
    return cameras


def _text_images(path: Path) -> list[ColmapImage]:
    images = []
    observations_follow = False
    for line, text in _rows(path):
        # Each image has two lines; the second lists observations and may be empty.
        if observations_follow:
            observations_follow = False
            if len(text.split()) % _OBSERVATION:
                raise DataError(
                    f"{path}, line {line} should hold the observations of image '{images[-1].name}', {_OBSERVATION} "
                    f"numbers each, or none; put an empty line behind each image without."
                )
            continue
        if not text:
            continue
        words = text.split(maxsplit=9)
        if len(words) < 10:
            raise DataError(f"{path}, line {line}: an image needs 10 entries, got {len(words)}.")
        (identifier,) = _numbers(path, line, words[:1], int)
        pose = _numbers(path, line, words[1:8], float)
        (camera,) = _numbers(path, line, words[8:9], int)
        images.append(ColmapImage(identifier, words[9], camera, tuple(pose[:4]), tuple(pose[4:])))
        observations_follow = True
    return images


def _text_points(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, tracks = [], [np.zeros((0, 2), dtype=np.int64)]
    for line, text in _rows(path):
        words = text.split()
        if not words:
            continue
        if len(words) < 7:
            raise DataError(f"{path}, line {line}: a point needs at least 7 entries, got {len(words)}.")
        seen_by = _numbers(path, line, words[8::2], int)
        if any(abs(number) > _LARGEST_NUMBER for number in seen_by):
            raise DataError(f"{path}, line {line}: a track names image {max(seen_by, key=abs)}, which no model has.")
        tracks.append(_track(len(rows), np.array(seen_by, dtype=np.int64)))
        rows.append(_numbers(path, line, words[1:7], float))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return table[:, :3], np.clip(np.nan_to_num(table[:, 3:]), 0, 255) / 255, np.concatenate(tracks)


def _checked_camera(path: Path, identifier: int, camera: ColmapCamera) -> ColmapCamera:
    if not (1 <= camera.width <= 10**6 and 1 <= camera.height <= 10**6):
        raise DataError(f"{path}: camera {identifier} states an image of {camera.width} x {camera.height} pixels.")
    return camera


def _advice() -> str:
    return "undistort the images with COLMAP's image_undistorter, which writes PINHOLE cameras"
