"""Patches of dual marching cubes, derived from the geometry of the cube alone.

The surface within a cell falls into patches, each with one vertex; a patch is a loop of cut edges on the cell's
boundary (see `onefield.kernels.marching_cubes_tables`) in which the inside corners of ambiguous faces are separated.
Each face that two cells share gives an edge of the mesh for every arc on it, from the patch on one side to that on the
other. Both arcs of an ambiguous face would give the same edge where they belong to one patch on both sides; there the
surface would not be a manifold. That can only be in cases with one ambiguous face and one patch. Where two such cells
meet at that face, both join its inside corners instead, which gives each of them two patches (after Wenger,
"Isosurfaces: Geometry, Topology, and Algorithms", 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from onefield.kernels.marching_cubes_tables import (
    EDGE_AXES,
    EDGE_COUNT,
    EDGE_STARTS,
    ambiguous_faces,
    surface_loops,
)

NO_PATCH = -1
NO_FACE = -1


def _edge_rings() -> tuple[np.ndarray, np.ndarray]:
    """Around the edge along each axis from a corner: the four cells, and which of its edges it is to each.

    Cells are offsets from the one whose lowest corner is the edge's lower end, counter-clockwise seen from the upper.
    """
    number = {(int(a), int(start)): edge for edge, (a, start) in enumerate(zip(EDGE_AXES, EDGE_STARTS, strict=True))}
    offsets, edges = np.zeros((3, 4, 3), dtype=np.int64), np.zeros((3, 4), dtype=np.int64)
    for axis in range(3):
        for n, around in enumerate(((-1, -1), (0, -1), (0, 0), (-1, 0))):
            for turn, step in enumerate(around, start=1):
                offsets[axis, n, (axis + turn) % 3] = step
            start = sum(int(step < 0) << dimension for dimension, step in enumerate(offsets[axis, n]))
            edges[axis, n] = number[axis, start]
    return offsets, edges


RING_OFFSETS, RING_EDGES = _edge_rings()
# The edge of a cell along each axis that begins at its lowest corner.
OWN_EDGES = np.ascontiguousarray(RING_EDGES[:, 2])


@dataclass(frozen=True)
class DualTables:
    """Look-up tables of *configurations*: the 256 cases of inside corners, then those with their ambiguous face joined.

    Attributes:
        patches: the patch of each edge of a configuration, -1 where it is not cut.
        patch_counts: patches of each configuration.
        cut_counts: cut edges of each configuration.
        joint_faces: of each case that can be joined with a neighbour, the face (axis * 2 + side) that it shares with
            it; else -1.
        joined: the configuration of each case once that face is joined; else the case itself.
    """

    patches: np.ndarray
    patch_counts: np.ndarray
    cut_counts: np.ndarray
    joint_faces: np.ndarray
    joined: np.ndarray


def _patch_row(loops: list[list[int]]) -> list[int]:
    row = [NO_PATCH] * EDGE_COUNT
    for patch, loop in enumerate(loops):
        for edge in loop:
            row[edge] = patch
    return row


@cache
def dual_tables() -> DualTables:
    """Derives the tables once a process."""
    rows = [_patch_row(surface_loops(case, frozenset())) for case in range(256)]
    joint_faces, joined = [NO_FACE] * 256, list(range(256))
    for case in range(256):
        faces = ambiguous_faces(case)
        if len(faces) == 1 and max(rows[case]) == 0:
            joint_faces[case] = faces[0]
            joined[case] = len(rows)
            rows.append(_patch_row(surface_loops(case, frozenset(faces))))
    patches = np.array(rows, dtype=np.int8)
    return DualTables(
        patches=patches,
        patch_counts=(patches.max(axis=1) + 1).astype(np.int8),
        cut_counts=(patches != NO_PATCH).sum(axis=1).astype(np.int8),
        joint_faces=np.array(joint_faces, dtype=np.int8),
        joined=np.array(joined, dtype=np.int16),
    )
