"""Triangles of marching cubes, derived from the geometry of the cube alone.

Corner c of a cell lies at ``(c & 1, c >> 1 & 1, c >> 2 & 1)``. Where the surface meets a face of the cell it runs along
arcs that join the cut edges of that face; a face whose inside corners lie on one diagonal has two ways to join them
(its inside corners joined or separated), so a cell configuration has one *variant* for each choice on its ambiguous
faces. The arcs close to loops, and each loop is triangulated inside the cell. Two rules make every extracted surface a
closed manifold: neighbours decide a shared face by the same four values, and no inner edge of a triangulation joins two
cut edges of one face (such an edge could coincide with one of the neighbour's). A loop that cannot be triangulated
under the second rule gets a vertex at its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

CORNERS = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)])
# Edge 4 * axis + n starts at corner EDGE_STARTS[edge] and runs along its axis; n counts the starts in ascending order.
EDGE_AXES = np.repeat(np.arange(3), 4)
EDGE_STARTS = np.array([c for axis in range(3) for c in range(8) if not c >> axis & 1])
EDGE_COUNT = 12
NO_VERTEX = -1


def _face_ring(axis: int, side: int) -> tuple[int, int, int, int]:
    """Corners of a face, counter-clockwise seen from outside the cell."""
    u, v = (axis + 1) % 3, (axis + 2) % 3
    corners = [(side << axis) | (a << u) | (b << v) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return tuple(corners if side else corners[::-1])


FACE_RINGS = np.array([_face_ring(axis, side) for axis in range(3) for side in (0, 1)])
_EDGE_BETWEEN = {
    frozenset((int(start), int(start) | 1 << int(axis))): edge
    for edge, (axis, start) in enumerate(zip(EDGE_AXES, EDGE_STARTS, strict=True))
}
_FACES_OF_EDGE = [
    {face for face, ring in enumerate(FACE_RINGS) if {int(start), int(start) | 1 << int(axis)} <= set(ring.tolist())}
    for axis, start in zip(EDGE_AXES, EDGE_STARTS, strict=True)
]
_EDGE_MIDDLES = CORNERS[EDGE_STARTS] + 0.5 * np.eye(3)[EDGE_AXES]


@dataclass(frozen=True)
class MarchingCubesTables:
    """Look-up tables; bit c of a case is set where corner c is inside.

    Attributes:
        ambiguous_faces: the ambiguous faces of each case (rows of ``FACE_RINGS``), -1 beyond the last.
        first_variants: where the variants of each case begin; bit n of the variant within the case is set where the
            inside corners of the n-th ambiguous face are joined.
        triangle_counts: triangles of each variant.
        triangles: their corners, an edge 0..11 or 12 + n for the n-th centre vertex; -1 beyond the count.
        center_counts: centre vertices of each variant.
        center_loops: the edges around each centre vertex, -1 beyond its length.
    """

    ambiguous_faces: np.ndarray
    first_variants: np.ndarray
    triangle_counts: np.ndarray
    triangles: np.ndarray
    center_counts: np.ndarray
    center_loops: np.ndarray


def _is_ambiguous(case: int, ring: np.ndarray) -> bool:
    inside = [case >> int(corner) & 1 for corner in ring]
    return inside[0] == inside[2] and inside[1] == inside[3] and inside[0] != inside[1]


def _arcs(case: int, ring: np.ndarray, joined: bool) -> list[tuple[int, int]]:
    """Directed arcs on one face: from a cut edge where the ring enters the inside to one where it leaves."""
    crossings = []
    for corner, following in pairwise([*ring.tolist(), int(ring[0])]):
        was, becomes = case >> corner & 1, case >> following & 1
        if was != becomes:
            crossings.append((_EDGE_BETWEEN[frozenset((corner, following))], becomes))
    step = -1 if joined else 1
    return [
        (edge, crossings[(n + step) % len(crossings)][0]) for n, (edge, entering) in enumerate(crossings) if entering
    ]


def surface_loops(case: int, joined_faces: frozenset[int]) -> list[list[int]]:
    """Closed loops of cut edges, each counter-clockwise seen from outside the surface, lowest edge first."""
    following: dict[int, int] = {}
    for face, ring in enumerate(FACE_RINGS):
        following.update(_arcs(case, ring, face in joined_faces))
    loops, left = [], set(following)
    while left:
        loop = [min(left)]
        while following[loop[-1]] != loop[0]:
            loop.append(following[loop[-1]])
        left -= set(loop)
        loops.append(loop)
    return loops


def _area(a: int, b: int, c: int) -> float:
    middle = _EDGE_MIDDLES
    return float(np.linalg.norm(np.cross(middle[b] - middle[a], middle[c] - middle[a])) / 2)


def triangulate(loop: list[int]) -> list[tuple[int, int, int]] | None:
    """The triangulation of least area (cuts at the middles of the edges) without an inner edge on a face of the cell.

    Dynamic programming over the intervals of the polygon; None where no triangulation is allowed.
    """
    size = len(loop)

    def allowed(first: int, last: int) -> bool:
        neighbours = last - first == 1 or (first == 0 and last == size - 1)
        return neighbours or not _FACES_OF_EDGE[loop[first]] & _FACES_OF_EDGE[loop[last]]

    best: dict[tuple[int, int], tuple[float, list[tuple[int, int, int]]]] = {
        (first, first + 1): (0.0, []) for first in range(size - 1)
    }
    for width in range(2, size):
        for first in range(size - width):
            last = first + width
            if not allowed(first, last):
                continue
            for apex in range(first + 1, last):
                if (first, apex) not in best or (apex, last) not in best:
                    continue
                left, right = best[first, apex], best[apex, last]
                corners = (loop[first], loop[apex], loop[last])
                # rounded, so that equal areas compare equal and the first apex wins on every machine
                area = round(left[0] + right[0] + _area(*corners), 9)
                if (first, last) not in best or area < best[first, last][0]:
                    best[first, last] = (area, [*left[1], corners, *right[1]])
    return best[0, size - 1][1] if (0, size - 1) in best else None


def _cell_surface(loops: list[list[int]]) -> tuple[list[tuple[int, int, int]], list[list[int]]]:
    triangles: list[tuple[int, int, int]] = []
    centers: list[list[int]] = []
    for loop in loops:
        found = triangulate(loop)
        if found is None:
            center = EDGE_COUNT + len(centers)
            centers.append(loop)
            found = [(edge, following, center) for edge, following in pairwise([*loop, loop[0]])]
        triangles.extend(found)
    return triangles, centers


def _padded(rows: list[list], width: int, depth: int) -> np.ndarray:
    table = np.full((len(rows), width, depth), NO_VERTEX, dtype=np.int8)
    for row, entries in enumerate(rows):
        for column, entry in enumerate(entries):
            table[row, column, : len(entry)] = entry
    return table


@cache
def marching_cubes_tables() -> MarchingCubesTables:
    """Derives the tables once a process."""
    ambiguous = [[face for face, ring in enumerate(FACE_RINGS) if _is_ambiguous(case, ring)] for case in range(256)]
    first_variants, all_triangles, all_centers = [], [], []
    for case, faces in enumerate(ambiguous):
        first_variants.append(len(all_triangles))
        for choice in range(1 << len(faces)):
            joined = frozenset(face for n, face in enumerate(faces) if choice >> n & 1)
            triangles, centers = _cell_surface(surface_loops(case, joined))
            all_triangles.append(triangles)
            all_centers.append(centers)
    most_centers = max(1, max(len(centers) for centers in all_centers))
    ambiguous_faces = np.full((256, 6), NO_VERTEX, dtype=np.int8)
    for case, faces in enumerate(ambiguous):
        ambiguous_faces[case, : len(faces)] = faces
    return MarchingCubesTables(
        ambiguous_faces=ambiguous_faces,
        first_variants=np.array(first_variants, dtype=np.int32),
        triangle_counts=np.array([len(triangles) for triangles in all_triangles], dtype=np.int8),
        triangles=_padded(all_triangles, max(len(triangles) for triangles in all_triangles), 3),
        center_counts=np.array([len(centers) for centers in all_centers], dtype=np.int8),
        center_loops=_padded(all_centers, most_centers, EDGE_COUNT),
    )
