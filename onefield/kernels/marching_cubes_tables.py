"""Triangles of marching cubes, derived from the geometry of the cube alone.

Corner c of a cell lies at ``(c & 1, c >> 1 & 1, c >> 2 & 1)``. Where the surface meets a face of the cell it runs along
arcs that join the cut edges of that face; a face whose inside corners lie on one diagonal has two ways to join them
(its inside corners joined or separated), so a cell configuration has one *variant* for each choice on its ambiguous
faces. The arcs close to loops, and each loop is triangulated inside the cell. Two rules make every extracted surface a
closed manifold: neighbours decide a shared face by the same four values, and no inner edge of a triangulation joins two
cut edges of one face (such an edge could coincide with one of the neighbour's). A loop that cannot be triangulated
under the second rule gets a vertex at its centre.

The loops divide the cell's boundary into regions of inside and outside. Two regions of one kind can be joined through
the interior; the two loops between them then bound one *tunnel* instead of two discs. To find which, slice the cell
across z: in a slice the trilinear function is bilinear between four values that are linear in z, one a z-edge, so
regions meet inside the cell exactly where two z-edges at opposite corners of a slice are joined as on an ambiguous
face. Hence a variant has four possible tunnels, one for each kind and diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
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
NO_TUNNEL = -1
# Vertices around the middle of a tunnel: with three, no two edges join the same pair of vertices.
WAIST = 3
# Lower corners of the z-edges (the upper is 4 more) on the two diagonals of a slice across z.
SLICE_DIAGONALS = ((0, 3), (1, 2))


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
        tunnels: the variant with a tunnel that follows from each variant; column d where the inside is joined along
            `SLICE_DIAGONALS` d, column 2 + d where the outside is; -1 where that is no tunnel.
    """

    ambiguous_faces: np.ndarray
    first_variants: np.ndarray
    triangle_counts: np.ndarray
    triangles: np.ndarray
    center_counts: np.ndarray
    center_loops: np.ndarray
    tunnels: np.ndarray


def _is_ambiguous(case: int, ring: np.ndarray) -> bool:
    inside = [case >> int(corner) & 1 for corner in ring]
    return inside[0] == inside[2] and inside[1] == inside[3] and inside[0] != inside[1]


def ambiguous_faces(case: int) -> list[int]:
    """The faces (rows of ``FACE_RINGS``) whose inside corners lie on one diagonal."""
    return [face for face, ring in enumerate(FACE_RINGS) if _is_ambiguous(case, ring)]


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


@cache
def _area(a: int, b: int, c: int) -> float:
    middle = _EDGE_MIDDLES
    return float(np.linalg.norm(np.cross(middle[b] - middle[a], middle[c] - middle[a])) / 2)


@cache
def _triangulate(loop: tuple[int, ...]) -> tuple[tuple[int, int, int], ...] | None:
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
    return tuple(best[0, size - 1][1]) if (0, size - 1) in best else None


def _arcs_of(loop: list[int], start: int) -> list[list[int]]:
    """A loop from some place on, in `WAIST` parts of nearly equal length."""
    turned = loop[start:] + loop[:start]
    return [turned[len(loop) * n // WAIST : len(loop) * (n + 1) // WAIST] for n in range(WAIST)]


def _spread(edges: list[int]) -> float:
    """Sum of squared distances of the edges' middles from their mean."""
    middles = _EDGE_MIDDLES[edges]
    # rounded, so that equal spreads compare equal and the first wins on every machine
    return round(float(((middles - middles.mean(axis=0)) ** 2).sum()), 9)


def _half_tube(arcs: list[list[int]], waist: list[int]) -> list[tuple[int, int, int]]:
    """Triangles between a loop, given by its arcs, and the waist's vertices, one an arc."""
    triangles = []
    for n, arc in enumerate(arcs):
        following = (n + 1) % len(arcs)
        triangles += [(edge, after, waist[n]) for edge, after in pairwise([*arc, arcs[following][0]])]
        triangles.append((arcs[following][0], waist[following], waist[n]))
    return triangles


def triangulate_tunnel(first: list[int], second: list[int]) -> tuple[list[tuple[int, int, int]], list[list[int]]]:
    """A tube between two loops, and the edges around each of the `WAIST` vertices in its middle.

    Both loops are bounded in their own direction. They are cut into arcs that face each other, those whose edges lie
    closest together; each pair has a vertex between.
    """
    choices = [(_arcs_of(first, i), _arcs_of(second[::-1], j)) for i in range(len(first)) for j in range(len(second))]
    near, far = min(choices, key=lambda pair: sum(_spread(a + b) for a, b in zip(*pair, strict=True)))
    waist = [EDGE_COUNT + n for n in range(WAIST)]
    # the second loop in its own direction, and the waist along with it
    triangles = _half_tube(near, waist) + _half_tube([arc[::-1] for arc in far[::-1]], waist[::-1])
    return triangles, [a + b for a, b in zip(near, far, strict=True)]


def _regions(case: int, joined_faces: frozenset[int]) -> list[int]:
    """The region of the cell's boundary that each corner lies in, named by its lowest corner."""
    links = [(int(start), int(start) | 1 << int(axis)) for axis, start in zip(EDGE_AXES, EDGE_STARTS, strict=True)]
    links = [(a, b) for a, b in links if case >> a & 1 == case >> b & 1]
    for face, ring in enumerate(FACE_RINGS):
        if _is_ambiguous(case, ring):
            a, b, c, d = ring.tolist()
            first_is_joined = bool(case >> a & 1) == (face in joined_faces)
            links.append((a, c) if first_is_joined else (b, d))
    region = list(range(8))
    for a, b in links:
        low, high = sorted((region[a], region[b]))
        region = [low if r == high else r for r in region]
    return region


def _sides(case: int, loop: list[int], region: list[int]) -> tuple[int, int]:
    """The inside and the outside region that a loop divides."""
    a = int(EDGE_STARTS[loop[0]])
    b = a | 1 << int(EDGE_AXES[loop[0]])
    return (region[a], region[b]) if case >> a & 1 else (region[b], region[a])


def _tunnels(case: int, joined_faces: frozenset[int], loops: list[list[int]]) -> list[tuple[int, int] | None]:
    """The loops of each possible tunnel, in the order of the table's columns."""
    region = _regions(case, joined_faces)
    sides = [_sides(case, loop, region) for loop in loops]
    found: list[tuple[int, int] | None] = []
    for kind, is_inside in enumerate((1, 0)):
        for diagonal, others in (SLICE_DIAGONALS, SLICE_DIAGONALS[::-1]):
            ends = [[c for c in (line, line + 4) if case >> c & 1 == is_inside] for line in diagonal]
            apart = any(all(case >> c & 1 == is_inside for c in (line, line + 4)) for line in others)
            if apart or not all(ends) or region[ends[0][0]] == region[ends[1][0]]:
                found.append(None)
                continue
            first, second = ({n for n, side in enumerate(sides) if side[kind] == region[end[0]]} for end in ends)
            # loops and regions form a tree, in which a tunnel joins regions that are two loops apart
            ((low, high),) = ((m, n) for m in first for n in second if sides[m][1 - kind] == sides[n][1 - kind])
            found.append((min(low, high), max(low, high)))
    return found


def _cell_surface(
    loops: list[list[int]], tunnel: tuple[int, int] | None
) -> tuple[list[tuple[int, int, int]], list[list[int]]]:
    """Triangles and the loops around centre vertices; the two loops of a tunnel bound a tube, the others discs."""
    triangles, centers = ([], []) if tunnel is None else triangulate_tunnel(*(loops[n] for n in tunnel))
    for loop in (loop for n, loop in enumerate(loops) if tunnel is None or n not in tunnel):
        found = _triangulate(tuple(loop))
        if found is None:
            center = EDGE_COUNT + len(centers)
            centers.append(loop)
            found = tuple((edge, following, center) for edge, following in pairwise([*loop, loop[0]]))
        triangles.extend(found)
    return triangles, centers


def _padded(rows: Sequence[list], width: int, depth: int) -> np.ndarray:
    table = np.full((len(rows), width, depth), NO_VERTEX, dtype=np.int8)
    for row, entries in enumerate(rows):
        for column, entry in enumerate(entries):
            table[row, column, : len(entry)] = entry
    return table


@cache
def marching_cubes_tables() -> MarchingCubesTables:
    """Derives the tables once a process."""
    ambiguous = [ambiguous_faces(case) for case in range(256)]
    first_variants, surfaces, possible = [], [], []
    for case, faces in enumerate(ambiguous):
        first_variants.append(len(surfaces))
        for choice in range(1 << len(faces)):
            joined = frozenset(face for n, face in enumerate(faces) if choice >> n & 1)
            loops = surface_loops(case, joined)
            surfaces.append(_cell_surface(loops, None))
            possible.append((loops, _tunnels(case, joined, loops)))
    tunnels = [[NO_TUNNEL] * 4 for _ in possible]
    for variant, (loops, pairs) in enumerate(possible):
        for pair in dict.fromkeys(pair for pair in pairs if pair is not None):
            for column in range(4):
                if pairs[column] == pair:
                    tunnels[variant][column] = len(surfaces)
            surfaces.append(_cell_surface(loops, pair))
    triangles, centers = zip(*surfaces, strict=True)
    return MarchingCubesTables(
        ambiguous_faces=_padded([[faces] for faces in ambiguous], 1, 6)[:, 0],
        first_variants=np.array(first_variants, dtype=np.int32),
        triangle_counts=np.array([len(rows) for rows in triangles], dtype=np.int8),
        triangles=_padded(triangles, max(len(rows) for rows in triangles), 3),
        center_counts=np.array([len(rows) for rows in centers], dtype=np.int8),
        center_loops=_padded(centers, max(1, max(len(rows) for rows in centers)), EDGE_COUNT),
        tunnels=np.array(tunnels, dtype=np.int32),
    )
