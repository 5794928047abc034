"""What a format states, before it is checked and normalised: the records between readers and `assembly`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onefield.data.scene import Similarity


@dataclass(frozen=True)
class View:
    """One image and its camera, in the dataset's frame and units.

    Attributes:
        name: as the dataset names it.
        image_path: resolved path; the file may be missing.
        camera_to_world: 3x4 float64, OpenCV axes.
        focal, center: pixels of an image of ``size``; None for a size that is only known from the image, in which case
            ``field_of_view`` says the focal length and the centre is the middle.
        size: width and height that the intrinsics are meant for; None takes the image's own.
        field_of_view: horizontal, radians.
        distortion: eight numbers as in `Cameras`.
        fisheye: which model they belong to.
        radial8, skew: as in `Cameras`; the skew in pixels of an image of ``size``.
        mask_path, depth_path, normal_path: resolved; the files may be missing.
        depth_lens: focal lengths and centre (fx, fy, cx, cy) in pixels of the depth map, where it was taken through a
            lens of its own from the same place; None where it shows what the image shows.
        split: ``"train"``, ``"val"``, ``"test"``, or None where the format has no splits.
        seen_points: rows of the capture's points that were found in this image; None where the format doesn't say.
    """

    name: str
    image_path: Path
    camera_to_world: np.ndarray
    focal: tuple[float, float] | None = None
    center: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    field_of_view: float | None = None
    distortion: tuple[float, ...] = (0.0,) * 8
    fisheye: bool = False
    radial8: float = 0.0
    skew: float = 0.0
    mask_path: Path | None = None
    depth_path: Path | None = None
    normal_path: Path | None = None
    depth_lens: tuple[float, float, float, float] | None = None
    split: str | None = None
    seen_points: np.ndarray | None = None


@dataclass(frozen=True)
class Capture:
    """All that a format states.

    Attributes:
        views: in an order that repeats.
        format: the format's name.
        points, colors: N x 3 float64 positions and [0, 1] colours, dataset frame.
        transform: the format's own convention of the region of interest; None leaves it to the cameras and points.
        z_up: the dataset's z axis is known to point up.
        bounded: nothing lies outside the region; None where alpha or object masks decide.
        extent_scale: the format's own statement; None leaves it to the cameras and points.
        near, far: dataset units.
        background: as in `Scene`.
        object_masks: masks outline the object rather than mark pixels to ignore.
        depth_unit: dataset units for one unit of the depth files' numbers.
        depth_along_rays: depth files hold distances along rays rather than along the optical axis.
        warnings: one sentence each.
    """

    views: list[View]
    format: str
    points: np.ndarray | None = None
    colors: np.ndarray | None = None
    transform: Similarity | None = None
    z_up: bool = False
    bounded: bool | None = None
    extent_scale: float | None = None
    near: float | None = None
    far: float | None = None
    background: str | None = None
    object_masks: bool = False
    depth_unit: float = 1.0
    depth_along_rays: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SceneFormat:
    """A way to store posed images.

    Attributes:
        name: short, as `onefield inspect` prints it.
        looked_for: what makes a folder one of this format, for messages.
        recognises: a cheap look at the folder (or file).
        read: everything that the files state.
    """

    name: str
    looked_for: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Capture]
