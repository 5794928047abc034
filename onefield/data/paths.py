"""Camera paths for videos: around the scene, a gentle spiral, through the training views, or from a JSON file.

All paths are in the scene's normalised frame (z up where known), with the intrinsics of a typical training view, its
principal point in the middle, and no distortion.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation, Slerp

from onefield.cameras import Cameras
from onefield.data.scene import Scene
from onefield.data.strict_json import JsonObject, read_json_object
from onefield.errors import DataError, UsageError, nearest_name
from onefield.files import write_atomically

_STEEPEST = math.radians(80.0)  # an orbit nearer to the pole would turn about the optical axis
_UNSEEN_GAP = math.radians(120.0)  # a wider gap between the views' azimuths is not flown through
_SPIRAL_TURNS = 2
_SPIRAL_QUANTILE = 0.8  # of the views' offsets: the spiral stays where views were taken
_DISORDERED = 2.5  # steps between successive views, as a multiple of those to the nearest other view
_MOST_VIEWS = 500  # to fly through: finding neighbours looks at all pairs
_SHORTEST_STEP = 0.02  # of the longest; views at one place still take some frames to turn between
_ROTATION_TOLERANCE = 1e-3  # of matrices written as decimal text
_NARROWEST = 1e-3  # degrees of a view; the longest telescopes see more
_LONGEST_SIDE = 1 << 16  # pixels of a view; no format of videos holds more
_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])

_FILE_KEYS = frozenset({"frame", "axes", "width", "height", "vertical_fov", "views"})
_VIEW_KEYS = frozenset({"camera_to_world", "vertical_fov"})


def orbit_path(scene: Scene, frames: int, *, radius: float | None = None, elevation: float | None = None) -> Cameras:
    """Around the middle of the region of interest, looking at it; to and fro where the views cover only one side.

    Args:
        frames: how many views, the last one a step before the first.
        radius: distance from the middle, normalised units; the training views' median where not given.
        elevation: angle above the horizon in radians; the training views' median where not given.

    Raises:
        UsageError: no frames, no positive radius, or an elevation that is no number.
    """
    _check_frames(frames)
    positions = _training_poses(scene)[:, :, 3]
    distances = np.linalg.norm(positions, axis=1)
    if radius is None:
        radius = float(np.median(distances))
    if not 0 < radius < math.inf:
        raise UsageError(f"An orbit needs a radius > 0, got {radius}; give one with radius=...")
    if elevation is not None and not math.isfinite(elevation):
        raise UsageError(f"The elevation of an orbit is an angle in radians, got {elevation}.")
    if elevation is None:
        elevation = float(np.median(np.arcsin(positions[:, 2] / np.maximum(distances, np.finfo(float).tiny))))
    elevation = float(np.clip(elevation, -_STEEPEST, _STEEPEST))
    azimuths = _sweep(np.arctan2(positions[:, 1], positions[:, 0]), frames)
    flat = radius * math.cos(elevation)
    rise = np.full(frames, radius * math.sin(elevation))
    eyes = np.stack([flat * np.cos(azimuths), flat * np.sin(azimuths), rise], axis=-1)
    return _cameras(scene, _looking(eyes, np.zeros(3), np.array([0.0, 0.0, 1.0])))


def spiral_path(scene: Scene, frames: int) -> Cameras:
    """Around the mean training view, looking at one point in the middle of what it sees; made for forward captures.

    The path of Local Light Field Fusion (Mildenhall et al. 2019): sideways circles, once to and fro along the view.

    Raises:
        UsageError: no frames.
    """
    _check_frames(frames)
    poses = _training_poses(scene)
    middle, forward = poses[:, :, 3].mean(axis=0), _unit(poses[:, :, 2].mean(axis=0))
    mean = _looking(middle[None], middle + forward, -poses[:, :, 1].mean(axis=0))[0]
    offsets = np.abs((poses[:, :, 3] - middle) @ mean[:, :3])
    reach = np.quantile(offsets, _SPIRAL_QUANTILE, axis=0)
    # the region of interest is centred at the origin: the point of the view's axis that is nearest to it
    depth = max(float(-middle @ forward), 1.0)
    angle = np.arange(frames) / frames * 2 * math.pi * _SPIRAL_TURNS
    swing = np.stack([np.cos(angle), np.sin(angle), np.sin(angle / _SPIRAL_TURNS)], axis=-1)
    eyes = middle + (swing * reach) @ mean[:, :3].T
    return _cameras(scene, _looking(eyes, middle + depth * forward, -mean[:, 1]))


def views_path(scene: Scene, frames: int) -> Cameras:
    """Through the training views: positions on a Catmull-Rom spline, rotations by the shortest way between views.

    Views are taken in their order, or from neighbour to neighbour where their order jumps about; of more than 500, 500
    at even steps.

    Raises:
        UsageError: no frames.
    """
    _check_frames(frames)
    poses = _training_poses(scene)
    if len(poses) > _MOST_VIEWS:
        poses = poses[np.linspace(0, len(poses) - 1, _MOST_VIEWS).round().astype(int)]
    return _cameras(scene, poses_between(poses[_flying_order(poses[:, :, 3])], frames))


def poses_between(poses: Float[np.ndarray, "n 3 4"], frames: int) -> Float[np.ndarray, "f 3 4"]:
    """A smooth way through poses, from the first to the last: a Catmull-Rom spline, rotations by the shortest way.

    Args:
        poses: camera-to-world, at least one; the way takes time by the distance between them.
        frames: how many poses to place on it at equal times.
    """
    if len(poses) == 1:
        return np.repeat(poses, frames, axis=0)
    points = poses[:, :, 3]
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    steps = np.maximum(steps, steps.max() * _SHORTEST_STEP) if steps.max() > 0 else np.ones(len(steps))
    knots = np.concatenate([[0.0], np.cumsum(steps)])
    spans = np.concatenate([knots[1:2], knots[2:] - knots[:-2], knots[-1:] - knots[-2:-1]])
    ends = np.concatenate([points[1:], points[-1:]]) - np.concatenate([points[:1], points[:-1]])
    times = np.linspace(0.0, knots[-1], frames)
    eyes = CubicHermiteSpline(knots, points, ends / spans[:, None])(times)
    turns = Slerp(knots, Rotation.from_matrix(poses[:, :, :3]))(times).as_matrix()
    return np.concatenate([turns, eyes[..., None]], axis=-1)


def path_from_json(path: Path, scene: Scene) -> Cameras:
    """Views from a file.

    Its keys: ``views``, a list of objects with ``camera_to_world`` (4x4 or 3x4) and, where it changes,
    ``vertical_fov`` (degrees); and for all views ``frame`` (``"dataset"``, the default: the frame of the dataset's own
    poses; or ``"scene"``: the normalised one), ``axes`` (``"opencv"``, the default, or ``"opengl"``), ``width``,
    ``height`` (pixels) and ``vertical_fov``. What is left out comes from a typical training view.
    A path written by Nerfstudio (``camera_path``, ``render_width``, ``render_height``) is read as well, its poses in
    the dataset's frame.

    Raises:
        DataError: broken JSON, unknown keys or values, a matrix that is no pose, no views.
    """
    file = read_json_object(path)
    if "camera_path" in file:
        views, frame, axes, sizes = file.objects("camera_path"), "dataset", "opengl", ("render_width", "render_height")
        angle_key = "fov"
    else:
        _check_keys(file, _FILE_KEYS)
        views, sizes, angle_key = file.objects("views"), ("width", "height"), "vertical_fov"
        for view in views:
            _check_keys(view, _VIEW_KEYS)
        frame = _choice(file, "frame", ("dataset", "scene"))
        axes = _choice(file, "axes", ("opencv", "opengl"))
    if not views:
        raise DataError(f"{path} has no views; a path needs at least one.")
    typical = _typical_view(scene)
    poses = np.stack([_pose(view) for view in views])
    if axes == "opengl":
        poses[:, :, :3] = poses[:, :, :3] @ _FROM_OPENGL
    width = _pixels(file, sizes[0], int(typical.width[0]))
    height = _pixels(file, sizes[1], int(typical.height[0]))
    usual = math.degrees(typical_vertical_fov(scene))
    angles = np.array([view.number(angle_key, file.number(angle_key, usual)) for view in views])
    if not ((angles > _NARROWEST) & (angles < 180)).all():
        found = f"{angles.min()} to {angles.max()}"
        raise DataError(f"{path}: '{angle_key}' must lie between {_NARROWEST} and 180 degrees, got {found}.")
    focal = height / 2 / np.tan(np.radians(angles) / 2)
    placed = torch.from_numpy(poses)
    if frame == "dataset":
        placed = scene.transform.apply_poses(placed)
    return Cameras.pinhole(
        placed, torch.from_numpy(np.stack([focal, focal], -1)), (width / 2, height / 2), width, height
    )


def write_path_json(path: Path, scene: Scene, poses: Float[np.ndarray, "n 3 4"], vertical_fov: float) -> None:
    """Writes views in the form that `path_from_json` reads: in the dataset's frame, of a typical training view's size.

    Args:
        poses: camera-to-world in the scene's frame.
        vertical_fov: of all views, radians.

    Raises:
        ResourceError: it can't be written.
    """
    view = _typical_view(scene)
    placed = scene.transform.invert_poses(torch.from_numpy(np.ascontiguousarray(poses)))
    record = {
        "frame": "dataset",
        "axes": "opencv",
        "width": int(view.width[0]),
        "height": int(view.height[0]),
        "vertical_fov": math.degrees(vertical_fov),
        "views": [{"camera_to_world": pose} for pose in placed.tolist()],
    }
    write_atomically(path, json.dumps(record, indent=1).encode())


def typical_vertical_fov(scene: Scene) -> float:
    """Angle in radians over the height of the training view of median field of view."""
    view = _typical_view(scene)
    return 2 * math.atan(float(view.height[0] / 2 / view.focal[0, 1]))


def suggested_path(scene: Scene) -> str:
    """``"spiral"`` where the training views all look one way from about one place, else ``"orbit"``."""
    poses = _training_poses(scene)
    one_way = np.linalg.norm(poses[:, :, 2].mean(axis=0)) > math.cos(math.radians(25.0))
    spread = np.linalg.norm(poses[:, :, 3] - poses[:, :, 3].mean(axis=0), axis=1).max()
    away = np.linalg.norm(poses[:, :, 3].mean(axis=0))
    return "spiral" if one_way and spread < away else "orbit"


def _check_frames(frames: int) -> None:
    if frames < 1:
        raise UsageError(f"A camera path needs at least 1 frame, got {frames}.")


def _training_poses(scene: Scene) -> np.ndarray:
    chosen = scene.train_indices if len(scene.train_indices) else torch.arange(len(scene.cameras))
    return scene.cameras.camera_to_world[chosen.to(scene.cameras.focal.device)].cpu().double().numpy()


def _typical_view(scene: Scene) -> Cameras:
    """The view of the median field of view."""
    cameras = scene.cameras.to("cpu")
    order = torch.argsort(cameras.focal[:, 0] / cameras.width, stable=True)
    return cameras[int(order[(len(order) - 1) // 2])]


def _cameras(scene: Scene, poses: np.ndarray) -> Cameras:
    view = _typical_view(scene)
    width, height = int(view.width[0]), int(view.height[0])
    return Cameras.pinhole(
        torch.from_numpy(np.ascontiguousarray(poses)), view.focal[0], (width / 2, height / 2), width, height
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _looking(eyes: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Poses ``n 3 4`` at ``eyes``, whose z axis points to the target and whose y axis points down."""
    forward = _unit(target - eyes)
    right = _unit(np.cross(forward, up))
    return np.stack([right, np.cross(forward, right), forward, eyes], axis=-1)


def _sweep(azimuths: np.ndarray, frames: int) -> np.ndarray:
    """Angles of an orbit: a full circle, or to and fro over the arc that the views cover."""
    share = np.arange(frames) / frames
    ordered = np.sort(azimuths)
    gaps = np.diff(np.concatenate([ordered, ordered[:1] + 2 * math.pi]))
    widest = int(np.argmax(gaps))
    if gaps[widest] < _UNSEEN_GAP or len(azimuths) < 3:
        return ordered[0] + 2 * math.pi * share
    covered = 2 * math.pi - gaps[widest]
    first = ordered[(widest + 1) % len(ordered)]
    return first + covered * (1 - np.cos(2 * math.pi * share)) / 2


def _flying_order(positions: np.ndarray) -> np.ndarray:
    count = len(positions)
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    given = np.arange(count)
    if count < 3 or apart[given[:-1], given[1:]].mean() <= _DISORDERED * apart.min(axis=1).mean():
        return given
    order = [0]
    while len(order) < count:
        apart[:, order[-1]] = np.inf
        order.append(int(np.argmin(apart[order[-1]])))
    return np.array(order)


def _check_keys(item: JsonObject, valid: frozenset[str]) -> None:
    for key in item.values:
        if key not in valid:
            raise DataError(f"{item.where}: unknown key '{key}': {nearest_name(key, valid)}.")


def _choice(file: JsonObject, key: str, valid: tuple[str, ...]) -> str:
    value = file.text(key) if key in file else valid[0]
    if value not in valid:
        raise DataError(f"{file.where}: unknown {key} '{value}': {nearest_name(value, valid)}.")
    return value


def _pixels(file: JsonObject, key: str, default: int) -> int:
    value = file.number(key, default)
    if value != int(value) or not 1 <= value <= _LONGEST_SIDE:
        raise DataError(
            f"{file.where}: '{key}' must be a whole number of pixels from 1 to {_LONGEST_SIDE}, got {value}."
        )
    return int(value)


def _pose(view: JsonObject) -> np.ndarray:
    """A rigid pose, its rotation freed from the errors of decimal text."""
    matrix = view.array("camera_to_world", ((4, 4), (3, 4), (16,)))
    matrix = matrix.reshape(-1, 4)[:3].copy()
    left, stretch, right = np.linalg.svd(matrix[:, :3])
    if np.abs(stretch - 1).max() > _ROTATION_TOLERANCE or np.linalg.det(matrix[:, :3]) < 0:
        found = f"singular values {stretch.round(4).tolist()}"
        raise DataError(f"{view.where}: 'camera_to_world' must hold a rotation, not one mirrored or scaled: {found}.")
    matrix[:, :3] = left @ right
    return matrix
