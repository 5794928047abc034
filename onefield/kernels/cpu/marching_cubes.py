"""Numba implementation of `onefield.kernels.marching_cubes`.

Passes over the rows of cells (k runs fastest): the first counts what each row yields, the others write. Vertex numbers
follow from prefix sums of the counts and a running count within the row, so that no table of edges is kept.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.marching_cubes import CROSSING_MARGIN
from onefield.kernels.marching_cubes_tables import EDGE_COUNT, FACE_RINGS, SLICE_DIAGONALS, marching_cubes_tables

# columns of the counts of a row: cut edges along x, y, z that start in it, then what its cells yield
_X, _Y, _Z, _CENTERS, _FACES = range(5)
_RINGS = FACE_RINGS
_MARGIN = CROSSING_MARGIN
(_A, _C), (_B, _D) = SLICE_DIAGONALS


@njit("int64(float32[:,:,::1], float64, int64, int64, int64)", cache=True)
def _corner_bits(volume, isovalue, i, j, k):
    """Inside bits of the four corners of a cell at one k, in the order of the table's corners."""
    bits = 0
    if volume[i, j, k] < isovalue:
        bits |= 1
    if volume[i + 1, j, k] < isovalue:
        bits |= 2
    if volume[i, j + 1, k] < isovalue:
        bits |= 4
    if volume[i + 1, j + 1, k] < isovalue:
        bits |= 8
    return bits


@njit("float64(float32[:,:,::1], float64, int64, int64, int64, int64)", cache=True)
def _level(volume, isovalue, i, j, k, corner):
    return np.float64(volume[i + (corner & 1), j + (corner >> 1 & 1), k + (corner >> 2 & 1)]) - isovalue


@njit("int64(float32[:,:,::1], float64, int64, int64, int64)", cache=True)
def _joined_slice(volume, isovalue, i, j, k):
    """See the reference."""
    low, slope = np.empty(4), np.empty(4)
    for n in range(4):
        low[n] = _level(volume, isovalue, i, j, k, n)
        slope[n] = _level(volume, isovalue, i, j, k, n + 4) - low[n]
    quadratic = slope[_A] * slope[_C] - slope[_B] * slope[_D]
    linear = (low[_A] * slope[_C] + low[_C] * slope[_A]) - (low[_B] * slope[_D] + low[_D] * slope[_B])
    if quadratic == 0.0:
        return -1
    extreme = -0.5 * linear / quadratic
    if not 0.0 < extreme < 1.0:
        return -1
    a, b = low[_A] + extreme * slope[_A], low[_B] + extreme * slope[_B]
    c, d = low[_C] + extreme * slope[_C], low[_D] + extreme * slope[_D]
    if a < 0.0 and c < 0.0 and b >= 0.0 and d >= 0.0:
        return 0 if a * c > b * d else 3
    if b < 0.0 and d < 0.0 and a >= 0.0 and c >= 0.0:
        return 1 if b * d > a * c else 2
    return -1


@njit("int64(float32[:,:,::1], float64, int64, int64, int64, int64, int8[:,::1], int32[::1], int32[:,::1])", cache=True)
def _variant(volume, isovalue, i, j, k, case, ambiguous_faces, first_variants, tunnels):
    variant = np.int64(first_variants[case])
    for n in range(ambiguous_faces.shape[1]):
        face = ambiguous_faces[case, n]
        if face < 0:
            break
        a = _level(volume, isovalue, i, j, k, _RINGS[face, 0])
        first = a * _level(volume, isovalue, i, j, k, _RINGS[face, 2])
        second = _level(volume, isovalue, i, j, k, _RINGS[face, 1]) * _level(volume, isovalue, i, j, k, _RINGS[face, 3])
        joined = first > second if a < 0 else second > first
        if joined:
            variant += 1 << n
    if tunnels[variant, 0] < 0 and tunnels[variant, 1] < 0 and tunnels[variant, 2] < 0 and tunnels[variant, 3] < 0:
        return variant
    column = _joined_slice(volume, isovalue, i, j, k)
    if column >= 0 and tunnels[variant, column] >= 0:
        return np.int64(tunnels[variant, column])
    return variant


@njit(
    "void(float32[:,:,::1], float64, int8[:,::1], int32[::1], int32[:,::1], int8[::1], int8[::1], int64[:,:,::1])",
    cache=True,
    parallel=True,
)
def _count(volume, isovalue, ambiguous_faces, first_variants, tunnels, triangle_counts, center_counts, counts):
    x, y, z = volume.shape
    for i in prange(x):
        up = min(i + 1, x - 1)
        for j in range(y):
            right = min(j + 1, y - 1)
            cuts_x = cuts_y = cuts_z = centers = triangles = 0
            is_cell_row = i + 1 < x and j + 1 < y
            low = 0
            for k in range(z):
                here = volume[i, j, k] < isovalue
                there, beside = volume[up, j, k] < isovalue, volume[i, right, k] < isovalue
                diagonal = volume[up, right, k] < isovalue
                bits = np.int64(here) | np.int64(there) << 1 | np.int64(beside) << 2 | np.int64(diagonal) << 3
                cuts_x += here != there
                cuts_y += here != beside
                if k > 0:
                    cuts_z += here != (low & 1)
                    case = low | bits << 4
                    if is_cell_row and case not in (0, 255):
                        variant = _variant(
                            volume, isovalue, i, j, k - 1, case, ambiguous_faces, first_variants, tunnels
                        )
                        centers += center_counts[variant]
                        triangles += triangle_counts[variant]
                low = bits
            counts[i, j, _X], counts[i, j, _Y], counts[i, j, _Z] = cuts_x, cuts_y, cuts_z
            counts[i, j, _CENTERS], counts[i, j, _FACES] = centers, triangles


@njit("float64(float32[:,:,::1], float64, int64, int64, int64, int64)", cache=True)
def _fraction(volume, isovalue, i, j, k, axis):
    low = _level(volume, isovalue, i, j, k, 0)
    high = _level(volume, isovalue, i, j, k, 1 << axis)
    return min(max(low / (low - high), _MARGIN), 1.0 - _MARGIN)


@njit("void(float32[:,:,::1], float64, int64[:,:,::1], int64[:,:,::1], float32[:,::1])", cache=True, parallel=True)
def _write_edge_vertices(volume, isovalue, counts, starts, vertices):
    x, y, z = volume.shape
    for i in prange(x):
        up = min(i + 1, x - 1)
        for j in range(y):
            if counts[i, j, _X] + counts[i, j, _Y] + counts[i, j, _Z] == 0:
                continue
            right = min(j + 1, y - 1)
            along_x, along_y, along_z = starts[i, j, _X], starts[i, j, _Y], starts[i, j, _Z]
            for k in range(z):
                above = min(k + 1, z - 1)
                here = volume[i, j, k] < isovalue
                if here != (volume[up, j, k] < isovalue):
                    vertices[along_x, 0] = i + _fraction(volume, isovalue, i, j, k, 0)
                    vertices[along_x, 1], vertices[along_x, 2] = j, k
                    along_x += 1
                if here != (volume[i, right, k] < isovalue):
                    vertices[along_y, 1] = j + _fraction(volume, isovalue, i, j, k, 1)
                    vertices[along_y, 0], vertices[along_y, 2] = i, k
                    along_y += 1
                if here != (volume[i, j, above] < isovalue):
                    vertices[along_z, 2] = k + _fraction(volume, isovalue, i, j, k, 2)
                    vertices[along_z, 0], vertices[along_z, 1] = i, j
                    along_z += 1


@njit("void(int64[:,:,::1], int64, int64, int64[::1])", cache=True)
def _enter_row(starts, i, j, following):
    """Next vertex number on the rows of edges around a row of cells: four along x and y (two used), four along z."""
    for n in range(2):
        following[n] = starts[i, j + n, _X]
        following[4 + n] = starts[i + n, j, _Y]
    for n in range(4):
        following[8 + n] = starts[i + (n & 1), j + (n >> 1), _Z]


@njit("void(int64, int64[::1], int64[::1])", cache=True)
def _advance(case, following, edges):
    """Vertex numbers of the 12 edges of a cell (meaningless where uncut); steps the running numbers past the cell."""
    for n in range(2):
        edges[n], edges[4 + n] = following[n], following[4 + n]
        following[n] += (case >> (2 * n) & 1) != (case >> (2 * n + 1) & 1)
        following[4 + n] += (case >> n & 1) != (case >> (n + 2) & 1)
        edges[2 + n], edges[6 + n] = following[n], following[4 + n]
    for n in range(4):
        edges[8 + n] = following[8 + n]
        following[8 + n] += (case >> n & 1) != (case >> (n + 4) & 1)


@njit("void(int8[::1], int64[::1], int64, float32[:,::1])", cache=True)
def _write_center(loop, edges, center, vertices):
    length = 0
    x = y = z = 0.0
    for n in range(loop.shape[0]):
        if loop[n] < 0:
            break
        vertex = edges[loop[n]]
        x += vertices[vertex, 0]
        y += vertices[vertex, 1]
        z += vertices[vertex, 2]
        length += 1
    vertices[center, 0], vertices[center, 1], vertices[center, 2] = x / length, y / length, z / length


@njit(
    "void(float32[:,:,::1], float64, int8[:,::1], int32[::1], int32[:,::1], int8[::1], int8[:,:,::1], int8[::1], "
    "int8[:,:,::1], int64[:,:,::1], float32[:,::1], int64[:,::1])",
    cache=True,
    parallel=True,
)
def _write_faces(
    volume,
    isovalue,
    ambiguous_faces,
    first_variants,
    tunnels,
    triangle_counts,
    triangles,
    center_counts,
    center_loops,
    starts,
    vertices,
    faces,
):
    x, y, z = volume.shape
    for i in prange(x - 1):
        following = np.empty(EDGE_COUNT, np.int64)
        edges = np.empty(EDGE_COUNT + center_loops.shape[1], np.int64)
        for j in range(y - 1):
            number, center = starts[i, j, _FACES], starts[i, j, _CENTERS]
            if number == starts[i, j + 1, _FACES]:
                continue
            _enter_row(starts, i, j, following)
            low = _corner_bits(volume, isovalue, i, j, 0)
            for k in range(z - 1):
                high = _corner_bits(volume, isovalue, i, j, k + 1)
                case = low | high << 4
                low = high
                if case in (0, 255):
                    continue
                _advance(case, following, edges)
                variant = _variant(volume, isovalue, i, j, k, case, ambiguous_faces, first_variants, tunnels)
                for n in range(center_counts[variant]):
                    edges[EDGE_COUNT + n] = center
                    _write_center(center_loops[variant, n], edges, center, vertices)
                    center += 1
                for n in range(triangle_counts[variant]):
                    for m in range(3):
                        faces[number, m] = edges[triangles[variant, n, m]]
                    number += 1


def _starts(counts: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Where each row begins in its list, and the numbers of vertices and faces."""
    flat = counts.reshape(-1, counts.shape[2])
    ends = np.cumsum(flat, axis=0)
    starts = ends - flat
    # vertices: those along x, then y, then z, then centres
    first = 0
    for column in (_X, _Y, _Z, _CENTERS):
        starts[:, column] += first
        first += int(ends[-1, column])
    return np.ascontiguousarray(starts.reshape(counts.shape)), first, int(ends[-1, _FACES])


def marching_cubes(volume: Tensor, isovalue: float) -> tuple[Tensor, Tensor]:
    """See `onefield.kernels.marching_cubes.marching_cubes`."""
    tables = marching_cubes_tables()
    values = volume.numpy()
    counts = np.empty((*values.shape[:2], 5), dtype=np.int64)
    chosen = (tables.ambiguous_faces, tables.first_variants, tables.tunnels)
    _count(values, isovalue, *chosen, tables.triangle_counts, tables.center_counts, counts)
    starts, vertex_count, face_count = _starts(counts)
    vertices = np.empty((vertex_count, 3), dtype=np.float32)
    faces = np.empty((face_count, 3), dtype=np.int64)
    _write_edge_vertices(values, isovalue, counts, starts, vertices)
    _write_faces(
        values,
        isovalue,
        *chosen,
        tables.triangle_counts,
        tables.triangles,
        tables.center_counts,
        tables.center_loops,
        starts,
        vertices,
        faces,
    )
    return torch.from_numpy(vertices), torch.from_numpy(faces)
