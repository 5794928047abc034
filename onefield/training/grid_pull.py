"""Distances on a grid, pulled to a cloud of points without a network.

The model is GridPull's (Chen et al. 2023): a grid of signed distances f is right when a query q, pulled by f(q) against
the gradient, lands on the cloud, and when the grid is smooth. Two things are done differently. Queries are the points
themselves, which must be pulled nowhere (f = 0), and the corners of the grid, along whose gradient f must change at
unit rate; so the sum of squares has few terms, and Gauss-Newton steps, each solved by conjugate gradients on the
corners near the surface, replace thousands of Adam steps. And the starting signs come from `orient`.

Smoothness is the Hessian's integral, ``20 smoothing^4 |H f|`` against ``f^2`` at the points, so that edges stay and
what lies between them becomes flat. By weights from the step before it is a thin plate, ``smoothing^4 |H f|^2`` where
curvature is 20 a side, which averages over about ``16 smoothing^2`` of surface there. It starts stiff and is loosened
as long as points that were held out are foretold better, so noise is recognised by itself. Noise of deviation s moves
points off a curved surface by ``s^2 / 2`` times the Laplacian of f on average; this much is given back. Handles that
are then left, but no deeper than the noise, are removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import ndimage
from scipy.sparse import csr_matrix, diags, vstack

from onefield.meshing.handles import without_small_handles
from onefield.training.point_orientation import CELLS, Orientation, at_points, indicator

# Grids (cells a side) and smoothing lengths (parts of the cube's side), stiff to loose. Cells are no longer than what
# is smoothed over, or details would be lost that smoothing leaves.
SCHEDULE = (
    *((CELLS, smoothing) for smoothing in (0.012, 0.008)),
    *((2 * CELLS, smoothing) for smoothing in (0.0057, 0.004, 0.0028, 0.002, 0.001)),
)
# Less smoothing than this part of the points' spacing leaves corners between points undetermined: crumbs and handles.
_LEAST_SMOOTHING = 0.5
# Corners within so many cells of the surface are solved for, or within so many deviations of the points.
_BAND_CELLS, _BAND_DEVIATIONS = 3.5, 3.0
# The first smoothing is at least so many spacings, at most this part of the cube's side.
_FIRST_SPACINGS, _STIFFEST = 3.0, 0.05
# Part of the points held out, and how near to the least deviation from them counts as equal to it.
_HELD_OUT, _GAIN = 0.1, 0.985
# Slopes at held-out points are taken this many deviations to both sides.
_SLOPE_DEVIATIONS = 2.0
# Gauss-Newton steps a smoothing on the first, cheap grid.
_REPEATS = 2
# Unit slope weighs as deviations over so many times the noise would: else a thick cloud flattens the distance.
_STIFFNESS = 6.0
# Residuals beyond so many deviations count linearly (Huber 1964).
_OUTLIER = 3.0
# Curvature costs linearly, so that edges stay and what lies between them becomes flat: its square is divided by what it
# was, but for less than this. Lengths of smoothing hold where it is the reference. Both per side of the cube.
_LEAST_CURVATURE, _REFERENCE_CURVATURE = 1.0, 20.0
# Handles no deeper than this part of a cell, or than the noise, are none of the shape's.
_UNSEEN_CELLS = 0.5
# Gradients shorter than this have no direction to be trusted: the middle of a thin part.
_FLAT = 0.4
_ITERATIONS = 60
# Points whose weights are worked out at once.
_CHUNK = 2**18
_TOLERANCE = 1e-3

_CORNERS = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
_AXES = np.eye(3, dtype=np.int64)


@dataclass(frozen=True)
class Pulled:
    """A grid of distances.

    Attributes:
        distances: at the corners ``index / cells`` of the unit cube, in parts of its side, negative inside.
        smoothing: length that was chosen.
        deviation: root mean square of the held-out points' distances: about the noise, if there is any.
    """

    distances: Float[np.ndarray, "R+1 R+1 R+1"]
    smoothing: float
    deviation: float


@dataclass
class _State:
    distances: np.ndarray
    deviation: float
    smoothing: float = 0.0


def pull_grid(
    points: Float[np.ndarray, "N 3"],
    normals: Float[np.ndarray, "N 3"],
    areas: Float[np.ndarray, "N"],
    *,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
) -> Pulled:
    """The smoothest grid of distances that the points allow.

    Args:
        points: in the unit cube, well inside of it.
        normals, areas: of these points, as `orient` gives them.
        seed: of the choice of held-out points.
        observe: is told the deviation after each step.
    """
    orientation = Orientation(normals, areas)
    # a stream of its own: the numbers that sampled a cloud from a mesh would hold out one part of the surface
    held_out = np.random.default_rng([seed, len(points)]).random(len(points)) < _HELD_OUT
    spacing = float(np.sqrt(np.median(areas)))
    steps = [step for step in _schedule(spacing) if step[1] >= _LEAST_SMOOTHING * spacing] or list(SCHEDULE[:1])
    state = _start(points, orientation)
    band = _Band(state.distances, points, state.deviation)
    tried: list[_State] = []
    for cells, smoothing in steps:
        if cells != band.cells:
            if state is not _chosen(tried):
                break
            state = _refined(state, points, orientation, cells)
            band = _Band(state.distances, points, state.deviation)
        for _ in range(_REPEATS if cells == CELLS else 1):
            state = _State(band.solve(state, points[~held_out], smoothing), state.deviation, smoothing)
        error = band.distances_at(state.distances, points[held_out], state.deviation)
        state.deviation = float(np.sqrt(np.square(error).mean()))
        tried.append(state)
        if observe is not None:
            observe(f"{cells} cells, smoothing {smoothing:.2g}: held-out points within {state.deviation:.3g}")
        if cells != CELLS and state is not _chosen(tried):
            break
    best = _chosen(tried)
    if best.distances.shape != band.numbers.shape or best is not tried[-1]:
        band = _Band(best.distances, points, best.deviation)
    solved = band.solve(best, points, best.smoothing)
    unseen = max(best.deviation, _UNSEEN_CELLS / band.cells)
    return Pulled(without_small_handles(solved, unseen), best.smoothing, best.deviation)


def _chosen(tried: list[_State]) -> _State:
    """The stiffest that foretells held-out points about as well as any."""
    least = min(state.deviation for state in tried)
    return next(state for state in tried if state.deviation <= least / _GAIN)


def _schedule(spacing: float) -> list[tuple[int, float]]:
    """`SCHEDULE`, begun stiffer for sparse points."""
    cells, stiffest = SCHEDULE[0]
    steps = math.ceil(2 * math.log2(max(1.0, min(_FIRST_SPACINGS * spacing, _STIFFEST) / stiffest)))
    return [*((cells, stiffest * 2 ** (step / 2)) for step in range(steps, 0, -1)), *SCHEDULE]


def _start(points: np.ndarray, orientation: Orientation) -> _State:
    inside = _inside(points, orientation, CELLS)
    distances = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    # the surface runs half a cell from the corners on its two sides
    distances = ((distances + np.where(inside, 0.5, -0.5)) / CELLS).astype(np.float32)
    found = ndimage.map_coordinates(distances, points.T * CELLS, order=1)
    return _State(distances, float(np.sqrt(np.square(found).mean())))


def _inside(points: np.ndarray, orientation: Orientation, cells: int, blur: float = 0.0) -> np.ndarray:
    values = indicator(points, orientation.normals, orientation.areas, cells, blur)
    inside = np.pad(values > np.median(at_points(values, points)), ((0, 1),) * 3, mode="wrap")
    border = np.ones_like(inside)
    border[1:-1, 1:-1, 1:-1] = False
    return inside & ~border


def _refined(state: _State, points: np.ndarray, orientation: Orientation, cells: int) -> _State:
    """Between the corners; where the finer indicator sees a thin part or gap that the coarse grid lost, its sign."""
    coarse = torch.from_numpy(state.distances)[None, None]
    fine = torch.nn.functional.interpolate(coarse, size=(cells + 1,) * 3, mode="trilinear", align_corners=True)[0, 0]
    distances = fine.numpy()
    inside = _inside(points, orientation, cells, state.deviation)
    wrong = (distances < 0) != inside
    half = 0.5 / cells
    distances[wrong] = np.where(inside[wrong], -half, half)
    return _State(distances, state.deviation, state.smoothing)


class _Band:
    """The corners near the surface and near the points, with the differences between them as matrices."""

    def __init__(self, distances: np.ndarray, points: np.ndarray, deviation: float) -> None:
        self.cells = distances.shape[0] - 1
        self.width = max(_BAND_CELLS / self.cells, _BAND_DEVIATIONS * deviation)
        near = np.abs(distances) < self.width
        near[tuple((np.minimum((points * self.cells).astype(np.int64), self.cells - 1)[:, None] + _CORNERS).T)] = True
        self.numbers = np.full(distances.shape, -1, dtype=np.int32)
        self.corners = np.argwhere(near)
        self.numbers[near] = np.arange(len(self.corners), dtype=np.int32)
        straight = [self._differences(np.stack([-a, 0 * a, a]), [1.0, -2.0, 1.0]) for a in _AXES]
        # mixed derivatives occur twice in the Hessian
        root = np.sqrt(2.0)
        mixed = [
            self._differences(np.stack([0 * a, a, b, a + b]), [root, -root, -root, root])
            for a, b in ((_AXES[0], _AXES[1]), (_AXES[0], _AXES[2]), (_AXES[1], _AXES[2]))
        ]
        self.hessian = vstack([rows for rows, _ in (*straight, *mixed)]).tocsr() * np.float32(self.cells**2)
        # the corner that each row of the Hessian stands for
        self.owners = np.concatenate([np.flatnonzero(whole) for _, whole in (*straight, *mixed)])
        self.slopes = [
            self._differences(_CORNERS, np.where(_CORNERS[:, a] == 1, 0.25, -0.25))[0] * np.float32(self.cells)
            for a in range(3)
        ]

    def _differences(self, offsets: Int[np.ndarray, "k 3"], factors: list[float]) -> tuple[csr_matrix, np.ndarray]:
        """A row for each corner whose neighbours at all offsets are in the band; and which corners these are."""
        places = self.corners[:, None] + offsets
        within = ((places >= 0) & (places <= self.cells)).all((1, 2))
        columns = self.numbers[tuple(np.clip(places, 0, self.cells).transpose(2, 0, 1))]
        whole = within & (columns >= 0).all(1)
        return self._rows(columns[whole], np.broadcast_to(np.asarray(factors), (int(whole.sum()), len(offsets)))), whole

    def _rows(self, columns: np.ndarray, factors: np.ndarray) -> csr_matrix:
        count, width = columns.shape
        starts = np.arange(0, count * width + 1, width)
        data = factors.astype(np.float32).ravel()
        return csr_matrix((data, columns.ravel(), starts), shape=(count, len(self.corners)))

    def _weights_of(self, points: np.ndarray) -> csr_matrix:
        """Linear interpolation at points."""
        columns = np.empty((len(points), len(_CORNERS)), dtype=np.int32)
        shares = np.empty(columns.shape, dtype=np.float32)
        for start in range(0, len(points), _CHUNK):
            rows = slice(start, start + _CHUNK)
            scaled = points[rows] * self.cells
            lower = np.minimum(scaled.astype(np.int64), self.cells - 1)
            part = (scaled - lower)[:, None]
            columns[rows] = self.numbers[tuple((lower[:, None] + _CORNERS).transpose(2, 0, 1))]
            shares[rows] = np.prod(np.where(_CORNERS == 1, part, 1 - part), axis=2)
        return self._rows(columns, shares)

    def distances_at(self, distances: np.ndarray, points: np.ndarray, deviation: float) -> np.ndarray:
        """To first order: values over slopes, which a solution between two noisy sheets would have small.

        Slopes are taken over twice the deviation to both sides, so that a surface that is crumpled within the noise,
        and so passes near every point, gains nothing by it.
        """
        places = points.T * self.cells
        reach = max(0.5, _SLOPE_DEVIATIONS * deviation * self.cells)
        steps = _AXES * reach
        slope = [
            ndimage.map_coordinates(distances, places + step[:, None], order=1)
            - ndimage.map_coordinates(distances, places - step[:, None], order=1)
            for step in steps
        ]
        length = np.linalg.norm(np.stack(slope), axis=0) * self.cells / (2 * reach)
        return ndimage.map_coordinates(distances, places, order=1) / np.maximum(length, _FLAT)

    def solve(self, state: _State, points: np.ndarray, smoothing: float) -> np.ndarray:
        """One Gauss-Newton step on all terms."""
        values = state.distances[tuple(self.corners.T)]
        at = self._weights_of(points)
        found = at @ values
        slack = _OUTLIER * state.deviation
        trust = np.minimum(1.0, slack / np.maximum(np.abs(found), slack)) / len(points)
        # a thickness of 2 width: sums over corners become integrals over the surface, relative to its area
        share = 1 / len(self.corners)
        gradient = np.stack([slope @ values for slope in self.slopes], axis=1)
        length = np.linalg.norm(gradient, axis=1)
        known = length > _FLAT
        direction = np.where(known[:, None], gradient / np.maximum(length, _FLAT)[:, None], 0.0).astype(np.float32)
        along = sum(diags(direction[:, a]) @ self.slopes[a] for a in range(3)).tocsr()
        reach = max(smoothing, 1 / self.cells, _STIFFNESS * state.deviation)
        bending = self._laplacian(values)
        squares = np.bincount(self.owners, np.square(self.hessian @ values), len(values))
        flatter = _REFERENCE_CURVATURE / np.sqrt(_LEAST_CURVATURE**2 + squares[self.owners])
        moved = np.clip(at @ bending, -self.cells, self.cells) * state.deviation**2 / 2
        terms = [
            _Term(at, trust, moved),
            _Term(along, np.full(len(known), reach**2 * share), known.astype(np.float32)),
            _Term(self.hessian, smoothing**4 * share * flatter, None),
        ]
        solved = state.distances.copy()
        solved[tuple(self.corners.T)] = _least_squares(terms, values)
        return solved

    def _laplacian(self, values: np.ndarray) -> np.ndarray:
        total = np.zeros_like(values)
        for axis in _AXES:
            rows, whole = self._differences(np.stack([-axis, 0 * axis, axis]), [1.0, -2.0, 1.0])
            total[whole] += rows @ values
        return total * np.float32(self.cells**2)


class _Term:
    """A sum of weighted squares of ``matrix x - target``."""

    def __init__(self, matrix: csr_matrix, weights: np.ndarray, target: np.ndarray | None) -> None:
        self._matrix, self._transposed = matrix, matrix.T.tocsr()
        self._weights = weights.astype(np.float32)
        self._target = target

    def normal(self, x: np.ndarray) -> np.ndarray:
        return self._transposed @ (self._weights * (self._matrix @ x))

    def right(self) -> np.ndarray | float:
        return 0.0 if self._target is None else self._transposed @ (self._weights * self._target.astype(np.float32))

    def diagonal(self) -> np.ndarray:
        squares = self._transposed.copy()
        squares.data **= 2
        return squares @ self._weights


def _least_squares(terms: list[_Term], x: np.ndarray) -> np.ndarray:
    """Conjugate gradients on the normal equations, scaled by their diagonal, from x on."""
    scale = sum(term.diagonal() for term in terms)
    scale = 1 / np.where(scale > 0, scale, 1.0)
    residual = sum(term.right() for term in terms) - sum(term.normal(x) for term in terms)
    direction = scaled = scale * residual
    length = first = float(residual @ scaled)
    for _ in range(_ITERATIONS):
        if length <= _TOLERANCE**2 * first:
            break
        image = sum(term.normal(direction) for term in terms)
        step = length / float(direction @ image)
        x = x + np.float32(step) * direction
        residual = residual - np.float32(step) * image
        scaled = scale * residual
        before, length = length, float(residual @ scaled)
        direction = scaled + np.float32(length / before) * direction
    return x
