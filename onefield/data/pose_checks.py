"""Are the cameras that a dataset states possible? Refuses nonsense by name and mends rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onefield.data.capture import View
from onefield.errors import DataError

# Poses printed with 4 decimals deviate by about 1e-4; those are mended in silence.
_SILENT_DRIFT = 1e-3
# Beyond this the matrix isn't a rotation with rounding errors but something else (scaled, sheared, transposed 3x4).
_LARGEST_DRIFT = 5e-2
# A view this many times farther from the median camera than the median view was not registered properly.
_OUTLIER_FACTOR = 100.0
# Cameras closer together than this share of their distance from the origin can't be told apart in float64 arithmetic.
_SAME_PLACE = 1e-9
FEWEST_VIEWS = 3
# The largest grid coordinates on Earth are below 1e8 metres; beyond this, numbers are rubbish rather than far away.
FARTHEST_POSITION = 1e12
# Focal length over the picture's longer side: fisheyes have about 0.2, the longest telescopes a few hundred.
_FOCAL_RANGE = (1e-2, 1e4)
# Principal point from the picture's middle, in picture sizes; cropped pictures leave it outside, but not far.
_CENTER_RANGE = 20.0
# Coefficients of real lenses stay below 100.
_LARGEST_DISTORTION = 1e4


def checked_views(views: list[View], source: str) -> tuple[list[View], list[str]]:
    """Views with sound poses and intrinsics, and one-sentence warnings about what was mended or dropped.

    Raises:
        DataError: a pose or intrinsic that means nothing, fewer than three views, or all cameras at one place.
    """
    for view in views:
        _check_intrinsics(view, source)
    mended, drifted = [], []
    for view in views:
        pose, drift = _rotation_mended(view, source)
        if drift > _SILENT_DRIFT:
            drifted.append(view.name)
        mended.append(replace(view, camera_to_world=pose))
    warnings = []
    if drifted:
        warnings.append(
            f"{len(drifted)} poses were not exact rotations and were re-orthonormalised (first: {drifted[0]})."
        )
    mended, dropped = _without_outliers(mended)
    if dropped:
        listed = ", ".join(view.name for view in dropped[:3])
        warnings.append(
            f"{len(dropped)} views stand more than {_OUTLIER_FACTOR:.0f} times farther away than the others and were "
            f"left out: {listed}."
        )
    _check_spread(mended, source)
    return mended, warnings


def check_proportions(
    name: str, size: tuple[int, int], focal: tuple[float, float], center: tuple[float, float], source: str
) -> None:
    """Refuses intrinsics that no camera has for a picture of this size.

    Raises:
        DataError: focal length or principal point out of all proportion.
    """
    longer = max(size)
    if not all(_FOCAL_RANGE[0] * longer <= value <= _FOCAL_RANGE[1] * longer for value in focal):
        raise DataError(
            f"{source}: the focal length of view '{name}' is {focal} pixels for a picture of {size[0]} x {size[1]}; "
            "state it in pixels of that picture."
        )
    if not all(abs(value - side / 2) <= _CENTER_RANGE * side for value, side in zip(center, size, strict=True)):
        raise DataError(
            f"{source}: the principal point of view '{name}' is {center} for a picture of {size[0]} x {size[1]}; "
            "state it in pixels of that picture."
        )


def _check_intrinsics(view: View, source: str) -> None:
    numbers = {
        "focal length": view.focal,
        "centre": view.center,
        "distortion": (*view.distortion, view.radial8),
        "skew": (view.skew,),
        "size": view.size,
    }
    for what, values in numbers.items():
        if values is not None and not np.isfinite(values).all():
            raise DataError(f"{source}: the {what} of view '{view.name}' is {values}; correct it to finite numbers.")
    if view.focal is not None and min(view.focal) <= 0:
        raise DataError(f"{source}: the focal length of view '{view.name}' is {view.focal}; it must be above 0.")
    distortion = (*view.distortion, view.radial8)
    if max(map(abs, distortion)) > _LARGEST_DISTORTION:
        raise DataError(f"{source}: the distortion of view '{view.name}' is {distortion}; no lens has that.")
    if view.focal is not None and abs(view.skew) > view.focal[0]:
        raise DataError(f"{source}: the skew of view '{view.name}' is {view.skew} pixels; no camera has that.")
    if view.size is not None and min(view.size) < 1:
        raise DataError(f"{source}: view '{view.name}' is said to be {view.size[0]} x {view.size[1]} pixels.")
    if view.field_of_view is not None and not 0 < view.field_of_view < np.pi:
        raise DataError(
            f"{source}: the horizontal field of view of '{view.name}' is {view.field_of_view} radians; "
            "it must lie between 0 and pi."
        )


def _rotation_mended(view: View, source: str) -> tuple[np.ndarray, float]:
    pose = view.camera_to_world
    if not np.isfinite(pose).all():
        raise DataError(f"{source}: the pose of view '{view.name}' holds NaN or infinity; correct or remove the view.")
    rotation = pose[:, :3]
    largest = float(np.abs(rotation).max())
    # No entry of a rotation exceeds 1; huge ones would overflow in the product.
    drift = largest if largest > 2 else float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if not drift <= _LARGEST_DRIFT:
        raise DataError(
            f"{source}: the pose of view '{view.name}' is no rotation (its axes are off by {drift:.3g}); "
            "write camera-to-world matrices without scale or shear."
        )
    if np.linalg.det(rotation) < 0:
        raise DataError(
            f"{source}: the pose of view '{view.name}' is mirrored (determinant -1); flip one axis where it is written."
        )
    left, _, right = np.linalg.svd(rotation)
    return np.concatenate([left @ right, pose[:, 3:]], axis=1), drift


def _without_outliers(views: list[View]) -> tuple[list[View], list[View]]:
    if len(views) < FEWEST_VIEWS + 1:
        return views, []
    positions = np.stack([view.camera_to_world[:, 3] for view in views])
    with np.errstate(over="ignore"):
        distances = np.linalg.norm(positions - np.median(positions, axis=0), axis=1)
    typical = np.median(distances)
    if not typical > 0:
        return views, []
    far = distances > _OUTLIER_FACTOR * typical
    kept = [view for view, out in zip(views, far, strict=True) if not out]
    return kept, [view for view, out in zip(views, far, strict=True) if out]


def _check_spread(views: list[View], source: str) -> None:
    if len(views) < FEWEST_VIEWS:
        raise DataError(
            f"{source} has {len(views)} usable views; at least {FEWEST_VIEWS} are needed to see depth: add photos."
        )
    positions = np.stack([view.camera_to_world[:, 3] for view in views])
    reach = np.abs(positions).max()
    if reach > FARTHEST_POSITION:
        raise DataError(f"{source}: camera positions reach {reach:.3g}; state them in larger units.")
    spread = np.abs(positions - positions[0]).max()
    size = 1 + np.abs(positions[0]).max()
    if spread <= _SAME_PLACE * size:
        raise DataError(
            f"{source}: all {len(views)} cameras stand at one point, from where depth can't be seen; "
            "use photos taken from different places."
        )
