"""Numba implementation of `onefield.kernels.dual_marching_cubes`.

Passes over the rows of cells (k runs fastest): the first counts what each row yields, the others write. A cell finds
its neighbours in other rows by pointers that move along with it, so that no table of all cells is kept.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from onefield.kernels.dual_marching_cubes_tables import OWN_EDGES, RING_EDGES, RING_OFFSETS, dual_tables
from onefield.kernels.marching_cubes_tables import EDGE_COUNT

# columns of what a row yields
_CELLS, _VERTICES, _CROSSINGS, _QUADS = range(4)
# columns of a cell's record, after its place
_CONFIGURATION, _FIRST_VERTEX = 3, 4
_OWN, _RING_EDGES, _RING_OFFSETS = OWN_EDGES, RING_EDGES, RING_OFFSETS


@njit("int64(float32[:,:,::1], float64, int64, int64, int64)", cache=True)
def _corner_bits(volume, isovalue, i, j, k):
    """Inside bits of the four corners of a cell at one k, in the order of the table's corners."""
    return (
        np.int64(volume[i, j, k] < isovalue)
        | np.int64(volume[i + 1, j, k] < isovalue) << 1
        | np.int64(volume[i, j + 1, k] < isovalue) << 2
        | np.int64(volume[i + 1, j + 1, k] < isovalue) << 3
    )


@njit("int64(float32[:,:,::1], float64, int64, int64, int64, int64, int8[::1], int16[::1])", cache=True)
def _configuration(volume, isovalue, i, j, k, case, joint_faces, joined):
    face = joint_faces[case]
    if face < 0:
        return case
    axis, step = face // 2, 2 * (face % 2) - 1
    i += step * (axis == 0)
    j += step * (axis == 1)
    k += step * (axis == 2)
    x, y, z = volume.shape
    if not (0 <= i < x - 1 and 0 <= j < y - 1 and 0 <= k < z - 1):
        return case
    across = _corner_bits(volume, isovalue, i, j, k) | _corner_bits(volume, isovalue, i, j, k + 1) << 4
    return np.int64(joined[case]) if joint_faces[across] >= 0 else case


@njit("boolean(int64, int64, int64, int64, int64, int8[:,::1])", cache=True)
def _owns_quad(i, j, k, axis, configuration, patches):
    """Whether the edge along an axis from the cell's lowest corner is cut and has four cells."""
    if patches[configuration, _OWN[axis]] < 0:
        return False
    return (axis == 0 or i > 0) and (axis == 1 or j > 0) and (axis == 2 or k > 0)


@njit(
    "void(float32[:,:,::1], float64, int8[:,::1], int8[::1], int8[::1], int8[::1], int16[::1], int64[:,:,::1])",
    cache=True,
    parallel=True,
)
def _count(volume, isovalue, patches, patch_counts, cut_counts, joint_faces, joined, counts):
    x, y, z = volume.shape
    for i in prange(x - 1):
        for j in range(y - 1):
            cells = vertices = crossings = quads = 0
            low = _corner_bits(volume, isovalue, i, j, 0)
            for k in range(z - 1):
                high = _corner_bits(volume, isovalue, i, j, k + 1)
                case = low | high << 4
                low = high
                if case in (0, 255):
                    continue
                configuration = _configuration(volume, isovalue, i, j, k, case, joint_faces, joined)
                cells += 1
                vertices += patch_counts[configuration]
                crossings += cut_counts[configuration]
                for axis in range(3):
                    quads += _owns_quad(i, j, k, axis, configuration, patches)
            counts[i, j, _CELLS], counts[i, j, _VERTICES] = cells, vertices
            counts[i, j, _CROSSINGS], counts[i, j, _QUADS] = crossings, quads


@njit(
    "void(float32[:,:,::1], float64, int8[:,::1], int8[::1], int8[::1], int16[::1], int64[:,:,::1], int64[:,::1], "
    "int64[::1], int64[::1], int64[::1])",
    cache=True,
    parallel=True,
)
def _write_cells(
    volume,
    isovalue,
    patches,
    patch_counts,
    joint_faces,
    joined,
    starts,
    records,
    vertex_cells,
    crossing_vertices,
    crossing_edges,
):
    x, y, z = volume.shape
    for i in prange(x - 1):
        for j in range(y - 1):
            cell, vertex, crossing = starts[i, j, _CELLS], starts[i, j, _VERTICES], starts[i, j, _CROSSINGS]
            if cell == starts[i, j + 1, _CELLS]:
                continue
            low = _corner_bits(volume, isovalue, i, j, 0)
            for k in range(z - 1):
                high = _corner_bits(volume, isovalue, i, j, k + 1)
                case = low | high << 4
                low = high
                if case in (0, 255):
                    continue
                configuration = _configuration(volume, isovalue, i, j, k, case, joint_faces, joined)
                records[cell, 0], records[cell, 1], records[cell, 2] = i, j, k
                records[cell, _CONFIGURATION], records[cell, _FIRST_VERTEX] = configuration, vertex
                for patch in range(patch_counts[configuration]):
                    vertex_cells[vertex] = cell
                    for edge in range(EDGE_COUNT):
                        if patches[configuration, edge] == patch:
                            crossing_vertices[crossing], crossing_edges[crossing] = vertex, edge
                            crossing += 1
                    vertex += 1
                cell += 1


@njit(
    "void(float32[:,:,::1], float64, int8[:,::1], int64[:,:,::1], int64[:,::1], int64[:,::1])",
    cache=True,
    parallel=True,
)
def _write_quads(volume, isovalue, patches, starts, records, quads):
    for i in prange(starts.shape[0]):
        # pointers into the rows at (i - 1, j - 1), (i, j - 1), (i - 1, j) and (i, j)
        pointers = np.empty(4, np.int64)
        for j in range(starts.shape[1] - 1):
            quad = starts[i, j, _QUADS]
            if quad == starts[i, j + 1, _QUADS]:
                continue
            for n in range(4):
                pointers[n] = starts[max(i - 1 + (n & 1), 0), max(j - 1 + (n >> 1), 0), _CELLS]
            for cell in range(starts[i, j, _CELLS], starts[i, j + 1, _CELLS]):
                k = records[cell, 2]
                outward = volume[i, j, k] < isovalue
                for axis in range(3):
                    if not _owns_quad(i, j, k, axis, records[cell, _CONFIGURATION], patches):
                        continue
                    for n in range(4):
                        offset = _RING_OFFSETS[axis, n]
                        row = (offset[0] + 1) + 2 * (offset[1] + 1)
                        # the rows' cells lie in ascending order, and one of an earlier k may still be asked for
                        while records[pointers[row], 2] < k - 1:
                            pointers[row] += 1
                        other = pointers[row]
                        while records[other, 2] < k + offset[2]:
                            other += 1
                        vertex = (
                            records[other, _FIRST_VERTEX]
                            + patches[records[other, _CONFIGURATION], _RING_EDGES[axis, n]]
                        )
                        quads[quad, n if outward else (4 - n) % 4] = vertex
                    quad += 1


def _starts(counts: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Where each row begins in its lists, with one more row after the last of each i, and how long the lists are."""
    rows = counts.reshape(-1, counts.shape[2])
    ends = np.cumsum(rows, axis=0)
    starts = np.empty((counts.shape[0], counts.shape[1] + 1, counts.shape[2]), dtype=np.int64)
    starts[:, :-1] = (ends - rows).reshape(counts.shape)
    starts[:, -1] = ends.reshape(counts.shape)[:, -1]
    return starts, ends[-1].tolist()


def dual_connectivity(volume: Tensor, isovalue: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `onefield.kernels.dual_marching_cubes.dual_connectivity`."""
    tables = dual_tables()
    values = volume.numpy()
    counts = np.empty((values.shape[0] - 1, values.shape[1] - 1, 4), dtype=np.int64)
    joining = (tables.joint_faces, tables.joined)
    _count(values, isovalue, tables.patches, tables.patch_counts, tables.cut_counts, *joining, counts)
    starts, (cell_count, vertex_count, crossing_count, quad_count) = _starts(counts)
    records = np.empty((cell_count, 5), dtype=np.int64)
    vertex_cells = np.empty(vertex_count, dtype=np.int64)
    crossing_vertices, crossing_edges = (np.empty(crossing_count, dtype=np.int64) for _ in range(2))
    _write_cells(
        values,
        isovalue,
        tables.patches,
        tables.patch_counts,
        *joining,
        starts,
        records,
        vertex_cells,
        crossing_vertices,
        crossing_edges,
    )
    quads = np.empty((quad_count, 4), dtype=np.int64)
    _write_quads(values, isovalue, tables.patches, starts, records, quads)
    cells = np.ascontiguousarray(records[:, :3])
    return tuple(torch.from_numpy(array) for array in (cells, vertex_cells, crossing_vertices, crossing_edges, quads))
