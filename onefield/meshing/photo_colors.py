"""Colours of a surface's points blended from the photos that see them best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.meshing.visibility import seen_points
from onefield.types import Mesh

# Points at which photos are compared to level them.
_COMPARED = 4096
# Of linear light, what is too dark or too near saturation tells nothing of exposure.
_DARKEST, _BRIGHTEST = 0.01, 0.9
# A photo keeps its exposure with the weight of so many points that it shares with others.
_OWN_EXPOSURE = 10.0


@dataclass(frozen=True)
class PhotoView:
    """A photo and where it was taken.

    Attributes:
        camera: a batch of one, in the mesh's frame, with the lens's distortion.
        pixels: sRGB in [0, 1].
        counts: share in [0, 1] by which each pixel counts; None counts all.
    """

    camera: Cameras
    pixels: Float[Tensor, "H W 3"]
    counts: Float[Tensor, "H W"] | None = None


def blend_photos(
    mesh: Mesh,
    points: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    spacing: float,
    count: int,
    view_of: Callable[[int], PhotoView],
    observe: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Float[Tensor, "n 3"], Bool[Tensor, "n"]]:
    """Means of what photos show at points of a surface, in linear light, once photos are levelled.

    Photos are multiplied by a gain a channel first, `photo_gains`, so that where one ends no step is seen.
    A photo counts by its pixels on the patch that a point stands for, which become fewer with distance and slant; it
    counts nothing where the mesh hides the point from it, or is seen at more than 78 degrees.

    Args:
        mesh: what hides points.
        points: on the mesh.
        normals: unit, pointing out.
        spacing: side of the patch that a point stands for, world units.
        count: of the photos.
        view_of: each of them by number; asked for one after the other.
        observe: told how many photos are done.

    Returns:
        sRGB in [0, 1], and which points any photo saw; the others are black.
    """
    total, weight = torch.zeros(len(points), 3), torch.zeros(len(points))
    gains = photo_gains(mesh, points, normals, spacing, count, view_of)
    observe(0, count)
    for number in range(count):
        view = view_of(number)
        seen = seen_points(mesh, points, normals, view.camera)
        if len(seen.indices):
            area = seen.density * spacing**2
            colors, counts = _view_colors(view, seen.pixels, area)
            share = counts * area.float()
            total[seen.indices] += share[:, None] * colors * gains[number]
            weight[seen.indices] += share
        observe(number + 1, count)
    known = weight > 0
    return _encoded(total / torch.where(known, weight, 1.0)[:, None]) * known[:, None], known


def _view_colors(view: PhotoView, pixels: Tensor, area: Tensor) -> tuple[Tensor, Tensor]:
    """Linear colours and counts at pixels of a photo, as means over patches of so many pixels."""
    # of pixels that are finer than texels, as many are averaged as fall on one
    factor = max(1, math.floor(float(area.median()) ** 0.5))
    layers = [_linear(view.pixels), torch.ones(*view.pixels.shape[:2], 1)]
    if view.counts is not None:
        layers[1] = view.counts[..., None].float()
    return _sampled(torch.cat([layers[0] * layers[1], layers[1]], dim=-1), pixels, factor)


def photo_gains(
    mesh: Mesh,
    points: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    spacing: float,
    count: int,
    view_of: Callable[[int], PhotoView],
) -> Float[Tensor, "c 3"]:
    """What each photo's linear light is multiplied by, for photos to agree where they show the same points.

    Least squares of logarithms at some of the points, as the global adjustment of Waechter et al., "Let there be
    color!" (2014), with one number a photo and channel in place of one a vertex. Their geometric mean is 1.

    Args:
        mesh, points, normals, spacing, count, view_of: as of `blend_photos`.
    """
    some = slice(None, None, max(1, len(points) // _COMPARED))
    points, normals = points[some], normals[some]
    logs = torch.zeros(count, len(points), 3, dtype=torch.float64)
    known = torch.zeros(count, len(points), 1, dtype=torch.float64)
    for number in range(count):
        view = view_of(number)
        seen = seen_points(mesh, points, normals, view.camera)
        if not len(seen.indices):
            continue
        colors, counts = _view_colors(view, seen.pixels, seen.density * spacing**2)
        good = (counts > 0.5) & (colors > _DARKEST).all(1) & (colors < _BRIGHTEST).all(1)
        logs[number, seen.indices[good]] = colors[good].double().log()
        known[number, seen.indices[good]] = 1.0
    shown = known.sum(0)
    means = logs.sum(0) / shown.clamp(min=1)
    # the means of points are eliminated
    pairs = known[..., 0]
    matrix = torch.diag(pairs.sum(1) + _OWN_EXPOSURE) - pairs / shown[:, 0].clamp(min=1) @ pairs.T
    return torch.linalg.solve(matrix, ((means - logs) * known).sum(1)).exp().float()


def _sampled(layers: Tensor, pixels: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Colours and counts at pixels of a picture (H W 4) whose colours are multiplied by their counts."""
    grid = layers.permute(2, 0, 1)[None]
    height, width = layers.shape[:2]
    if factor > 1:
        grid = torch.nn.functional.avg_pool2d(grid, factor, ceil_mode=True, count_include_pad=False)
    # a pooled picture's last pixels may stand for fewer, but its grid reaches as far as if they did not
    reach = torch.tensor([grid.shape[3] * factor, grid.shape[2] * factor] if factor > 1 else [width, height])
    places = (pixels / reach * 2 - 1).float()
    values = torch.nn.functional.grid_sample(
        grid, places[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0].T
    counts = values[:, 3]
    return values[:, :3] / torch.where(counts > 0, counts, 1.0)[:, None], counts


def _linear(colors: Tensor) -> Tensor:
    """IEC 61966-2-1, decoding."""
    colors = colors[..., :3].float()
    return torch.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _encoded(linear: Tensor) -> Tensor:
    """IEC 61966-2-1, encoding."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
