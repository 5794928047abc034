"""Colours of a surface's points blended from the photos that see them best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.kernels.rasterize import rasterize
from onefield.types import Mesh

# A view counts by the power of the pixels that it has for a point: high enough for one to win where views differ much,
# low enough for neighbours' borders to blend.
SHARPNESS = 3
# Surfaces seen at less than this cosine, 78 degrees off, show little but what is behind them.
LEAST_COSINE = 0.2
# Depth is rendered in at most so many pixels; what lies so many of them behind it is hidden.
_MOST_PIXELS, _BEHIND = 2**22, 2.0
# Tangent of the angle off the axis, 72 degrees, from which on a pinhole picture of depth grows without bounds.
_WIDEST = 3.0


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
    A photo counts by the third power of its pixels on the patch that a point stands for, which falls with distance and
    slant; it counts nothing where the mesh hides the point from it, or is seen at more than 78 degrees.

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
        seen, pixels, area = _seen_points(mesh, points, normals, view.camera)
        if len(seen):
            colors, counts, area = _view_colors(view, pixels, area * spacing**2)
            colors = colors * gains[number]
            share = counts * area.float() ** SHARPNESS
            total[seen] += share[:, None] * colors
            weight[seen] += share
        observe(number + 1, count)
    known = weight > 0
    return _encoded(total / torch.where(known, weight, 1.0)[:, None]) * known[:, None], known


def _view_colors(view: PhotoView, pixels: Tensor, area: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Linear colours and counts at pixels of a photo, and the areas in pixels of the patches that they are means of."""
    # of pixels that are finer than texels, as many are averaged as fall on one
    factor = max(1, math.floor(float(area.median()) ** 0.5))
    layers = [_linear(view.pixels), torch.ones(*view.pixels.shape[:2], 1)]
    if view.counts is not None:
        layers[1] = view.counts[..., None].float()
    return *_sampled(torch.cat([layers[0] * layers[1], layers[1]], dim=-1), pixels, factor), area


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
        seen, pixels, area = _seen_points(mesh, points, normals, view.camera)
        if not len(seen):
            continue
        colors, counts, _ = _view_colors(view, pixels, area * spacing**2)
        good = (counts > 0.5) & (colors > _DARKEST).all(1) & (colors < _BRIGHTEST).all(1)
        logs[number, seen[good]] = colors[good].double().log()
        known[number, seen[good]] = 1.0
    shown = known.sum(0)
    means = logs.sum(0) / shown.clamp(min=1)
    # the means of points are eliminated
    pairs = known[..., 0]
    matrix = torch.diag(pairs.sum(1) + _OWN_EXPOSURE) - pairs / shown[:, 0].clamp(min=1) @ pairs.T
    return torch.linalg.solve(matrix, ((means - logs) * known).sum(1)).exp().float()


def _seen_points(mesh: Mesh, points: Tensor, normals: Tensor, camera: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Which points a camera sees, at which pixels, and how many pixels a unit of their surface has."""
    pose, focal = camera.camera_to_world[0].double().cpu(), camera.focal[0].double().cpu()
    local = (points.double() - pose[:, 3]) @ pose[:, :3]
    pixels, _ = camera.project(torch.tensor(0), points.double())
    distance = local.norm(dim=1)
    cosine = -((normals.double() @ pose[:, :3]) * local).sum(1) / distance
    flat = local[:, :2] / local[:, 2:]
    size = torch.stack([camera.width[0], camera.height[0]]).cpu()
    inside = ((pixels >= 0) & (pixels <= size)).all(1) & (local[:, 2] > 0) & (flat.abs() < _WIDEST).all(1)
    seen = (inside & (cosine > LEAST_COSINE)).nonzero()[:, 0]
    if not len(seen):
        return seen, pixels[seen], cosine[seen]
    seen = seen[_unhidden(mesh, pose, focal, flat[seen], local[seen, 2], cosine[seen])]
    return seen, pixels[seen], cosine[seen] * focal.prod() / distance[seen] ** 2


def _unhidden(mesh: Mesh, pose: Tensor, focal: Tensor, flat: Tensor, depth: Tensor, cosine: Tensor) -> Tensor:
    """Whether nothing of the mesh lies before points, by a pinhole picture of its depth that just holds them."""
    low, high = flat.amin(0) * focal, flat.amax(0) * focal
    # a pixel of room on each side, for the four pixels around each point
    area = float((high - low + 2).prod())
    scale = min(1.0, (_MOST_PIXELS / area) ** 0.5)
    focal, low = focal * scale, low * scale - 1
    width, height = (int(side) + 3 for side in (high * scale - low).tolist())
    local = ((mesh.vertices.detach().double().cpu() - pose[:, 3]) @ pose[:, :3]).float()
    intrinsics = [*focal.tolist(), *(-low).tolist()]
    _, _, nearest = rasterize(local, mesh.faces.cpu(), intrinsics, width, height)
    nearest = torch.where(nearest > 0, nearest, torch.inf).double()
    corner = (flat * focal - low - 0.5).floor().long()
    margin = _BEHIND * depth / focal.mean() / cosine
    free = torch.ones(len(flat), dtype=torch.bool)
    for down in (0, 1):
        for right in (0, 1):
            column, row = (corner[:, 0] + right).clamp(0, width - 1), (corner[:, 1] + down).clamp(0, height - 1)
            free &= depth <= nearest[row, column] + margin
    return free


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
