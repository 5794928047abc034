"""Numba implementation of `onefield.kernels.mesh_interpolation`: pixels in parallel, gradients added up in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor


@njit("void(float32[:,::1], int64, int64, float64[::1], float64[::1], float64)", cache=True, inline="always")
def _add_cross(vertices, first, second, ray, out, sign):
    """Adds ``sign * (first x second)``, vertices by number; a number of -1 stands for the ray."""
    a = (ray[0], ray[1], ray[2])
    b = (ray[0], ray[1], ray[2])
    if first >= 0:
        a = (np.float64(vertices[first, 0]), np.float64(vertices[first, 1]), np.float64(vertices[first, 2]))
    if second >= 0:
        b = (np.float64(vertices[second, 0]), np.float64(vertices[second, 1]), np.float64(vertices[second, 2]))
    out[0] += sign * (a[1] * b[2] - a[2] * b[1])
    out[1] += sign * (a[2] * b[0] - a[0] * b[2])
    out[2] += sign * (a[0] * b[1] - a[1] * b[0])


@njit("float64(float32[:,::1], int64[::1], float64[::1], float64[::1])", cache=True)
def _shares(vertices, corners, ray, shares):
    """Weights of the corners, and the volume that they were divided by."""
    total = 0.0
    normal = np.empty(3)
    for n in range(3):
        normal[:] = 0.0
        _add_cross(vertices, corners[(n + 1) % 3], corners[(n + 2) % 3], ray, normal, 1.0)
        shares[n] = ray[0] * normal[0] + ray[1] * normal[1] + ray[2] * normal[2]
        total += shares[n]
    for n in range(3):
        shares[n] /= total
    return total


@njit(
    "void(float32[:,::1], int64[:,::1], float32[:,::1], int64[:,::1], float64[::1], float32[:,:,::1])",
    cache=True,
    parallel=True,
)
def _interpolate(vertices, faces, attributes, seen, intrinsics, picture):
    height, width = seen.shape
    for row in prange(height):
        ray, shares = np.ones(3), np.empty(3)
        ray[1] = (row + 0.5 - intrinsics[3]) / intrinsics[1]
        for column in range(width):
            if seen[row, column] < 0:
                continue
            ray[0] = (column + 0.5 - intrinsics[2]) / intrinsics[0]
            corners = faces[seen[row, column]]
            _shares(vertices, corners, ray, shares)
            for channel in range(attributes.shape[1]):
                value = 0.0
                for n in range(3):
                    value += shares[n] * attributes[corners[n], channel]
                picture[row, column, channel] = value


@njit(
    "void(float32[:,:,::1], float32[:,::1], int64[:,::1], float32[:,::1], int64[:,::1], float64[::1], "
    "float64[:,:,:,::1])",
    cache=True,
    parallel=True,
)
def _slopes(for_picture, vertices, faces, attributes, seen, intrinsics, slopes):
    """For each pixel and corner the share, and the gradient of the corner's position."""
    height, width = seen.shape
    for row in prange(height):
        ray, shares, gains = np.ones(3), np.empty(3), np.empty(3)
        ray[1] = (row + 0.5 - intrinsics[3]) / intrinsics[1]
        for column in range(width):
            if seen[row, column] < 0:
                continue
            ray[0] = (column + 0.5 - intrinsics[2]) / intrinsics[0]
            corners = faces[seen[row, column]]
            total = _shares(vertices, corners, ray, shares)
            mean = 0.0
            for n in range(3):
                gains[n] = 0.0
                for channel in range(attributes.shape[1]):
                    gains[n] += for_picture[row, column, channel] * attributes[corners[n], channel]
                mean += shares[n] * gains[n]
            for n in range(3):
                slopes[row, column, n, 0] = shares[n]
                slopes[row, column, n, 1:] = 0.0
            for n in range(3):
                # of the volume of ray, next and last corner
                following, last = (n + 1) % 3, (n + 2) % 3
                gain = (gains[n] - mean) / total
                _add_cross(vertices, corners[last], -1, ray, slopes[row, column, following, 1:], gain)
                _add_cross(vertices, -1, corners[following], ray, slopes[row, column, last, 1:], gain)


@njit(
    "void(float32[:,:,::1], int64[:,::1], int64[:,::1], float64[:,:,:,::1], float64[:,::1], float64[:,::1])", cache=True
)
def _gather(for_picture, faces, seen, slopes, for_vertices, for_attributes):
    height, width = seen.shape
    for row in range(height):
        for column in range(width):
            if seen[row, column] < 0:
                continue
            for n in range(3):
                corner = faces[seen[row, column], n]
                for axis in range(3):
                    for_vertices[corner, axis] += slopes[row, column, n, 1 + axis]
                for channel in range(for_attributes.shape[1]):
                    for_attributes[corner, channel] += slopes[row, column, n, 0] * for_picture[row, column, channel]


def interpolate_mesh(
    vertices: Tensor, faces: Tensor, attributes: Tensor, seen: Tensor, intrinsics: Sequence[float]
) -> Tensor:
    """See `onefield.kernels.mesh_interpolation.interpolate_mesh`."""
    picture = torch.zeros((*seen.shape, attributes.shape[1]))
    pinhole = np.array(intrinsics, dtype=np.float64)
    tensors = (vertices.detach(), faces, attributes.detach(), seen)
    _interpolate(*(tensor.contiguous().numpy() for tensor in tensors), pinhole, picture.numpy())
    return picture


def interpolate_mesh_backward(
    for_picture: Tensor, vertices: Tensor, faces: Tensor, attributes: Tensor, seen: Tensor, intrinsics: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Gradients of vertices and attributes."""
    pinhole = np.array(intrinsics, dtype=np.float64)
    tensors = (for_picture.detach(), vertices.detach(), faces, attributes.detach(), seen)
    gains, points, corners, values, found = (tensor.contiguous().numpy() for tensor in tensors)
    slopes = np.empty((*found.shape, 3, 4))
    _slopes(gains, points, corners, values, found, pinhole, slopes)
    for_vertices, for_attributes = np.zeros(points.shape), np.zeros(values.shape)
    _gather(gains, corners, found, slopes, for_vertices, for_attributes)
    return torch.from_numpy(for_vertices).float(), torch.from_numpy(for_attributes).float()
