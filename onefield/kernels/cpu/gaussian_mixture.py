"""Numba twin of `onefield.kernels.gaussian_mixture`: points and Gaussians meet in the cells of a grid.

Points look through the Gaussians that reach into their cell; for the gradients of Gaussians, each Gaussian looks
through the points of the cells that it reaches into. Nothing is written from two sides, so the result doesn't depend on
the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.gaussian_mixture import REACH

_FAST = {"contract", "nsz", "arcp", "reassoc"}
# Points, or Gaussians, that a cell should hold on average.
_PER_CELL = 4
_MOST_CELLS_ALONG_AN_EDGE = 96
# Entries of the cells' lists for each Gaussian and point, beyond which the grid is made coarser.
_ENTRIES = 64
_CUT = np.float32(REACH * REACH)
_HALF = np.float32(0.5)
_ZERO = np.float32(0)
_CHUNK = 64


@njit(
    "void(float32[:,::1],float32[:,:,::1],float32[::1],float32[::1],int64,int32[:,::1])",
    parallel=True,
    cache=True,
    error_model="numpy",
)
def _reached_cells(means, whitening, low, cell, cells, spans):
    """First and last cell that each Gaussian reaches into, an axis; an empty span where it reaches none."""
    for i in prange(means.shape[0]):
        for axis in range(3):
            spread = 0.0
            for k in range(3):
                length2 = (
                    whitening[i, k, 0] * whitening[i, k, 0]
                    + whitening[i, k, 1] * whitening[i, k, 1]
                    + whitening[i, k, 2] * whitening[i, k, 2]
                )
                # row k is axis / s, so its square length is 1 / s^2, and the variance along an edge sum (s^2 axis)^2
                spread += (whitening[i, k, axis] / length2) ** 2
            half = REACH * math.sqrt(spread)
            first = math.floor((means[i, axis] - half - low[axis]) / cell[axis])
            last = math.floor((means[i, axis] + half - low[axis]) / cell[axis])
            # not a number: no cell
            if not (first < cells and last >= 0):
                first, last = 0, -1
            spans[i, 2 * axis] = max(first, 0)
            spans[i, 2 * axis + 1] = min(last, cells - 1)


@njit("int64(int32[:,::1])", cache=True)
def _count_entries(spans):
    total = 0
    for i in range(spans.shape[0]):
        volume = 1
        for axis in range(3):
            volume *= max(0, spans[i, 2 * axis + 1] - spans[i, 2 * axis] + 1)
        total += volume
    return total


@njit("void(int32[:,::1],int64,int64[::1],int32[::1])", cache=True)
def _list_gaussians(spans, cells, starts, entries):
    for i in range(spans.shape[0]):
        for z in range(spans[i, 4], spans[i, 5] + 1):
            for y in range(spans[i, 2], spans[i, 3] + 1):
                for x in range(spans[i, 0], spans[i, 1] + 1):
                    starts[(z * cells + y) * cells + x + 1] += 1
    for c in range(starts.shape[0] - 1):
        starts[c + 1] += starts[c]
    place = starts.copy()
    for i in range(spans.shape[0]):
        for z in range(spans[i, 4], spans[i, 5] + 1):
            for y in range(spans[i, 2], spans[i, 3] + 1):
                for x in range(spans[i, 0], spans[i, 1] + 1):
                    c = (z * cells + y) * cells + x
                    entries[place[c]] = i
                    place[c] += 1


@njit("void(float32[:,::1],float32[::1],float32[::1],int64,int32[::1],int64[::1],int32[::1])", cache=True)
def _list_points(points, low, cell, cells, owner, starts, order):
    for n in range(points.shape[0]):
        c = 0
        for axis in range(2, -1, -1):
            along = math.floor((points[n, axis] - low[axis]) / cell[axis])
            c = c * cells + min(max(int(along), 0), cells - 1)
        owner[n] = c
        starts[c + 1] += 1
    for c in range(starts.shape[0] - 1):
        starts[c + 1] += starts[c]
    place = starts.copy()
    for n in range(points.shape[0]):
        order[place[owner[n]]] = n
        place[owner[n]] += 1


@njit(
    "void(float32[:,::1],float32[:,::1],float32[:,:,::1],float32[::1],float32[:,::1],int32[::1],int64[::1],int32[::1],"
    "float32[::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _mixture(points, means, whitening, amplitudes, features, owner, starts, entries, total, sums):
    width = features.shape[1]
    for n in prange(points.shape[0]):
        amount = _ZERO
        for f in range(width):
            sums[n, f] = _ZERO
        for e in range(starts[owner[n]], starts[owner[n] + 1]):
            i = entries[e]
            x = points[n, 0] - means[i, 0]
            y = points[n, 1] - means[i, 1]
            z = points[n, 2] - means[i, 2]
            squared = _ZERO
            for k in range(3):
                u = whitening[i, k, 0] * x + whitening[i, k, 1] * y + whitening[i, k, 2] * z
                squared += u * u
            if squared < _CUT:
                weight = amplitudes[i] * math.exp(-_HALF * squared)
                amount += weight
                for f in range(width):
                    sums[n, f] += weight * features[i, f]
        total[n] = amount


@njit(
    "void(float32[::1],float32[:,::1],float32[:,::1],float32[:,::1],float32[:,:,::1],float32[::1],float32[:,::1],"
    "int32[::1],int64[::1],int32[::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _points_backward(
    for_total, for_sums, points, means, whitening, amplitudes, features, owner, starts, entries, for_points
):
    width = features.shape[1]
    for n in prange(points.shape[0]):
        slope_x = _ZERO
        slope_y = _ZERO
        slope_z = _ZERO
        for e in range(starts[owner[n]], starts[owner[n] + 1]):
            i = entries[e]
            x = points[n, 0] - means[i, 0]
            y = points[n, 1] - means[i, 1]
            z = points[n, 2] - means[i, 2]
            u0 = whitening[i, 0, 0] * x + whitening[i, 0, 1] * y + whitening[i, 0, 2] * z
            u1 = whitening[i, 1, 0] * x + whitening[i, 1, 1] * y + whitening[i, 1, 2] * z
            u2 = whitening[i, 2, 0] * x + whitening[i, 2, 1] * y + whitening[i, 2, 2] * z
            squared = u0 * u0 + u1 * u1 + u2 * u2
            if squared < _CUT:
                gain = for_total[n]
                for f in range(width):
                    gain += for_sums[n, f] * features[i, f]
                gain *= -amplitudes[i] * math.exp(-_HALF * squared)
                slope_x += gain * (whitening[i, 0, 0] * u0 + whitening[i, 1, 0] * u1 + whitening[i, 2, 0] * u2)
                slope_y += gain * (whitening[i, 0, 1] * u0 + whitening[i, 1, 1] * u1 + whitening[i, 2, 1] * u2)
                slope_z += gain * (whitening[i, 0, 2] * u0 + whitening[i, 1, 2] * u1 + whitening[i, 2, 2] * u2)
        for_points[n, 0] = slope_x
        for_points[n, 1] = slope_y
        for_points[n, 2] = slope_z


@njit(
    "void(float32[::1],float32[:,::1],float32[:,::1],float32[:,::1],float32[:,:,::1],float32[::1],float32[:,::1],"
    "int32[:,::1],int64,int64[::1],int32[::1],float32[:,::1],float32[:,:,::1],float32[::1],float32[:,::1])",
    parallel=True,
    cache=True,
    fastmath=_FAST,
    error_model="numpy",
)
def _gaussians_backward(  # noqa: PLR0913 - compiled
    for_total, for_sums, points, means, whitening, amplitudes, features, spans, cells, starts, order,
    for_means, for_whitening, for_amplitudes, for_features,
):  # fmt: skip
    width = features.shape[1]
    count = means.shape[0]
    for chunk in prange((count + _CHUNK - 1) // _CHUNK):
        u = np.empty(3, np.float32)
        for i in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK)):
            for z in range(spans[i, 4], spans[i, 5] + 1):
                for y in range(spans[i, 2], spans[i, 3] + 1):
                    row = (z * cells + y) * cells
                    # the cells of a row lie one after the other, and so do their points
                    if spans[i, 1] < spans[i, 0]:
                        continue
                    for place in range(starts[row + spans[i, 0]], starts[row + spans[i, 1] + 1]):
                        n = order[place]
                        squared = _ZERO
                        for k in range(3):
                            u[k] = _ZERO
                            for j in range(3):
                                u[k] += whitening[i, k, j] * (points[n, j] - means[i, j])
                            squared += u[k] * u[k]
                        if squared < _CUT:
                            shape = math.exp(-_HALF * squared)
                            gain = for_total[n]
                            for f in range(width):
                                gain += for_sums[n, f] * features[i, f]
                                for_features[i, f] += amplitudes[i] * shape * for_sums[n, f]
                            for_amplitudes[i] += gain * shape
                            gain *= amplitudes[i] * shape
                            for k in range(3):
                                for j in range(3):
                                    for_means[i, j] += gain * u[k] * whitening[i, k, j]
                                    for_whitening[i, k, j] -= gain * u[k] * (points[n, j] - means[i, j])


def _array(tensor: Tensor):
    return tensor.detach().contiguous().numpy()


class _Grid:
    """Points and Gaussians by the cells of a grid over the points."""

    def __init__(self, points: np.ndarray, means: np.ndarray, whitening: np.ndarray) -> None:
        count = max(len(points), len(means), 1)
        # one point that is no number would leave all others without a cell
        placed = points[np.isfinite(points).all(1)]
        self.low = placed.min(0) if len(placed) else np.zeros(3, np.float32)
        extent = (placed.max(0) - self.low if len(placed) else np.ones(3, np.float32)).astype(np.float32)
        # a flat or single set of points is as good as one cell deep
        extent = np.where(extent > 0, extent, np.float32(1))
        self.cells = min(_MOST_CELLS_ALONG_AN_EDGE, max(1, round((count / _PER_CELL) ** (1 / 3))))
        self.spans = np.empty((len(means), 6), np.int32)
        while True:
            self.cell = (extent / np.float32(self.cells)).astype(np.float32)
            _reached_cells(means, whitening, self.low, self.cell, self.cells, self.spans)
            self.entries = _count_entries(self.spans)
            if self.entries <= _ENTRIES * (len(points) + len(means)) or self.cells == 1:
                break
            self.cells = max(1, self.cells // 2)

    def of_points(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cell of each point, where each cell's points begin, and the points cell by cell."""
        owner, order = np.empty(len(points), np.int32), np.empty(len(points), np.int32)
        starts = np.zeros(self.cells**3 + 1, np.int64)
        _list_points(points, self.low, self.cell, self.cells, owner, starts, order)
        return owner, starts, order

    def of_gaussians(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each cell's Gaussians begin, and the Gaussians cell by cell."""
        starts, entries = np.zeros(self.cells**3 + 1, np.int64), np.empty(self.entries, np.int32)
        _list_gaussians(self.spans, self.cells, starts, entries)
        return starts, entries


def mixture(
    points: Tensor, means: Tensor, whitening: Tensor, amplitudes: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """See `onefield.kernels.gaussian_mixture`."""
    total, sums = torch.empty(len(points)), torch.empty(len(points), features.shape[1])
    inputs = [_array(tensor) for tensor in (points, means, whitening, amplitudes, features)]
    grid = _Grid(*inputs[:3])
    _mixture(*inputs, grid.of_points(inputs[0])[0], *grid.of_gaussians(), total.numpy(), sums.numpy())
    return total, sums


def mixture_backward(
    for_total: Tensor,
    for_sums: Tensor,
    points: Tensor,
    means: Tensor,
    whitening: Tensor,
    amplitudes: Tensor,
    features: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of all inputs."""
    given = [_array(t) for t in (for_total, for_sums, points, means, whitening, amplitudes, features)]
    grid = _Grid(*given[2:5])
    owner, starts, order = grid.of_points(given[2])
    for_points = torch.empty(len(points), 3)
    _points_backward(*given, owner, *grid.of_gaussians(), for_points.numpy())
    slopes = tuple(torch.zeros(tensor.shape) for tensor in (means, whitening, amplitudes, features))
    _gaussians_backward(*given, grid.spans, grid.cells, starts, order, *(slope.numpy() for slope in slopes))
    return for_points, *slopes
