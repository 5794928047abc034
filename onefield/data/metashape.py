"""Agisoft Metashape's cameras (File > Export > Export Cameras): an XML file beside or above the images.

A camera's 4x4 matrix leads from its OpenCV axes to its component; the component's similarity, or where it has none the
chunk's, leads from there to the world, and poses are given in the world. Intrinsics and distortion follow the user
manual's appendix on camera models: ``f``, ``cx`` and ``cy`` from the image's middle, ``b1`` added to the horizontal
focal length, ``b2`` a skew, ``k1`` to ``k4`` radial, and ``p1`` and ``p2`` in the other order than OpenCV's. Cameras
without a pose (not aligned) or switched off are counted and left out. The images are found by the cameras' labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import is_file, is_folder
from onefield.data.named_images import NamedImages, named_images
from onefield.data.xml_files import number_at, numbers_at, read_xml
from onefield.errors import DataError

_SUFFIX = ".xml"
_HEAD = 4096
_OFF = ("0", "false")
_LONGEST_SIDE = 1_000_000


def _document(path: Path) -> Path | None:
    """The XML file itself, or the first of a folder that is a Metashape document."""
    if path.suffix.lower() == _SUFFIX and is_file(path):
        return path if _is_document(path) else None
    if not is_folder(path):
        return None
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == _SUFFIX and is_file(file))
    return next((file for file in files if _is_document(file)), None)


def _is_document(file: Path) -> bool:
    try:
        with open(file, "rb") as content:
            head = content.read(_HEAD)
    except OSError:
        return False
    return b"<document" in head and b"<chunk" in head


def _recognises(path: Path) -> bool:
    return _document(path) is not None


@dataclass(frozen=True)
class _Placing:
    """``world = scale * rotation @ point + translation``."""

    rotation: np.ndarray
    translation: np.ndarray
    scale: float

    def pose(self, matrix: np.ndarray) -> np.ndarray:
        """A camera's 4x4 matrix as a 3x4 pose in the world."""
        position = self.scale * self.rotation @ matrix[:3, 3] + self.translation
        return np.concatenate([self.rotation @ matrix[:3, :3], position[:, None]], axis=1)


def _read(path: Path) -> Capture:
    file = _document(path)
    if file is None:
        raise DataError(f"{path} is no document of cameras; export the cameras again.")
    chunk = read_xml(file).find("chunk")
    if chunk is None:
        raise DataError(f"{file} has no 'chunk'; export the cameras again.")
    sensors = {sensor.get("id"): sensor for sensor in chunk.iterfind("sensors//sensor")}
    cameras = list(chunk.iterfind("cameras//camera"))
    aligned = [camera for camera in cameras if _is_aligned(camera)]
    warnings = []
    if len(aligned) < len(cameras):
        count = len(cameras) - len(aligned)
        warnings.append(f"{count} of {len(cameras)} cameras are not aligned or switched off and were left out.")
    placings = _placings(chunk, file)
    aligned = _of_one_world(aligned, placings, warnings)
    images = named_images(file.parent)
    models: dict[str | None, View] = {}
    views = []
    for camera in aligned:
        said_by = f"{file}: camera '{camera.get('label')}'"
        key = camera.get("sensor_id")
        if key not in models:
            models[key] = _model(sensors.get(key), said_by, warnings)
        placing = placings.get(camera.get("component_id"), placings[None])
        views.append(_view(camera, models[key], placing, images, said_by))
    return Capture(views, "metashape", warnings=warnings)


def _is_aligned(camera: Element) -> bool:
    return camera.find("transform") is not None and camera.get("enabled", "1").lower() not in _OFF


def _placings(chunk: Element, file: Path) -> dict[str | None, _Placing]:
    """By component; the chunk's own, which may be the identity, under None."""
    placings = {None: _placing(chunk.find("transform"), f"{file}: the chunk's transform")}
    for component in chunk.iterfind("components//component"):
        transform = component.find("transform")
        if transform is not None:
            key = component.get("id")
            placings[key] = _placing(transform, f"{file}: the transform of component {key}")
    return placings


def _placing(transform: Element | None, said_by: str) -> _Placing:
    if transform is None:
        return _Placing(np.eye(3), np.zeros(3), 1.0)
    if len(transform) == 0 and (transform.text or "").strip():
        raise DataError(f"{said_by} is a bare matrix, as old versions wrote it; export the cameras with a newer one.")
    rotation = numbers_at(transform, "rotation", 9, said_by, default=np.eye(3).reshape(-1)).reshape(3, 3)
    translation = numbers_at(transform, "translation", 3, said_by, default=np.zeros(3))
    scale = number_at(transform, "scale", said_by, default=1.0)
    if not 0 < scale < 1e12:
        raise DataError(f"{said_by}: 'scale' is {scale}; it must be above 0.")
    return _Placing(rotation, translation, scale)


def _of_one_world(cameras: list[Element], placings: dict[str | None, _Placing], warnings: list[str]) -> list[Element]:
    """Components that were not placed share no frame: of several, the one with most cameras stays."""
    groups: dict[str | None, list[Element]] = {}
    for camera in cameras:
        groups.setdefault(camera.get("component_id"), []).append(camera)
    if len(groups) < 2 or all(key in placings for key in groups):
        return cameras
    largest = max(groups.values(), key=len)
    warnings.append(
        f"The cameras are in {len(groups)} components that are not placed in one world; the largest with "
        f"{len(largest)} of {len(cameras)} cameras was read."
    )
    return largest


def _model(sensor: Element | None, said_by: str, warnings: list[str]) -> View:
    """A view that has nothing but the intrinsics of a sensor."""
    if sensor is None:
        raise DataError(f"{said_by} has a sensor that the file lacks; export the cameras again.")
    calibrations = sensor.findall("calibration")
    adjusted = [calibration for calibration in calibrations if calibration.get("class") == "adjusted"]
    if not calibrations:
        raise DataError(f"{said_by} has a sensor without calibration; export the cameras again.")
    calibration = (adjusted or calibrations)[0]
    kind = calibration.get("type") or sensor.get("type") or "frame"
    if kind not in ("frame", "fisheye"):
        raise DataError(f"{said_by} has a sensor of type '{kind}'; undistort the photos in Metashape to frame cameras.")
    where = f"{said_by}, calibration"
    width, height = _resolution(calibration, sensor, where)
    stated = ("cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4")
    value = {name: number_at(calibration, name, where, default=0.0) for name in stated}
    focal = number_at(calibration, "f", where)
    if value["p3"] or value["p4"]:
        raise DataError(f"{where} has 'p3' and 'p4', which no other program knows; align again without them.")
    model = View(
        name="",
        image_path=Path(),
        camera_to_world=np.eye(4)[:3],
        focal=(focal + value["b1"], focal),
        center=(width / 2 + value["cx"], height / 2 + value["cy"]),
        size=(width, height),
        skew=value["b2"],
    )
    radial = (value["k1"], value["k2"], value["k3"], value["k4"])
    if kind == "frame":
        tangential = (value["p2"], value["p1"])
        distortion = (*radial[:2], *tangential, radial[2], 0.0, 0.0, 0.0)
        return replace(model, distortion=distortion, radial8=radial[3])
    if value["p1"] or value["p2"]:
        largest = max(abs(value["p1"]), abs(value["p2"]))
        warnings.append(f"A fisheye sensor's tangential distortion ('p1', 'p2', up to {largest:.2g}) was left out.")
    return replace(model, distortion=(*radial, 0.0, 0.0, 0.0, 0.0), fisheye=True)


def _resolution(calibration: Element, sensor: Element, said_by: str) -> tuple[int, int]:
    resolution = calibration.find("resolution")
    resolution = sensor.find("resolution") if resolution is None else resolution
    sides = [] if resolution is None else [resolution.get("width", ""), resolution.get("height", "")]
    if not sides or not all(side.isdecimal() and len(side) < 8 and 1 <= int(side) <= _LONGEST_SIDE for side in sides):
        raise DataError(f"{said_by}: 'resolution' must state the image's width and height in pixels, got {sides}.")
    return int(sides[0]), int(sides[1])


def _view(camera: Element, model: View, placing: _Placing, images: NamedImages, said_by: str) -> View:
    label = camera.get("label", "").strip()
    if not label:
        raise DataError(f"{said_by} names no image; export the cameras again.")
    matrix = numbers_at(camera, "transform", 16, said_by).reshape(4, 4)
    with np.errstate(over="ignore", invalid="ignore"):
        pose = placing.pose(matrix)
    return replace(model, name=label, image_path=images.find(label, said_by), camera_to_world=pose)


METASHAPE = SceneFormat("metashape", "an .xml of cameras with images/ (Agisoft Metashape)", _recognises, _read)
