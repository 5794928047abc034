"""The finished scene: COLMAP's model and the same cameras as transforms.json, over one folder of pictures."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from onefield.data.capture import View
from onefield.data.colmap import COLMAP
from onefield.data.point_files import read_ply_points
from onefield.data.structure_from_motion.job import MODEL, PICTURES, Job, JobResult
from onefield.errors import DataError, ResourceError
from onefield.files import explain_write_errors, sync_folder, write_atomically

SCENE = "scene"
POINTS_FILE = "points.ply"
TRANSFORMS = "transforms.json"
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def compose_scene(work: Path, job: Job, result: JobResult) -> Path:
    """Puts a scene together inside the work folder: ``images``, ``sparse/0``, ``points.ply``, ``transforms.json``.

    Pictures are linked (or copied where links are impossible), so that an interrupted call can be repeated.

    Raises:
        ResourceError: the disk is full, or can't be written; or the model in the work folder is not whole.
    """
    scene = work / SCENE
    with explain_write_errors(scene):
        shutil.rmtree(scene, ignore_errors=True)
        files = {picture.name: picture.file for picture in job.pictures}
        for picture in result.pictures:
            target = scene / PICTURES / picture.name
            source = work / PICTURES / files[picture.name]
            if picture.registered:
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(source, target)
        model = scene / "sparse" / "0"
        model.mkdir(parents=True, exist_ok=True)
        for file in (work / MODEL).iterdir():
            shutil.copyfile(file, model / file.name)
        shutil.copyfile(work / POINTS_FILE, scene / POINTS_FILE)
    views = _checked_views(scene, result)
    write_atomically(scene / TRANSFORMS, json.dumps(_transforms(views), indent=1).encode())
    return scene


def _checked_views(scene: Path, result: JobResult) -> list[View]:
    """The cameras as they were written: the library that wrote them does not notice when a disk is full."""
    try:
        views = COLMAP.read(scene).views
        points, _ = read_ply_points(scene / POINTS_FILE)
    except DataError as error:
        raise ResourceError(_not_whole(scene, str(error))) from error
    if (len(views), len(points)) != (result.registered, result.points):
        raise ResourceError(
            _not_whole(scene, f"{len(views)} of {result.registered} cameras, {len(points)} of {result.points} points")
        )
    return views


def _not_whole(scene: Path, found: str) -> str:
    return (
        f"What was written in {scene.parent} is not whole, most likely because the disk was full "
        f"({found.rstrip('.')}); free space there and run the same again."
    )


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # some file systems have no links
        shutil.copyfile(source, target)


def publish(scene: Path, output: Path) -> None:
    """Makes a complete folder appear under its name.

    Raises:
        ResourceError: something is in the way, or the disk can't be written.
    """
    with explain_write_errors(output):
        for file in (path for path in scene.rglob("*") if path.is_file()):
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
        os.rename(scene, output)
        sync_folder(output.parent)


def _transforms(views: list[View]) -> dict[str, object]:
    """Cameras in the form of instant-ngp and nerfstudio: OpenGL axes, z up."""
    frames = []
    shared = all(_intrinsics(view) == _intrinsics(views[0]) for view in views)
    for view in views:
        matrix = np.eye(4)
        matrix[:3] = view.camera_to_world
        frame: dict[str, object] = {"file_path": f"{PICTURES}/{view.name}"}
        if not shared:
            frame |= _intrinsics(view)
        frames.append(frame | {"transform_matrix": (matrix @ _OPENGL).tolist()})
    top: dict[str, object] = {"camera_model": "OPENCV"}
    if shared:
        top |= _intrinsics(views[0])
    return top | {"ply_file_path": POINTS_FILE, "frames": frames}


def _intrinsics(view: View) -> dict[str, object]:
    k1, k2, p1, p2 = view.distortion[:4]
    return {
        "w": view.size[0],
        "h": view.size[1],
        "fl_x": view.focal[0],
        "fl_y": view.focal[1],
        "cx": view.center[0],
        "cy": view.center[1],
        "k1": k1,
        "k2": k2,
        "p1": p1,
        "p2": p2,
    }
