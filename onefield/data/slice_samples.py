"""Points on the planes of slices, by which a field learns what is inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree
from torch import Tensor

from onefield.data.contours import Slice
from onefield.data.slices import Slices

# Widths about the contours, as parts of half the longest side: each half the one before (OReX samples within 0.5^k).
WIDTHS = (2**-4, 2**-5, 2**-6, 2**-7)
# Points a slice of each kind, at least, however many slices there are.
_FEWEST = 500
# Contours are measured from points this far apart, as a part of the longest side.
_CONTOUR_STEP = 5e-4


@dataclass(frozen=True)
class SliceSamples:
    """Points on planes, float32, in the slices' frame.

    Attributes:
        points: on all planes, within the slices' bounds.
        inside: which of them are.
        distance: to the nearest contour of the same plane, infinite where it has none; no point of the solid's surface
            is farther.
        rank: 0 for points spread evenly over a plane, then the number of the width about the contours, from 1.
        contour: on the contours, where the surface is.
    """

    points: Float[Tensor, "n 3"]
    inside: Bool[Tensor, "n"]
    distance: Float[Tensor, "n"]
    rank: Tensor
    contour: Float[Tensor, "m 3"]


def sample_slices(
    slices: Slices, generator: torch.Generator, count: int = 2**18, hierarchical: bool = True
) -> SliceSamples:
    """A third of the points spread evenly over the planes, the others about the contours, narrower and narrower.

    Args:
        count: about how many points.
        hierarchical: without it all points are spread evenly.
    """
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    each = max(_FEWEST, count // len(slices.slices))
    half = max(slices.bounds.extent) / 2
    near = each * 2 // 3 // len(WIDTHS) if hierarchical else 0
    parts = [_sample(cut, slices, half, each - near * len(WIDTHS), near, rng) for cut in slices.slices]
    points, inside, distance, rank, contour = (np.concatenate(column) for column in zip(*parts, strict=True))
    return SliceSamples(
        torch.from_numpy(points).float(),
        torch.from_numpy(inside),
        torch.from_numpy(distance).float(),
        torch.from_numpy(rank),
        torch.from_numpy(contour).float(),
    )


def _sample(
    cut: Slice, slices: Slices, half: float, even: int, near: int, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    low, high = np.array(slices.bounds.minimum), np.array(slices.bounds.maximum)
    points = [_evenly(cut, low, high, even, rng)]
    ranks = [np.zeros(len(points[0]), dtype=np.int64)]
    contour, distance = np.zeros((0, 2)), None
    if cut.contours:
        edges = cut.edges
        length = np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1).sum()
        steps = max(2 * _FEWEST, int(length / (_CONTOUR_STEP * 2 * half)))
        contour = cut.along_contours((np.arange(steps) + 0.5) / steps)
        for rank, width in enumerate(WIDTHS, start=1):
            about = contour[rng.integers(len(contour), size=near)]
            points.append(about + width * half * rng.normal(size=about.shape))
            ranks.append(np.full(near, rank))
    flat, rank = np.concatenate(points), np.concatenate(ranks)
    world = cut.to_world(flat)
    within = ((world >= low) & (world <= high)).all(axis=1)
    flat, rank, world = flat[within], rank[within], world[within]
    distance = cKDTree(contour).query(flat)[0] if cut.contours else np.full(len(flat), np.inf)
    return world, cut.contains(flat), distance, rank, cut.to_world(contour)


def _evenly(cut: Slice, low: np.ndarray, high: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points of the plane over the rectangle that the box's corners span on it; the caller drops those outside."""
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    spread = cut.to_plane(corners)
    return rng.uniform(spread.min(axis=0), spread.max(axis=0), (count, 2))
