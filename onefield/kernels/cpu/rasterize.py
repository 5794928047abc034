"""Numba implementation of `onefield.kernels.rasterize`: bands of rows in parallel, faces in order within each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

# Rows of a band: enough bands to share among cores, few enough that reading every face's extent for each stays cheap.
_BAND = 16


@njit("void(float32[:,::1], int64[:,::1], float64[::1], int64, int64, int32[:,::1])", cache=True, parallel=True)
def _extents(vertices, faces, intrinsics, width, height, extents):
    """First and last column and row whose centres a face may cover; an empty range where it lies behind the camera."""
    for face in prange(faces.shape[0]):
        left, right = np.inf, -np.inf
        top, bottom = np.inf, -np.inf
        behind = 0
        for n in range(3):
            vertex = faces[face, n]
            z = np.float64(vertices[vertex, 2])
            if z <= 0.0:
                behind += 1
                continue
            x = vertices[vertex, 0] / z * intrinsics[0] + intrinsics[2]
            y = vertices[vertex, 1] / z * intrinsics[1] + intrinsics[3]
            left, right = min(left, x), max(right, x)
            top, bottom = min(top, y), max(bottom, y)
        if behind == 3:
            extents[face, 0], extents[face, 1], extents[face, 2], extents[face, 3] = 0, -1, 0, -1
        elif behind > 0:
            extents[face, 0], extents[face, 1] = 0, width - 1
            extents[face, 2], extents[face, 3] = 0, height - 1
        else:
            # one pixel wider than the centres need, so that rounding loses none
            extents[face, 0] = np.int32(min(max(np.floor(left - 0.5), 0.0), np.float64(width)))
            extents[face, 1] = np.int32(min(max(np.ceil(right - 0.5), -1.0), np.float64(width - 1)))
            extents[face, 2] = np.int32(min(max(np.floor(top - 0.5), 0.0), np.float64(height)))
            extents[face, 3] = np.int32(min(max(np.ceil(bottom - 0.5), -1.0), np.float64(height - 1)))


@njit("void(float32[:,::1], int64, int64, float64[::1])", cache=True)
def _cross(vertices, first, second, out):
    ax, ay, az = np.float64(vertices[first, 0]), np.float64(vertices[first, 1]), np.float64(vertices[first, 2])
    bx, by, bz = np.float64(vertices[second, 0]), np.float64(vertices[second, 1]), np.float64(vertices[second, 2])
    out[0], out[1], out[2] = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@njit(
    "void(float32[:,::1], int64[:,::1], float64[::1], int32[:,::1], int64[:,::1], float32[:,:,::1], float32[:,::1])",
    cache=True,
    parallel=True,
)
def _fill(vertices, faces, intrinsics, extents, found, weights, depth):
    height, width = found.shape
    for band in prange((height + _BAND - 1) // _BAND):
        first_row, last_row = band * _BAND, min((band + 1) * _BAND, height) - 1
        nearest = np.zeros((_BAND, width))
        planes = np.empty((3, 3))
        for face in range(faces.shape[0]):
            top, bottom = max(extents[face, 2], first_row), min(extents[face, 3], last_row)
            if top > bottom or extents[face, 0] > extents[face, 1]:
                continue
            a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
            _cross(vertices, b, c, planes[0])
            _cross(vertices, c, a, planes[1])
            _cross(vertices, a, b, planes[2])
            determinant = 0.0
            for n in range(3):
                determinant += vertices[a, n] * planes[0, n]
            if determinant == 0.0:
                continue
            for row in range(top, bottom + 1):
                y = (row + 0.5 - intrinsics[3]) / intrinsics[1]
                for column in range(extents[face, 0], extents[face, 1] + 1):
                    x = (column + 0.5 - intrinsics[2]) / intrinsics[0]
                    wa = (x * planes[0, 0] + y * planes[0, 1] + planes[0, 2]) / determinant
                    wb = (x * planes[1, 0] + y * planes[1, 1] + planes[1, 2]) / determinant
                    wc = (x * planes[2, 0] + y * planes[2, 1] + planes[2, 2]) / determinant
                    inverse_depth = wa + wb + wc
                    if wa >= 0 and wb >= 0 and wc >= 0 and inverse_depth > nearest[row - first_row, column]:
                        nearest[row - first_row, column] = inverse_depth
                        found[row, column] = face
                        depth[row, column] = 1.0 / inverse_depth
                        weights[row, column, 0] = wa / inverse_depth
                        weights[row, column, 1] = wb / inverse_depth
                        weights[row, column, 2] = wc / inverse_depth


def rasterize(
    vertices: Tensor, faces: Tensor, intrinsics: Sequence[float], width: int, height: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `onefield.kernels.rasterize.rasterize`."""
    points, corners = vertices.numpy(), faces.numpy()
    pinhole = np.array(intrinsics, dtype=np.float64)
    extents = np.empty((len(corners), 4), dtype=np.int32)
    _extents(points, corners, pinhole, width, height, extents)
    found = np.full((height, width), -1, dtype=np.int64)
    weights = np.zeros((height, width, 3), dtype=np.float32)
    depth = np.zeros((height, width), dtype=np.float32)
    _fill(points, corners, pinhole, extents, found, weights, depth)
    return torch.from_numpy(found), torch.from_numpy(weights), torch.from_numpy(depth)
