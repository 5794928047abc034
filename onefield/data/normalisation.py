"""Choosing the similarity that brings the region of interest into [-1, 1]^3.

Three cases, told apart by the cameras alone:

- The optical axes meet in front of the cameras (someone walked around an object): the point nearest to all axes becomes
  the origin, and the cube's half-extent follows the points found there, or what fills the pictures at that distance.
- The axes are nearly parallel (a forward-facing capture): the cube is centred in the middle of the pictures at the
  harmonic mean of the nearest and farthest depth, where a pixel's parallax is halfway between theirs. It reaches to the
  nearest depth and to the picture's borders; what lies farther belongs to a renderer's contraction or outer grids.
- Anything else (a walk through rooms): the cube holds the cameras, or most points where there are points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from onefield.data.scene import Similarity

# Smallest eigenvalue of the mean projector across the viewing axes: 0 for parallel axes, 2/3 for axes all around.
# 0.04 is a fan of about 12 degrees to either side, below which the meeting point is badly determined.
_CONVERGENT = 0.04
# Share of cameras that must have the meeting point in front of them.
_MOSTLY = 0.9
# Mean cosine between viewing axes and the way to the meeting point, for "around an object".
_LOOKING_AT = 0.85
# Without points the half-extent is what fills the picture at the median camera distance, as a share of that distance
# within these limits (telescopes; wide angles, which nobody fills with an object).
_NARROWEST_SHARE, _WIDEST_SHARE = 0.2, 0.6
# With points: limits of the half-extent as shares of the camera distance, and margin around the points' 90 % quantile.
_SMALLEST_SHARE, _LARGEST_SHARE, _MARGIN = 0.2, 1.0, 1.15
_FEWEST_POINTS = 50
# A capture without any depth: photographers keep the nearest content at about 3 times and the farthest at about 30
# times the distance over which they moved the camera.
_NEAR_BASELINES, _FAR_BASELINES = 3.0, 30.0
# Quantiles that stand for the nearest and the farthest of measured points, which always have a few wrong ones.
_NEAREST, _FARTHEST = 0.01, 0.99
# Points used for estimates; more change nothing.
_MOST_POINTS = 20_000
_LARGEST_EXTENT = 128.0
# Shorter mean of the cameras' up vectors than this: they were held every way, no guess is better than none.
_UPRIGHT = 0.3


@dataclass(frozen=True)
class Placement:
    """A chosen similarity, and whether its z axis is a guess."""

    similarity: Similarity
    up_estimated: bool


def place(
    poses: np.ndarray,
    tangents: np.ndarray,
    points: np.ndarray | None,
    depth_limits: tuple[float, float] | None,
    z_up: bool,
) -> Placement:
    """The similarity for cameras without a convention of their own.

    Args:
        poses: C x 3 x 4 camera-to-world, OpenCV axes.
        tangents: C numbers: the larger half-size of the picture over its focal length.
        points: N x 3 finite points, or None.
        depth_limits: nearest and farthest depth that the dataset states.
        z_up: the dataset's z axis points up already.
    """
    rotation, estimated = (np.eye(3), False) if z_up else upright_rotation(poses)
    some = None if points is None or len(points) < _FEWEST_POINTS else points[:: -(-len(points) // _MOST_POINTS)]
    focus = _meeting_point(poses)
    if focus is not None:
        center, half = focus, _object_half_extent(poses, tangents, focus, some)
    elif _is_forward_facing(poses):
        center, half = _forward_region(poses, tangents, some, depth_limits)
    else:
        center, half = _room_region(poses, some)
    similarity = Similarity.about(torch.from_numpy(center), 1.0 / half, torch.from_numpy(rotation))
    return Placement(similarity, estimated)


def upright_rotation(poses: np.ndarray) -> tuple[np.ndarray, bool]:
    """The smallest rotation that turns the cameras' mean up direction to z; False where they don't agree on any."""
    up = -poses[:, :, 1].mean(axis=0)
    length = np.linalg.norm(up)
    if length < _UPRIGHT:
        return np.eye(3), False
    up = up / length
    axis = np.cross(up, [0.0, 0.0, 1.0])
    sine, cosine = np.linalg.norm(axis), up[2]
    if sine < 1e-12:  # Already up, or upside down: half a turn about x.
        return (np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])), True
    x, y, z = axis / sine
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + sine * skew + (1 - cosine) * skew @ skew, True


def extent_scale(positions: np.ndarray, points: np.ndarray | None) -> float:
    """The power of two whose cube holds 95 % of the cameras' positions (and farthest content) and of the points.

    Both are in the normalised frame, N x 3.
    """
    reach = np.quantile(np.abs(positions).max(axis=1), 0.95)
    if points is not None and len(points):
        reach = max(reach, np.quantile(np.abs(points).max(axis=1), 0.95))
    # A camera on the border of a cube still belongs to it.
    return float(min(2.0 ** np.ceil(np.log2(max(reach, 1.0)) - 1e-6), _LARGEST_EXTENT))


def _meeting_point(poses: np.ndarray) -> np.ndarray | None:
    """The point with the least sum of squared distances to the optical axes, where it makes sense."""
    origins, forwards = poses[:, :, 3], poses[:, :, 2]
    projectors = np.eye(3) - forwards[:, :, None] * forwards[:, None, :]
    mean = projectors.mean(axis=0)
    if np.linalg.eigvalsh(mean)[0] < _CONVERGENT:
        return None
    # Relative to the mean position, so that coordinates of a national grid lose no digits.
    middle = origins.mean(axis=0)
    offset = np.linalg.solve(mean, np.einsum("nij,nj->i", projectors, origins - middle) / len(poses))
    focus = middle + offset
    to_focus = focus - origins
    distances = np.linalg.norm(to_focus, axis=1)
    cosines = (to_focus * forwards).sum(axis=1) / np.maximum(distances, np.finfo(float).tiny)
    if (cosines > 0).mean() < _MOSTLY or cosines.mean() < _LOOKING_AT:
        return None
    return focus


def _object_half_extent(poses: np.ndarray, tangents: np.ndarray, focus: np.ndarray, points: np.ndarray | None) -> float:
    distance = float(np.median(np.linalg.norm(poses[:, :, 3] - focus, axis=1)))
    if points is not None:
        reach = np.abs(points - focus).max(axis=1)
        near = reach[reach < distance]
        if len(near) >= _FEWEST_POINTS:
            share = _MARGIN * np.quantile(near, 0.9) / distance
            return distance * float(np.clip(share, _SMALLEST_SHARE, _LARGEST_SHARE))
    return distance * float(np.clip(np.median(tangents), _NARROWEST_SHARE, _WIDEST_SHARE))


def _is_forward_facing(poses: np.ndarray) -> bool:
    return float(np.linalg.norm(poses[:, :, 2].mean(axis=0))) > _MOSTLY


def _forward_region(
    poses: np.ndarray, tangents: np.ndarray, points: np.ndarray | None, limits: tuple[float, float] | None
) -> tuple[np.ndarray, float]:
    middle = poses[:, :, 3].mean(axis=0)
    forward = poses[:, :, 2].mean(axis=0)
    forward = forward / np.linalg.norm(forward)
    baseline = float(np.linalg.norm(poses[:, :, 3] - middle, axis=1).max())
    near, far = limits or _measured_depths(middle, forward, points) or (
        baseline * _NEAR_BASELINES, baseline * _FAR_BASELINES,
    )  # fmt: skip
    depth = 2.0 / (1.0 / near + 1.0 / far)
    half = max(depth - near, depth * float(np.median(tangents)) + baseline)
    return middle + depth * forward, half


def _measured_depths(middle: np.ndarray, forward: np.ndarray, points: np.ndarray | None) -> tuple[float, float] | None:
    if points is None:
        return None
    depths = (points - middle) @ forward
    depths = depths[depths > 0]
    if len(depths) < _FEWEST_POINTS:
        return None
    return float(np.quantile(depths, _NEAREST)), float(np.quantile(depths, _FARTHEST))


def _room_region(poses: np.ndarray, points: np.ndarray | None) -> tuple[np.ndarray, float]:
    positions = poses[:, :, 3]
    if points is not None:
        center = np.median(points, axis=0)
        half = np.quantile(np.abs(points - center).max(axis=1), 0.9)
        cameras = np.abs(positions - center).max()
        if half > 0:
            return center, float(max(half, min(cameras, 2 * half)))
    center = (positions.max(axis=0) + positions.min(axis=0)) / 2
    return center, 1.5 * float(np.abs(positions - center).max())
