"""What a method's training views see of its field, as depth to fuse into a surface."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.data.scene import Scene
from onefield.meshing.tsdf import DepthView
from onefield.renderers.sampling.intervals import ray_limits
from onefield.training.method import Method
from onefield.training.poses import moved_cameras
from onefield.types import Bounds, Rays

# More views of one scene tell little that is new, and each takes its time.
MOST_VIEWS = 100
# The quarters of the light: half of it ends between the first and the last.
QUARTERS = (0.25, 0.5, 0.75)
# A first look, to find out where things are: so many views of so many pixels.
LOOK_VIEWS, LOOK_PIXELS = 24, 1000
# What belongs to the scene is seen by this share of the views, at about the depth at which others see it; most of the
# background of a walk around something is not.
SEEN_SHARE, SAME_DEPTH = 0.25, 0.05
# Share of the points that may lie outside on either side, and room around the others in shares of the box.
STRAYS, ROOM = 0.005, 0.02
# Pixels of this size, world units, are smaller than those of any photo.
LEAST_PIXEL = 1e-6
# Fewer points are no scene.
FEWEST_POINTS = 100


def depth_cameras(method: Method, scene: Scene, bounds: Bounds, pixel: float, most: int = MOST_VIEWS) -> Cameras:
    """Pinhole cameras in the places of the training views, with pixels of a given size in the middle of the bounds.

    They have the corrected poses where training corrected them, and no lens distortion, which a field knows nothing of.

    Args:
        bounds: what is looked at; views that it lies behind are left out.
        pixel: world units; pictures are never larger than the photos.
        most: views, taken evenly from all.
    """
    cameras = scene.cameras if method.poses is None else moved_cameras(scene.cameras, method.poses.corrections())
    cameras = cameras[scene.train_indices]
    corners = torch.cartesian_prod(*torch.tensor([bounds.minimum, bounds.maximum], dtype=torch.float64).T)
    depths = torch.einsum("cd,cnd->cn", cameras.forwards, corners - cameras.positions[:, None])
    cameras = cameras[(depths.amax(1) > 0).nonzero()[:, 0]]
    if len(cameras) > most:
        cameras = cameras[torch.linspace(0, len(cameras) - 1, most).round().long()]
    center = torch.tensor(bounds.center, dtype=torch.float64)
    # from inside the bounds things are anywhere in them
    distance = (cameras.positions - center).norm(dim=-1).clamp(min=max(bounds.extent) / 2)
    factor = (distance / pixel / cameras.focal.mean(dim=-1)).clamp(max=1.0)
    pinhole = Cameras.pinhole(cameras.camera_to_world, cameras.focal, cameras.center, cameras.width, cameras.height)
    width, height = ((side * factor).ceil().long() for side in (cameras.width, cameras.height))
    return pinhole.resized(width, height)


def first_look(method: Method, scene: Scene) -> list[DepthView]:
    """A few small views of all that the training views may show."""
    whole = Bounds.cube(scene.extent_scale)
    cameras = depth_cameras(method, scene, whole, LEAST_PIXEL, LOOK_VIEWS)
    if not len(cameras):
        return []
    cameras = cameras.scaled(min(1.0, math.sqrt(LOOK_PIXELS / float((cameras.width * cameras.height).max()))))
    return list(depth_views(method, scene, cameras, whole, 0.0))


def typical_spread(look: Sequence[DepthView]) -> float:
    """The median of how uncertain depths are, world units; 0 where nothing is seen."""
    spreads = torch.cat([view.spread[torch.isfinite(view.depth)] for view in look] or [torch.zeros(0)])
    return float(spreads.median()) if len(spreads) else 0.0


def seen_bounds(look: Sequence[DepthView], scene: Scene) -> Bounds:
    """The box of all that a good part of the training views sees; the region of interest where that is next to nothing.

    The region of interest is where cameras look, which need not hold all that their photos show.
    """
    points = torch.cat([_points(view) for view in look] or [torch.zeros(0, 3)])
    witnesses = sum((_agree(view, points) for view in look), torch.zeros(len(points)))
    points = points[witnesses >= SEEN_SHARE * len(look)]
    if len(points) < FEWEST_POINTS:
        return scene.bounds
    low, high = (points.quantile(share, dim=0) for share in (STRAYS, 1 - STRAYS))
    room = ROOM * (high - low).max()
    low, high = ((low - room).clamp(min=-scene.extent_scale), (high + room).clamp(max=scene.extent_scale))
    return Bounds(tuple(low.tolist()), tuple(high.tolist()))


def _points(view: DepthView) -> Float[Tensor, "n 3"]:
    """Where a view's rays end, but for those of which that is unclear."""
    rays, depth = view.camera.image_rays(0), view.depth.reshape(-1)
    clear = torch.isfinite(depth) & (view.spread.reshape(-1) < SAME_DEPTH * depth)
    return rays.origins[clear] + depth[clear, None] * rays.directions[clear]


def _agree(view: DepthView, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
    """1 for points that a view sees, too, else 0."""
    height, width = view.depth.shape
    pixels, ahead = view.camera.project(torch.tensor(0), points)
    column, row = pixels.floor().nan_to_num(-1.0, -1.0, -1.0).long().unbind(-1)
    inside = (ahead > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    distance = (points - view.camera.positions[0].to(points)).norm(dim=-1)
    depth = view.depth[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return (inside & ((depth - distance).abs() < SAME_DEPTH * distance)).to(points.dtype)


def depth_views(method: Method, scene: Scene, cameras: Cameras, bounds: Bounds, margin: float) -> Iterator[DepthView]:
    """Renders median depth, its spread and colour of each camera, as far as the bounds reach.

    What lies behind the bounds is not rendered, nor are rays that miss them: to the volume these are free.

    Args:
        cameras: of `depth_cameras`.
        margin: how far behind the bounds surfaces still count, world units.
    """
    box = Bounds(
        *(
            tuple(side + sign * margin for side in corner)
            for corner, sign in ((bounds.minimum, -1), (bounds.maximum, 1))
        )
    )

    def limits(rays: Rays) -> Rays:
        rays = scene.limited(rays, cameras)
        _, leave = ray_limits(rays, box)
        return replace(rays, far=leave)

    for index in range(len(cameras)):
        image = method.renderer.render_image(
            method.field, cameras, index, background=torch.zeros(3), quantiles=QUARTERS, limits=limits
        )
        first, median, last = image.quantiles.unbind(-1)
        # of the surface alone; where there is one, half of the light at least is its own
        color = image.color / image.opacity.clamp(min=0.5)[..., None]
        yield DepthView(cameras[[index]], median, _spread(first, last), color.clamp(0, 1))


def _spread(first: Float[Tensor, "H W"], last: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Between two quantiles; 0 where the ray is free as far as both."""
    return torch.where(torch.isinf(first), 0.0, last - first)
