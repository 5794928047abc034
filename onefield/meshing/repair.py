"""Repairs of topology: surfaces that meet themselves are parted, holes up to a size are closed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onefield.errors import UsageError
from onefield.meshing.cleanup import select_faces
from onefield.meshing.report import corner_fans, edges_of
from onefield.types import Mesh

# Sheets that are parted move apart by this share of the edges around: enough to be told from one another after
# rounding, too little to be seen.
PARTED = 0.01
# Outlines of more edges are closed about a middle vertex: the best triangles take time with the cube of their number.
_MOST_EDGES = 64


@dataclass
class _Growing:
    """Vertices that a repair adds, as shares of old ones and an offset, so that their attributes follow."""

    count: int
    owners: list[np.ndarray]
    offsets: list[np.ndarray]

    def add(self, owners: np.ndarray, offset: np.ndarray) -> int:
        """The number of a new vertex in the mean of old ones, moved by an offset."""
        self.owners.append(owners)
        self.offsets.append(offset)
        return self.count + len(self.owners) - 1

    def applied(self, mesh: Mesh, faces: np.ndarray) -> Mesh:
        """The mesh with the new vertices and other faces; normals are dropped."""

        def grown(values: Tensor, moved: bool) -> Tensor:
            new = [values[torch.from_numpy(owners)].mean(0) for owners in self.owners]
            if moved:
                new = [row + torch.from_numpy(offset).to(row) for row, offset in zip(new, self.offsets, strict=True)]
            return torch.cat([values, torch.stack(new)]) if new else values

        vertices = grown(mesh.vertices.cpu(), True)
        colors = None if mesh.colors is None else grown(mesh.colors.cpu(), False)
        whole = Mesh(vertices, torch.from_numpy(faces.astype(np.int64)), colors=colors)
        return select_faces(whole, torch.ones(len(faces), dtype=torch.bool))


def part_sheets(mesh: Mesh) -> Mesh:
    """A manifold surface in the place of one that touches itself, as simplified meshes often do.

    Faces that cover one another with opposite sides out cancel. Around an edge with more than two faces, each two that
    enclose something solid stay together, and the others get a middle vertex of their own there; a vertex with several
    fans of faces becomes several. Parted vertices move apart by a hundredth of the edges around. What was closed stays
    closed.

    Args:
        mesh: any mesh whose neighbouring faces agree on the outside; edges at which they don't are opened.

    Returns:
        Each edge has one or two faces, which run through it in opposite directions, and each vertex one fan; normals
        are dropped where anything changed.
    """
    cancelled = _without_covered_faces(mesh)
    faces = cancelled.faces.cpu().numpy().reshape(-1, 3)
    if not len(faces):
        return cancelled
    growing = _Growing(len(cancelled.vertices), [], [])
    divided = _divided_edges(cancelled, faces, growing)
    opened = cancelled if divided is faces else growing.applied(cancelled, divided)
    return _divided_vertices(opened)


def _without_covered_faces(mesh: Mesh) -> Mesh:
    faces = mesh.faces.cpu().numpy().reshape(-1, 3)
    distinct = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    order = np.argsort(faces, axis=1)
    # even permutations of the ascending order run one way round, odd ones the other
    turn = np.where(_even(order), 1, -1)
    _, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    excess = np.bincount(group, weights=turn * distinct)
    wanted = distinct & (np.sign(excess)[group] == turn)
    first = np.full(len(excess), len(faces))
    np.minimum.at(first, group[wanted], np.flatnonzero(wanted))
    kept = wanted & (first[group] == np.arange(len(faces)))
    return mesh if kept.all() else select_faces(mesh, torch.from_numpy(kept))


def _even(order: np.ndarray) -> np.ndarray:
    """Which rows of permutations of 0, 1, 2 are even."""
    inversions = (order[:, 0] > order[:, 1]).astype(int) + (order[:, 0] > order[:, 2]) + (order[:, 1] > order[:, 2])
    return inversions % 2 == 0


def _divided_edges(mesh: Mesh, faces: np.ndarray, growing: _Growing) -> np.ndarray:
    """Faces among which none of the edges has more than two, or two in one direction."""
    directed, _, edge_of, uses, forward = edges_of(faces, len(mesh.vertices))
    wrong = (uses > 2) | (forward > 1) | (uses - forward > 1)
    if not wrong.any():
        return faces
    positions = mesh.vertices.detach().double().cpu().numpy()
    halves = np.flatnonzero(wrong[edge_of])
    halves = halves[np.argsort(edge_of[halves], kind="stable")]
    groups = np.split(halves, np.flatnonzero(np.diff(edge_of[halves])) + 1)
    middles: dict[int, dict[int, int]] = {}  # face, its corner before the edge, the vertex in the middle of the edge
    for group in groups:
        for sheet in _sheets(positions, faces, directed, group)[1:]:
            a, b = directed[sheet[0]]
            opposite = positions[faces[sheet // 3, (sheet % 3 + 2) % 3]]
            offset = _inward(positions, faces[sheet // 3])
            if not offset.any():
                offset = PARTED * (opposite.mean(axis=0) - (positions[a] + positions[b]) / 2)
            middle = growing.add(np.array([a, b]), offset)
            for half in sheet.tolist():
                middles.setdefault(half // 3, {})[half % 3] = middle
    kept = np.ones(len(faces), dtype=bool)
    kept[list(middles)] = False
    new = [row for face, at in middles.items() for row in _divided_face(faces[face], at, growing)]
    return np.concatenate([faces[kept], np.array(new, dtype=faces.dtype).reshape(-1, 3)])


def _sheets(positions: np.ndarray, faces: np.ndarray, directed: np.ndarray, halves: np.ndarray) -> list[np.ndarray]:
    """Half edges of one edge, each two that enclose something solid together, the others alone."""
    a, b = np.sort(directed[halves[0]])
    axis = positions[b] - positions[a]
    arms = positions[faces[halves // 3, (halves % 3 + 2) % 3]] - positions[a]
    across = np.cross(axis, arms[0])
    angles = np.arctan2(arms @ across * np.linalg.norm(axis), arms @ np.cross(across, axis))
    # counter-clockwise about the axis, what is solid lies behind a face that runs along it, before one that runs back
    turn = halves[np.lexsort((directed[halves, 0] == a, angles))]
    waiting: list[int] = []
    sheets: list[np.ndarray] = []
    done: set[int] = set()
    for half in np.concatenate([turn, turn]).tolist():
        if half in done:
            continue
        if directed[half, 0] == a and waiting:
            partner = waiting.pop()
            sheets.append(np.array([partner, half]))
            done |= {partner, half}
        elif directed[half, 0] != a and half not in waiting:
            waiting.append(half)
    return sheets + [np.array([half]) for half in turn.tolist() if half not in done]


def _divided_face(face: np.ndarray, middles: dict[int, int], growing: _Growing) -> list[tuple[int, int, int]]:
    """Triangles of a face some of whose edges got a vertex; `middles` by the corner before the edge."""
    ring = [int(vertex) for n in range(3) for vertex in ([face[n]] + ([middles[n]] if n in middles else []))]
    if len(ring) == 4:
        (corner,) = middles
        center, ring = int(face[(corner + 2) % 3]), [int(face[corner]), middles[corner], int(face[(corner + 1) % 3])]
        return [(center, ring[0], ring[1]), (center, ring[1], ring[2])]
    center = growing.add(face.copy(), np.zeros(3))
    return [(center, ring[n], ring[(n + 1) % len(ring)]) for n in range(len(ring))]


def _inward(positions: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A step against the mean normal of faces, a small share of the length of their edges; zeros where it has none."""
    a, b, c = (positions[faces[:, n]] for n in range(3))
    normal = np.cross(b - a, c - a).sum(axis=0)
    length = np.linalg.norm(normal)
    edge = np.linalg.norm(np.concatenate([b - a, c - b, a - c]), axis=1).mean()
    return -PARTED * edge * normal / length if length > 0 else np.zeros(3)


def _divided_vertices(mesh: Mesh) -> Mesh:
    """Gives each fan of faces around a vertex, but for the largest, a vertex of its own."""
    faces = mesh.faces.cpu().numpy().reshape(-1, 3).copy()
    directed, _, edge_of, _, _ = edges_of(faces, len(mesh.vertices))
    fans = corner_fans(directed, edge_of, faces)
    corners = faces.reshape(-1)
    order = np.argsort(fans, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(fans[order]) > 0])
    owners, sizes = corners[order[starts]], np.diff(np.r_[starts, len(order)])
    # the largest fan of a vertex first
    ranked = np.lexsort((-sizes, owners))
    extra = ranked[1:][owners[ranked][1:] == owners[ranked][:-1]]
    if not len(extra):
        return mesh
    positions = mesh.vertices.detach().double().cpu().numpy()
    growing = _Growing(len(mesh.vertices), [], [])
    changed = faces.reshape(-1).copy()
    for fan in extra.tolist():
        members = order[starts[fan] : starts[fan] + sizes[fan]]
        around = faces[members // 3]
        offset = _inward(positions, around)
        if not offset.any():
            offset = PARTED * (positions[around].mean(axis=(0, 1)) - positions[owners[fan]])
        changed[members] = growing.add(owners[fan : fan + 1], offset)
    return growing.applied(mesh, changed.reshape(-1, 3))


def close_holes(mesh: Mesh, largest: float) -> Mesh:
    """Closes holes that are small compared with the mesh.

    Outlines of a few edges get the triangles of least area (Barequet and Sharir 1995), longer ones a vertex in their
    middle. The outline of an open surface is a hole as large as the surface, and stays.

    Args:
        mesh: each vertex has one fan of faces, as `part_sheets` leaves it.
        largest: diagonal of a hole's box in diagonals of the mesh's box, in [0, 1].

    Returns:
        The same mesh where there is nothing to close; else normals are dropped.

    Raises:
        UsageError: the size lies outside [0, 1].
    """
    if not 0 <= largest <= 1:
        raise UsageError(f"The largest hole to close is a share of the mesh in [0, 1], got {largest}.")
    faces = mesh.faces.cpu().numpy().reshape(-1, 3)
    if not largest or not len(faces):
        return mesh
    positions = mesh.vertices.detach().double().cpu().numpy()
    limit = largest * np.linalg.norm(np.ptp(positions[np.unique(faces)], axis=0))
    directed, keys, edge_of, uses, _ = edges_of(faces, len(positions))
    growing = _Growing(len(positions), [], [])
    new: list[tuple[int, int, int]] = []
    for outline in _outlines(directed[uses[edge_of] == 1]):
        if len(outline) < 3 or np.linalg.norm(np.ptp(positions[outline], axis=0)) > limit:
            continue
        triangles = _least_area(positions[outline], _present(outline, keys, len(positions)))
        if triangles is None:
            center = growing.add(outline, np.zeros(3))
            following = np.roll(outline, -1)
            new += [(center, int(a), int(b)) for a, b in zip(outline, following, strict=True)]
        else:
            new += [tuple(outline[list(triangle)].tolist()) for triangle in triangles]
    if not new:
        return mesh
    return growing.applied(mesh, np.concatenate([faces, np.array(new, dtype=faces.dtype)]))


def _outlines(border: np.ndarray) -> list[np.ndarray]:
    """Closed rings of vertices, in the direction of the faces that would fill them."""
    following = {int(b): int(a) for a, b in border.tolist()}
    rings = []
    while following:
        first, vertex = following.popitem()
        ring = [first]
        while vertex != first and vertex in following:
            ring.append(vertex)
            vertex = following.pop(vertex)
        if vertex == first:
            rings.append(np.array(ring))
    return rings


def _present(outline: np.ndarray, keys: np.ndarray, count: int) -> np.ndarray:
    """Which two vertices of an outline an edge of the mesh joins already."""
    low, high = np.minimum(outline[:, None], outline), np.maximum(outline[:, None], outline)
    wanted = low * max(count, 1) + high
    found = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return keys[found] == wanted


def _least_area(ring: np.ndarray, present: np.ndarray) -> list[tuple[int, int, int]] | None:
    """Triangles of least area over a ring of positions without edges that are there already; None where none are."""
    count = len(ring)
    if count > _MOST_EDGES:
        return None
    cost = np.full((count, count), np.inf)
    cost[np.arange(count - 1), np.arange(1, count)] = 0
    choice = np.zeros((count, count), dtype=int)
    for width in range(2, count):
        for i in range(count - width):
            j = i + width
            if present[i, j] and width < count - 1:
                continue
            between = np.arange(i + 1, j)
            areas = np.linalg.norm(np.cross(ring[between] - ring[i], ring[j] - ring[i]), axis=1)
            totals = cost[i, between] + cost[between, j] + areas
            choice[i, j] = between[totals.argmin()]
            cost[i, j] = totals.min()
    if not np.isfinite(cost[0, -1]):
        return None
    triangles, waiting = [], [(0, count - 1)]
    while waiting:
        i, j = waiting.pop()
        if j - i > 1:
            k = int(choice[i, j])
            triangles.append((i, k, j))
            waiting += [(i, k), (k, j)]
    return triangles
