"""Numba implementation of `onefield.kernels.silhouettes`: rows of pixels in parallel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.silhouettes import MOST_FACES

_MOST_FACES = MOST_FACES


@njit("void(float32[:,::1], float64[::1], float64[:,::1])", cache=True, parallel=True)
def _project(vertices, intrinsics, projected):
    for vertex in prange(vertices.shape[0]):
        z = np.float64(vertices[vertex, 2])
        for axis in range(2):
            if z > 0.0:
                projected[vertex, axis] = vertices[vertex, axis] / z * intrinsics[axis] + intrinsics[2 + axis]
            else:
                projected[vertex, axis] = np.nan


@njit("Tuple((int64, float64))(float64[:,::1], int64[::1], float64, float64, int64, float64, int64, int64)", cache=True)
def _exit(projected, corners, x, y, axis, forward, low, high):
    """The edge by which a line along an axis leaves a face, but for the one between two vertices, and how far along
    that is; -1 where it meets none or the face reaches behind the camera."""
    edge, furthest = -1, -np.inf
    center_along, center_aside = (x, y) if axis == 0 else (y, x)
    for n in range(3):
        start, end = corners[n], corners[(n + 1) % 3]
        if np.isnan(projected[start, 0]):
            return -1, np.inf
        if (start == low and end == high) or (start == high and end == low):
            continue
        aside = projected[start, 1 - axis] - center_aside
        next_aside = projected[end, 1 - axis] - center_aside
        if (aside < 0.0) == (next_aside < 0.0):
            continue
        along = forward * (projected[start, axis] - center_along)
        next_along = forward * (projected[end, axis] - center_along)
        place = along - aside * (next_along - along) / (next_aside - aside)
        if place > furthest:
            edge, furthest = n, place
    return edge, furthest


@njit(
    "int64(float64[:,::1], int64[:,::1], int64[:,::1], int64, float64, float64, int64, float64)",
    cache=True,
)
def _walk(projected, faces, neighbours, face, x, y, axis, forward):
    """Three times the face plus the number of its edge at which the surface ends before the other centre, or -1."""
    edge, place = _exit(projected, faces[face], x, y, axis, forward, -1, -1)
    for _ in range(_MOST_FACES):
        if edge < 0 or not place < 1.0:
            return -1
        across = neighbours[face, edge]
        start, end = faces[face, edge], faces[face, (edge + 1) % 3]
        next_edge, further = -1, np.inf
        if across >= 0:
            next_edge, further = _exit(projected, faces[across], x, y, axis, forward, start, end)
        if across < 0 or further <= place:
            width = abs(projected[end, axis] - projected[start, axis])
            height = abs(projected[end, 1 - axis] - projected[start, 1 - axis])
            squarely = width <= height if axis == 0 else width < height
            return 3 * face + edge if squarely else -1
        face, edge, place = across, next_edge, further
    return -1


@njit(
    "void(float64[:,::1], int64[:,::1], int64[:,::1], int64[:,::1], float32[:,::1], int64[:,:,::1])",
    cache=True,
    parallel=True,
)
def _between_pixels(projected, faces, neighbours, seen, depth, found):
    height, width = seen.shape
    for row in prange(height):
        for column in range(width):
            for axis in range(2):
                found[row, column, axis] = -1
                other_row, other_column = row + axis, column + 1 - axis
                if other_row >= height or other_column >= width:
                    continue
                first, second = seen[row, column], seen[other_row, other_column]
                if first == second:
                    continue
                if first < 0 or (second >= 0 and depth[other_row, other_column] < depth[row, column]):
                    found[row, column, axis] = _walk(
                        projected, faces, neighbours, second, other_column + 0.5, other_row + 0.5, axis, -1.0
                    )
                else:
                    found[row, column, axis] = _walk(
                        projected, faces, neighbours, first, column + 0.5, row + 0.5, axis, 1.0
                    )


def silhouettes(
    vertices: Tensor, faces: Tensor, neighbours: Tensor, seen: Tensor, depth: Tensor, intrinsics: Sequence[float]
) -> Tensor:
    """See `onefield.kernels.silhouettes.silhouettes`."""
    projected = np.empty((len(vertices), 2))
    _project(vertices.numpy(), np.array(intrinsics, dtype=np.float64), projected)
    found = np.empty((*seen.shape, 2), dtype=np.int64)
    _between_pixels(projected, faces.numpy(), neighbours.numpy(), seen.numpy(), depth.numpy(), found)
    return torch.from_numpy(found)
