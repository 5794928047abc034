"""Which way is up: from how people hold cameras, then from the ground where there is one.

Cameras are rolled little: their pictures' horizontal axes lie in a horizontal plane. A photo that lies on its side
(stored without an orientation tag) has another side of the picture on top, so each camera votes with the side that
fits best. The ground is a plane nearly level by that vote, which holds many points and has nearly all others, and the
cameras, above it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

AXES = {
    "x": (1, 0, 0), "-x": (-1, 0, 0), "y": (0, 1, 0), "-y": (0, -1, 0), "z": (0, 0, 1), "-z": (0, 0, -1),
}  # fmt: skip
# How likely the top, a side, or the bottom of a stored picture is up.
_TOP, _SIDE, _BOTTOM = 1.0, 0.85, 0.6
# Middle eigenvalue of the horizontal axes' mean projector; below it they are nearly parallel and span no plane.
_SPANS_A_PLANE = 0.05
_STEEPEST_GROUND = math.cos(math.radians(20.0))
_GROUND_TRIALS = 800
# Of the points' median distance from their middle.
_GROUND_THICKNESS = 0.02
_GROUND_SHARE, _ABOVE_GROUND = 0.15, 0.9
_FEWEST_POINTS = 100
_MOST_POINTS = 20_000
_LEAST_LENGTH = 1e-12


@dataclass(frozen=True)
class UpDirection:
    """A unit vector in the frame of the poses, and what it was found from."""

    direction: Float[np.ndarray, "3"]
    source: str


def find_up(poses: Float[np.ndarray, "C 3 4"], points: Float[np.ndarray, "N 3"]) -> UpDirection:
    """The up direction of a reconstruction.

    Args:
        poses: camera-to-world, OpenCV axes.
        points: sparse points in the same frame.
    """
    up = _up_of_cameras(poses)
    ground = _ground_normal(points, poses[:, :, 3], up)
    return UpDirection(up, "cameras") if ground is None else UpDirection(ground, "cameras and ground")


def turn_upright(direction: Float[np.ndarray, "3"], axis: str = "z") -> Float[np.ndarray, "3 3"]:
    """The rotation that turns ``direction`` to z, and then the named axis of that frame to z."""
    first, _ = Rotation.align_vectors([[0.0, 0.0, 1.0]], [direction])
    second, _ = Rotation.align_vectors([[0.0, 0.0, 1.0]], [AXES[axis]])
    return (second * first).as_matrix()


def _up_of_cameras(poses: np.ndarray) -> np.ndarray:
    right, down = poses[:, :, 0], poses[:, :, 1]
    # for each camera: the direction of its picture's top, left, right and bottom
    sides = np.stack([-down, -right, right, down], axis=1)
    weights = np.array([_TOP, _SIDE, _SIDE, _BOTTOM])
    candidates = np.concatenate([sides.reshape(-1, 3), _unit(-down.mean(axis=0))[None]])
    votes = np.einsum("kd,csd->kcs", candidates, sides) * weights
    chosen = candidates[int(votes.max(axis=2).sum(axis=1).argmax())]
    for _ in range(3):
        best = (np.einsum("d,csd->cs", chosen, sides) * weights).argmax(axis=1)
        rows = np.arange(len(poses))
        tops = sides[rows, best]
        level = np.where(((best == 0) | (best == 3))[:, None], right, down)
        chosen = _across(level, _unit(tops.mean(axis=0)))
    return chosen


def _across(level: np.ndarray, tops: np.ndarray) -> np.ndarray:
    """The direction across all level axes, on the side of the pictures' tops."""
    values, vectors = np.linalg.eigh(level.T @ level / len(level))
    if values[1] < _SPANS_A_PLANE:
        return tops
    return vectors[:, 0] * (1.0 if vectors[:, 0] @ tops >= 0 else -1.0)


def _ground_normal(points: np.ndarray, eyes: np.ndarray, up: np.ndarray) -> np.ndarray | None:
    if len(points) < _FEWEST_POINTS:
        return None
    points = points[:: -(-len(points) // _MOST_POINTS)]
    middle = np.median(points, axis=0)
    thickness = _GROUND_THICKNESS * float(np.median(np.linalg.norm(points - middle, axis=1)))
    generator = np.random.default_rng(0)
    triples = points[generator.integers(0, len(points), (_GROUND_TRIALS, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), _LEAST_LENGTH)
    normals *= np.where(normals @ up < 0, -1.0, 1.0)[:, None]
    best, inliers = 0, None
    for normal, corner in zip(normals, triples[:, 0], strict=True):
        if normal @ up < _STEEPEST_GROUND:
            continue
        heights = (points - corner) @ normal
        held = np.abs(heights) < thickness
        others = heights[~held]
        below = (others < 0).mean() if len(others) else 0.0
        above = ((eyes - corner) @ normal > 0).mean()
        if held.sum() > best and below < 1 - _ABOVE_GROUND and above > _ABOVE_GROUND:
            best, inliers = int(held.sum()), held
    if inliers is None or best < _GROUND_SHARE * len(points):
        return None
    ground = points[inliers]
    normal = np.linalg.svd(ground - ground.mean(axis=0), full_matrices=False)[2][2]
    return normal * (1.0 if normal @ up >= 0 else -1.0)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), _LEAST_LENGTH)
