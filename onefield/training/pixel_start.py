"""From photos with depth to Gaussians of their pixels: which pixels, what is known of them, and how deep they lie.

Depth comes as the dataset's depth maps, or from any function of a view (a `DepthSource`); matches come from files of
flow, from any function of two views (a `FlowSource`), and from the points that structure from motion found. Such depth
is often true only up to a scale and an offset a view, as estimators give it; the matches tell these.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.data.flow_files import FOLDER, Flow, flow_path, read_flow
from onefield.data.scene import Scene
from onefield.errors import DataError
from onefield.fields.pixel_gaussians import SPREAD, PixelMatches, PixelRays

DepthSource = Callable[[int], Float[Tensor, "H W"] | None]
"""Depth along the axis of a view of the scene, NaN or not above 0 where unknown; None where there is nothing."""
FlowSource = Callable[[int, int], Flow | None]
"""Where pixels of a view of the scene are in another; None where that is unknown."""

# Half of a pixel that shows something is enough to have a Gaussian.
_SOLID = 0.5
# Beyond 84 degrees off the axis, which only fisheyes see, depth along the axis says nothing about distance.
_SMALLEST_COSINE = 0.1
_CLUSTER_ROUNDS = 20
# By reweighted least squares: so many rounds, and distances below this share of the median depth count as equal.
_ROUNDS, _EQUAL = 40, 1e-4
# A partner's depth is that of the middle of its pixel, and true for matches within this share of a pixel from there;
# with fewer than so many of them all are taken.
_CENTRED, _FEWEST = 0.3, 100
# Nothing is nearer to its camera than this share of its view's median depth.
NEAREST = 0.05

_logger = logging.getLogger("onefield.training")


def depths_of_files(scene: Scene) -> DepthSource:
    """The scene's depth maps.

    Raises:
        DataError: it has none for its training views; says which files are looked for, and what does without.
    """
    lacking = [
        scene.image_names[view]
        for view in scene.train_indices.tolist()
        if scene.depths is None or scene.depths.distances(view) is None
    ]
    if lacking:
        raise DataError(
            f"{scene.path} has no depth map for {len(lacking)} of its training photos (first: {lacking[0]}), from "
            "which this method starts; name one a photo as depth_file_path in transforms.json (PNG, TIFF, NPY or EXR), "
            "or train with '--method splat', which needs none."
        )

    def depths(view: int) -> Tensor:
        height, width = int(scene.cameras.height[view]), int(scene.cameras.width[view])
        return scene.depths.distances(view) * _cosines(scene, view).reshape(height, width)

    return depths


def flows_of_files(scene: Scene, folder: Path | None = None) -> FlowSource:
    """The files of flow beside a scene, see `onefield.data.flow_files`.

    Args:
        folder: where they lie instead.

    Raises:
        DataError: two training photos have the same name but for folder and suffix.
    """
    root = scene.path if scene.path.is_dir() else scene.path.parent
    place = root / FOLDER if folder is None else folder
    stems = [PurePosixPath(scene.image_names[view]).stem for view in scene.train_indices.tolist()]
    if len(set(stems)) < len(stems) and place.is_dir():
        raise DataError(f"{scene.path} has training photos of one name in several folders; rename them for {place}.")

    def flow(first: int, second: int) -> Flow | None:
        names = scene.image_names
        size = int(scene.cameras.width[first]), int(scene.cameras.height[first])
        return read_flow(flow_path(place, names[first], names[second]), *size)

    return flow


def pixel_rays(scene: Scene, depth_of: DepthSource, segments: int) -> PixelRays:
    """The pixels of the training views that show something, with their depth.

    Pixels without depth take that of the nearest with one.

    Args:
        segments: regions of like depth that each view is cut into.

    Raises:
        DataError: a view has no depth at all, or none of its pixels counts.
    """
    parts: dict[str, list[Tensor]] = {
        name: [] for name in ("views", "places", "directions", "depths", "segments", "colors")
    }
    sizes, before = [], 0
    for number, view in enumerate(scene.train_indices.tolist()):
        height, width = int(scene.cameras.height[view]), int(scene.cameras.width[view])
        kept = _counting(scene, view).flatten().nonzero()[:, 0]
        given = depth_of(view)
        if given is None or not bool((torch.isfinite(given) & (given > 0)).any()):
            raise DataError(f"The depth of '{scene.image_names[view]}' has no number above 0; check its depth map.")
        if len(kept) == 0:
            raise DataError(f"The photo '{scene.image_names[view]}' has no pixel that counts; check its mask or alpha.")
        depths = _filled(given).flatten()[kept]
        parts["views"].append(torch.full_like(kept, number))
        parts["places"].append(before + kept)
        parts["directions"].append((scene.cameras.image_rays(view).directions / _cosines(scene, view)[:, None])[kept])
        parts["depths"].append(depths)
        parts["segments"].append(_segments(depths, segments))
        parts["colors"].append(
            torch.from_numpy(scene.images.pixels(view)[..., :3].reshape(-1, 3) / np.float32(255))[kept]
        )
        sizes.append((height, width))
        before += height * width
    cameras = scene.cameras[scene.train_indices]
    return PixelRays(
        sizes=tuple(sizes),
        origins=cameras.positions.float(),
        spreads=(SPREAD / cameras.focal.mean(dim=-1)).float(),
        **{name: torch.cat(tensors) for name, tensors in parts.items()},
    )


def pixel_matches(scene: Scene, pixels: PixelRays, flow_of: FlowSource) -> PixelMatches:
    """What flow and known points say about the pixels."""
    row_of = _rows(pixels)
    found = [_matched(scene, row_of, pair, flow_of) for pair in permutations(range(len(pixels.sizes)), 2)]
    rows, partners, directions = (torch.cat(parts) for parts in zip(*found, strict=True))
    known_rows, known_depths = _known(scene, row_of)
    return PixelMatches(rows, partners, directions, known_rows, known_depths)


def align(pixels: PixelRays, matches: PixelMatches) -> tuple[Float[Tensor, "V"], Float[Tensor, "V"]]:
    """The scale and the offset of each view's depth with which matched pixels lie together, by their mean distance.

    Where CoherentGS takes a thousand steps of gradient descent, this solves the convex problem itself. A view that
    nothing is known of keeps its depth.

    Raises:
        DataError: a view's depth would have to be turned around.
    """
    count = len(pixels.sizes)
    touched = torch.cat([pixels.views[matches.rows], pixels.views[matches.partners], pixels.views[matches.known_rows]])
    known = torch.bincount(touched, minlength=count) > 0
    scales, offsets = torch.ones(count), torch.zeros(count)
    if not bool(known.any()):
        _logger.warning("Nothing tells how the photos' depth fits together: it is taken as it is.")
        return scales, offsets
    factors, targets = _equations(pixels, _centred(pixels, matches))
    floor = _EQUAL * float(pixels.depths.double().median())
    weights = torch.ones(len(factors), dtype=torch.float64)
    for _ in range(_ROUNDS):
        weighed = factors * weights[:, None, None]
        normal = torch.einsum("ndi,ndj->ij", weighed, factors)
        # views of constant depth leave scale and offset to each other: the least of both
        solution = torch.linalg.pinv(normal, hermitian=True) @ torch.einsum("ndi,nd->i", weighed, targets)
        weights = 1 / (factors @ solution - targets).norm(dim=-1).clamp(min=floor)
    scales[known], offsets[known] = (part.float()[known] for part in solution.reshape(count, 2).unbind(-1))
    if bool((scales <= 0).any()):
        view = int((scales <= 0).nonzero()[0])
        raise DataError(
            f"The depth of training photo {view + 1} would have to be turned around (scale "
            f"{float(scales[view]):.3g}) to fit its matches; give depth, not disparity, and check the flow."
        )
    return scales, offsets


def keep_ahead(pixels: PixelRays, scales: Float[Tensor, "V"], offsets: Float[Tensor, "V"]) -> PixelRays:
    """The pixels with depths so large that no aligned one is nearer than a share `NEAREST` of its view's median."""
    aligned = pixels.depths * scales[pixels.views] + offsets[pixels.views]
    medians = torch.stack([aligned[pixels.views == view].median() for view in range(len(pixels.sizes))])
    least = (NEAREST * medians.abs() - offsets) / scales
    return replace(pixels, depths=torch.maximum(pixels.depths, least[pixels.views]))


def _centred(pixels: PixelRays, matches: PixelMatches) -> PixelMatches:
    """Without the matches that fall between the pixels of the partner's view, where enough are left."""
    aside = (pixels.directions[matches.partners] - matches.directions).norm(dim=-1)
    near = aside < _CENTRED * pixels.spreads[pixels.views[matches.partners]] / SPREAD
    if int(near.sum()) < _FEWEST:
        return matches
    return replace(
        matches, rows=matches.rows[near], partners=matches.partners[near], directions=matches.directions[near]
    )


def _equations(pixels: PixelRays, matches: PixelMatches) -> tuple[Float[Tensor, "n 3 2V"], Float[Tensor, "n 3"]]:
    """Residuals in space, linear in scale and offset of each view in turn: ``factors @ unknown - targets``."""
    origins, directions, depths = pixels.origins.double(), pixels.directions.double(), pixels.depths.double()
    pairs, known = len(matches.rows), len(matches.known_rows)
    factors = torch.zeros(pairs + known, 3, len(pixels.sizes), 2, dtype=torch.float64)
    targets = torch.zeros(pairs + known, 3, dtype=torch.float64)

    def put(rows: slice, pixel: Tensor, along: Tensor) -> None:
        place = torch.arange(len(factors))[rows]
        views = pixels.views[pixel]
        factors[place, :, views] += torch.stack([along * depths[pixel, None], along], dim=-1)

    first, last = slice(0, pairs), slice(pairs, pairs + known)
    put(first, matches.rows, directions[matches.rows])
    put(first, matches.partners, -matches.directions.double())
    targets[first] = origins[pixels.views[matches.partners]] - origins[pixels.views[matches.rows]]
    put(last, matches.known_rows, directions[matches.known_rows])
    targets[last] = directions[matches.known_rows] * matches.known_depths.double()[:, None]
    return factors.flatten(2), targets


def _matched(
    scene: Scene, row_of: list[Int[Tensor, "h w"]], pair: tuple[int, int], flow_of: FlowSource
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of one view, rows of the other, and directions from the other's place."""
    views = scene.train_indices.tolist()
    first, second = (views[number] for number in pair)
    flow = flow_of(first, second)
    if flow is None:
        empty = torch.zeros(0, dtype=torch.int64)
        return empty, empty, torch.zeros(0, 3)
    mine, theirs = (row_of[number] for number in pair)
    height, width = theirs.shape
    positions = flow.positions * flow.positions.new_tensor([width, height])
    column, row = positions.floor().long().unbind(-1)
    inside = flow.valid & (column >= 0) & (column < width) & (row >= 0) & (row < height) & (mine >= 0)
    partners = theirs[row[inside], column[inside]]
    both = partners >= 0
    rows, partners, positions = mine[inside][both], partners[both], positions[inside][both]
    rays = scene.cameras.rays(torch.full((len(rows),), second), positions)
    cosines = rays.directions @ scene.cameras.forwards[second].float()
    return rows, partners, rays.directions / cosines.clamp(min=_SMALLEST_COSINE)[:, None]


def _known(scene: Scene, row_of: list[Int[Tensor, "h w"]]) -> tuple[Int[Tensor, "K"], Float[Tensor, "K"]]:
    """Rows whose depth is known from points that their view saw, and that depth."""
    rows, depths = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0)]
    sightings = scene.sightings
    for number, view in enumerate(scene.train_indices.tolist()):
        if sightings is None:
            break
        here = sightings.views == view
        found = row_of[number][sightings.rows[here].long(), sightings.columns[here].long()]
        cosines = _cosines(scene, view).reshape(row_of[number].shape)
        along = sightings.distances[here] * cosines[sightings.rows[here].long(), sightings.columns[here].long()]
        rows.append(found[found >= 0])
        depths.append(along[found >= 0])
    return torch.cat(rows), torch.cat(depths)


def _rows(pixels: PixelRays) -> list[Int[Tensor, "h w"]]:
    """The row of each view's pixels, -1 where a pixel has no Gaussian."""
    ends = [height * width for height, width in pixels.sizes]
    flat = torch.full((sum(ends),), -1)
    flat[pixels.places] = torch.arange(len(pixels))
    return [part.reshape(size) for part, size in zip(flat.split(ends), pixels.sizes, strict=True)]


def _counting(scene: Scene, view: int) -> Bool[Tensor, "H W"]:
    pixels = torch.from_numpy(scene.images.pixels(view).copy())
    kept = torch.ones(pixels.shape[:2], dtype=torch.bool)
    if pixels.shape[-1] == 4:
        kept = pixels[..., 3] >= 255 * _SOLID
    return kept if scene.masks is None else kept & scene.masks.mask(view)


def _cosines(scene: Scene, view: int) -> Float[Tensor, "HW"]:
    """Of the angles between each pixel's ray and the view's axis."""
    directions = scene.cameras.image_rays(view).directions
    return (directions @ scene.cameras.forwards[view].float()).clamp(min=_SMALLEST_COSINE)


def _filled(depths: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Depth everywhere: where it is unknown that of the nearest pixel where it is not."""
    from scipy.ndimage import distance_transform_edt

    unknown = ~(torch.isfinite(depths) & (depths > 0))
    if not bool(unknown.any()):
        return depths.float()
    places = distance_transform_edt(unknown.numpy(), return_distances=False, return_indices=True)
    return torch.from_numpy(depths.numpy()[tuple(np.asarray(places))]).float()


def _segments(depths: Float[Tensor, "p"], count: int) -> Int[Tensor, "p"]:
    """Clusters of the nearness ``1 / depth`` by Lloyd's rounds from its quantiles."""
    nearness = 1 / depths.double()
    shares = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    ordered = nearness.sort().values
    centers = ordered[(shares * len(ordered)).long()]
    for _ in range(_CLUSTER_ROUNDS):
        labels = torch.bucketize(nearness, (centers[1:] + centers[:-1]) / 2)
        members = torch.bincount(labels, minlength=count)
        sums = torch.zeros(count, dtype=torch.float64).index_add(0, labels, nearness)
        centers = torch.where(members > 0, sums / members.clamp(min=1), centers)
    return torch.bucketize(nearness, (centers[1:] + centers[:-1]) / 2)
