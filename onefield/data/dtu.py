"""DTU and BlendedMVS as IDR and NeuS store them: cameras_sphere.npz with image/ and mask/.

``world_mat_i`` projects world points to pixels; ``scale_mat_i`` takes the unit sphere, in which the object lies, to the
world. Keys and images are matched by number, not by text. The principal point is taken as stated, with the first
pixel's centre at (0.5, 0.5).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from onefield.data.arrays import load_npz
from onefield.data.capture import Capture, SceneFormat, View
from onefield.data.dataset_paths import images_in, inside, is_file
from onefield.data.scene import Similarity
from onefield.errors import DataError

_FILE = "cameras_sphere.npz"
# Pixels of skew that projections rounded to float32 decompose into, though they were made without.
_ROUNDING_SKEW = 1e-2
# Pixels times world units stay far below this; larger entries would overflow in a determinant.
_LARGEST_ENTRY = 1e18
_LEAST_RADIUS, _MOST_RADIUS = 1e-9, 1e12  # of the scene, in its own units


def _recognises(path: Path) -> bool:
    return is_file(path / _FILE)


def _read(path: Path) -> Capture:
    file = path / _FILE
    arrays = load_npz(file)
    numbers = sorted(int(key[len("world_mat_") :]) for key in arrays if re.fullmatch(r"world_mat_\d{1,9}", key))
    images = next((found for name in ("image", "images", "rgb") if (found := images_in(path / name))), [])
    if not numbers or len(images) != len(numbers):
        raise DataError(
            f"{file} has {len(numbers)} cameras (world_mat_0, ...) but {path / 'image'} has {len(images)} images; "
            "there must be one each."
        )
    images = sorted(images, key=_number)
    masks = {_number(mask): _inside(path, mask) for mask in images_in(path / "mask")}
    views = []
    for number, image in zip(numbers, images, strict=True):
        pose, focal, center, skew = _decomposed(_matrix(arrays, f"world_mat_{number}", file)[:3], number, file)
        mask = masks.get(_number(image))
        skew = skew if abs(skew) > _ROUNDING_SKEW else 0.0
        views.append(View(image.name, _inside(path, image), pose, focal, center, mask_path=mask, skew=skew))
    transform = _sphere(_matrix(arrays, f"scale_mat_{numbers[0]}", file), file)
    return Capture(views, "dtu", transform=transform, object_masks=bool(masks))


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1][-18:]) if digits else -1


def _inside(root: Path, file: Path) -> Path:
    return inside(root, str(file.relative_to(root)), str(root))


def _matrix(arrays: dict[str, np.ndarray], key: str, file: Path) -> np.ndarray:
    matrix = arrays.get(key)
    if matrix is None or matrix.shape != (4, 4) or not (np.abs(matrix) < _LARGEST_ENTRY).all():
        found = "is missing" if matrix is None else f"has shape {matrix.shape}, or NaN or numbers without measure"
        raise DataError(f"{file}: '{key}' {found}; it must be a 4x4 matrix of finite numbers.")
    return matrix.astype(np.float64)


def _sphere(matrix: np.ndarray, file: Path) -> Similarity:
    radius = matrix[0, 0]
    expected = np.eye(4)
    expected[:3, :3] *= radius
    expected[:3, 3] = matrix[:3, 3]
    # beyond these a scene is written wrong, not merely small or large
    if not _LEAST_RADIUS < radius < _MOST_RADIUS or np.abs(matrix - expected).max() > 1e-6 * radius:
        raise DataError(f"{file}: scale_mat must scale alike on all axes and shift, got {matrix.tolist()}.")
    return Similarity.about(torch.from_numpy(matrix[:3, 3].copy()), 1.0 / radius)


def _decomposed(
    projection: np.ndarray, number: int, file: Path
) -> tuple[np.ndarray, tuple[float, float], tuple[float, float], float]:
    """Pose, focal lengths, centre and skew of a 3x4 projection ``K [R | t]``, known up to scale and sign."""
    left = projection[:, :3]
    determinant = np.linalg.det(left)
    if not np.isfinite(determinant) or determinant == 0:
        raise DataError(f"{file}: 'world_mat_{number}' is no projection (its left 3x3 part can't be inverted).")
    projection = projection * np.sign(determinant)
    left = projection[:, :3]
    # RQ from QR of the flipped transpose: A = K R with K upper triangular.
    flip = np.eye(3)[::-1]
    orthogonal, triangular = np.linalg.qr((flip @ left).T)
    intrinsics, rotation = flip @ triangular.T @ flip, flip @ orthogonal.T
    signs = np.sign(np.diag(intrinsics))
    intrinsics, rotation = intrinsics * signs, signs[:, None] * rotation
    position = -np.linalg.solve(left, projection[:, 3])
    intrinsics = intrinsics / intrinsics[2, 2]
    pose = np.concatenate([rotation.T, position[:, None]], axis=1)
    focal = (float(intrinsics[0, 0]), float(intrinsics[1, 1]))
    return pose, focal, (float(intrinsics[0, 2]), float(intrinsics[1, 2])), float(intrinsics[0, 1])


DTU = SceneFormat("dtu", "cameras_sphere.npz with image/ (DTU, NeuS)", _recognises, _read)
