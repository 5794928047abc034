"""The frame of poses that came with the photos: what is found anew is brought back into it.

Poses of phone apps and robots are off by degrees and centimetres, but their units are metres and their z axis points
up. So the pictures say how the cameras stand to each other, and the given poses, all together, where that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

# Larger medians than these (degrees; share of the cameras' spread) are no noise: the poses are of something else.
_MOST_TURNED, _MOST_MOVED = 20.0, 0.25
# Rotations are as exact as files of single precision.
_ORTHONORMAL = 1e-3
_FEWEST = 3
_ROUNDS = 50
# Residuals below this share of the median count alike, so that one exact pose does not outweigh all others.
_LEAST_SHARE = 1e-3
_LEAST_LENGTH = 1e-12


@dataclass(frozen=True)
class GivenFrame:
    """The similarity x -> scale * turn @ x + shift from the found frame to the given one.

    Attributes:
        degrees, distance: medians of what the given poses differ by from the found ones, the latter in given units.
    """

    scale: float
    turn: Float[np.ndarray, "3 3"]
    shift: Float[np.ndarray, "3"]
    degrees: float
    distance: float


def usable_pose(pose: Float[np.ndarray, "3 4"]) -> bool:
    """Whether a given pose is finite and turns without bending."""
    rotation = pose[:, :3]
    return bool(np.isfinite(pose).all()) and bool(np.abs(rotation.T @ rotation - np.eye(3)).max() < _ORTHONORMAL)


def frame_of(found: Float[np.ndarray, "C 3 4"], given: Float[np.ndarray, "C 3 4"]) -> GivenFrame | None:
    """The frame that most given poses agree with (least absolute deviations), or None where there is no such frame.

    Args:
        found, given: camera-to-world poses of the same cameras, OpenCV axes.
    """
    if len(found) < _FEWEST:
        return None
    turn, angles = _median_rotation(given[:, :, :3] @ found[:, :, :3].transpose(0, 2, 1))
    places = found[:, :, 3] @ turn.T
    scale, shift, distances = _median_placement(places, given[:, :, 3])
    degrees, distance = float(np.degrees(np.median(angles))), float(np.median(distances))
    spread = float(np.median(np.linalg.norm(given[:, :, 3] - np.median(given[:, :, 3], axis=0), axis=1)))
    if degrees > _MOST_TURNED or scale <= 0 or distance >= _MOST_MOVED * spread:
        return None
    return GivenFrame(scale, turn, shift, degrees, distance)


def _weights(residuals: np.ndarray) -> np.ndarray:
    return 1.0 / np.maximum(residuals, max(_LEAST_SHARE * float(np.median(residuals)), _LEAST_LENGTH))


def _median_rotation(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation with the least sum of angles to all (Hartley et al., "Rotation averaging" (2013), section 5)."""
    rotations = Rotation.from_matrix(turns)
    mean = rotations[int(np.argmin([(rotations[i].inv() * rotations).magnitude().sum() for i in range(len(turns))]))]
    for _ in range(_ROUNDS):
        steps = (mean.inv() * rotations).as_rotvec()
        weights = _weights(np.linalg.norm(steps, axis=1))
        mean = mean * Rotation.from_rotvec(weights @ steps / weights.sum())
    return mean.as_matrix(), (mean.inv() * rotations).magnitude()


def _median_placement(places: np.ndarray, wanted: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale and shift with about the least sum of distances, by weights that follow the residuals."""
    weights = np.ones(len(places))
    for _ in range(_ROUNDS):
        shares = weights / weights.sum()
        middle, target = shares @ places, shares @ wanted
        away, apart = places - middle, wanted - target
        scale = float(shares @ (away * apart).sum(1)) / max(float(shares @ (away * away).sum(1)), _LEAST_LENGTH)
        residuals = np.linalg.norm(apart - scale * away, axis=1)
        weights = _weights(residuals)
    return scale, target - scale * middle, residuals
