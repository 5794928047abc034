"""The visual hull: what the outlines of all photos leave, as distances (Laurentini 1994)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from onefield.data.scene import Scene
from onefield.errors import DataError
from onefield.fields.flexicubes import corner_points
from onefield.types import Bounds

# Alpha from which a pixel is part of the object.
_INSIDE = 0.5
# What fewer of the views than this share have in their pictures is taken to be empty: nobody meant to photograph it.
_LEAST_SEEN = 0.25
# Cells along an edge of the region in which the hull is looked for, and of its own box left free around it.
_SEARCH_CELLS, _MARGIN_CELLS = 48, 1.5


def hull_distances(scene: Scene, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
    """Signed distances to the visual hull of the training views' outlines, normalised units, negative inside.

    Each view bounds it by the cone through its outline, whose distance is that on the picture at the point's depth: the
    largest over the views is exact near the hull where one cone is nearest, and nowhere more than the distance.

    Args:
        scene: with alpha.
        points: in the scene's frame.

    Raises:
        DataError: a picture is missing or damaged.
    """
    farthest = torch.full((len(points),), -torch.inf)
    views = torch.zeros(len(points))
    for index in scene.train_indices.tolist():
        outline = _outline_distances(scene.images.image(index)[..., 3].numpy())
        pixels, depth, seen = _seen(scene, index, points)
        focal = float(scene.cameras.focal[index].mean())
        found = _between_pixels(outline, pixels[seen]) * depth[seen].float() / focal
        farthest[seen] = torch.maximum(farthest[seen], found)
        views += seen
    unseen = views < _least_views(scene)
    away = points.new_full((len(points),), scene.bounds.diagonal)
    return torch.where(unseen, away, farthest.to(points))


def inside_outlines(scene: Scene, points: Float[Tensor, "n 3"]) -> Bool[Tensor, "n"]:
    """Which points no training view that sees them shows as empty, to a pixel.

    Args:
        scene: with alpha.
        points: in the scene's frame.

    Raises:
        DataError: a picture is missing or damaged.
    """
    inside = torch.ones(len(points), dtype=torch.bool)
    views = torch.zeros(len(points))
    for index in scene.train_indices.tolist():
        alpha = scene.images.image(index)[..., 3]
        pixels, _, seen = _seen(scene, index, points)
        height, width = alpha.shape
        columns = pixels[seen, 0].long().clamp(max=width - 1)
        rows = pixels[seen, 1].long().clamp(max=height - 1)
        inside[seen] &= alpha[rows, columns] > 0
        views += seen
    return inside & (views >= _least_views(scene))


def _seen(
    scene: Scene, index: int, points: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n"], Bool[Tensor, "n"]]:
    """Places on a view's picture, depths, and which of them lie on it."""
    pixels, depth = scene.cameras.project(torch.tensor([index]), points.double())
    width, height = int(scene.cameras.width[index]), int(scene.cameras.height[index])
    seen = (depth > 0) & (pixels >= 0).all(-1) & (pixels[:, 0] <= width) & (pixels[:, 1] <= height)
    return pixels, depth, seen


def _least_views(scene: Scene) -> float:
    return max(1.0, _LEAST_SEEN * len(scene.train_indices))


def hull_box(scene: Scene) -> Bounds:
    """The box of the visual hull, with some room around it, within the region of interest.

    Raises:
        DataError: the outlines have nothing in common.
    """
    corners = corner_points(scene.bounds, (_SEARCH_CELLS,) * 3).reshape(-1, 3)
    side = max(scene.bounds.extent) / _SEARCH_CELLS
    # parts thinner than a cell lie between its corners
    held = corners[hull_distances(scene, corners) < side]
    if not len(held):
        raise DataError(
            f"The outlines of {scene.path} have nothing in common in the region of interest; look at masks and cameras "
            "with 'onefield inspect'."
        )
    low, high = held.amin(0) - _MARGIN_CELLS * side, held.amax(0) + _MARGIN_CELLS * side
    low = torch.maximum(low, low.new_tensor(scene.bounds.minimum))
    high = torch.minimum(high, high.new_tensor(scene.bounds.maximum))
    return Bounds(tuple(low.tolist()), tuple(high.tolist()))


def _outline_distances(alpha: Float[np.ndarray, "H W"]) -> Float[Tensor, "H W"]:
    """Distance in pixels of each pixel's centre from the outline, negative within."""
    inside = alpha >= _INSIDE
    if inside.all() or not inside.any():
        far = float(np.hypot(*alpha.shape))
        return torch.full(alpha.shape, -far if inside.all() else far)
    # the outline runs half a pixel before the nearest centre of the other side
    outward = distance_transform_edt(~inside) - 0.5
    inward = distance_transform_edt(inside) - 0.5
    return torch.from_numpy(np.where(inside, -inward, outward).astype(np.float32))


def _between_pixels(picture: Float[Tensor, "H W"], pixels: Float[Tensor, "n 2"]) -> Float[Tensor, "n"]:
    """Values at places of a picture, linear between the pixels' centres."""
    height, width = picture.shape
    places = 2 * pixels / pixels.new_tensor([width, height]) - 1
    grid = places.float().reshape(1, 1, -1, 2)
    sampled = torch.nn.functional.grid_sample(
        picture[None, None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.reshape(-1)
