"""What slices must not be: crossing, flat, given twice, or at odds with each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float

from onefield.data.contours import Slice, distance_to_edges
from onefield.errors import DataError

# Planes whose normals' cosine is closer to 1, and that are nearer than this part of the slices' diagonal, are one.
_SAME = 1e-6
# Products of lengths below this part of the slice's squared diagonal are rounding.
_ROUNDING = 1e-12
# Where planes meet, contours drawn by hand disagree a little; more than this part of the diagonal is a contradiction.
CONTRADICTION = 0.05


def check_slice(cut: Slice) -> None:
    """Checks one plane's contours.

    Raises:
        DataError: not finite, fewer than three corners, no area, the same contour twice, or contours that cross.
    """
    known: set[bytes] = set()
    for number, corners in enumerate(cut.contours, start=1):
        said_by = f"{cut.name}, contour {number}"
        if not np.isfinite(corners).all():
            raise DataError(f"{said_by} holds a number that is not finite; correct it or leave the contour out.")
        distinct = np.unique(corners, axis=0)
        if len(distinct) < 3:
            raise DataError(f"{said_by} has {len(distinct)} different corners; a closed contour needs at least 3.")
        if not _rank(corners) > 1:
            raise DataError(f"{said_by} runs along a line and encloses nothing; correct it or leave it out.")
        if distinct.tobytes() in known:
            raise DataError(f"{said_by} is there twice, which would make its inside outside; keep one.")
        known.add(distinct.tobytes())
    crossing = first_crossing(cut)
    if crossing is not None:
        first, second, place = crossing
        which = f"contour {first} crosses itself" if first == second else f"contours {first} and {second} cross"
        where = ", ".join(f"{value:.6g}" for value in cut.to_world(place))
        raise DataError(
            f"{cut.name}: {which} near ({where}), so inside and outside are not told apart there; redraw them there."
        )


def _rank(corners: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(corners - corners.mean(axis=0)))


def first_crossing(cut: Slice) -> tuple[int, int, Float[np.ndarray, "2"]] | None:
    """The numbers of two contours that cross (or of one that crosses itself), from 1, and where; None without."""
    edges = cut.edges
    if not len(edges):
        return None
    owner = np.repeat(np.arange(len(cut.contours)), [len(corners) for corners in cut.contours])
    order = np.argsort(edges[..., 0].min(axis=1), kind="stable")
    edges, owner = edges[order], owner[order]
    low, high = edges.min(axis=1), edges.max(axis=1)
    size = ((high.max(axis=0) - low.min(axis=0)) ** 2).sum()
    ends = np.searchsorted(low[:, 0], high[:, 0], side="right")
    for first in range(len(edges)):
        others = np.arange(first + 1, ends[first])
        others = others[(low[others, 1] <= high[first, 1]) & (high[others, 1] >= low[first, 1])]
        crossed = others[_cross(edges[first], edges[others], _ROUNDING * size)]
        if len(crossed):
            pair = sorted((int(owner[first]) + 1, int(owner[crossed[0]]) + 1))
            return pair[0], pair[1], edges[first].mean(axis=0)
    return None


def _cross(edge: np.ndarray, others: np.ndarray, rounding: float) -> np.ndarray:
    """Which of the other edges have an inner point in common with this edge's inside; touching is no crossing."""

    def side(edges: np.ndarray, point: np.ndarray) -> np.ndarray:
        along, towards = edges[..., 1, :] - edges[..., 0, :], point - edges[..., 0, :]
        turn = along[..., 0] * towards[..., 1] - along[..., 1] * towards[..., 0]
        return np.where(np.abs(turn) > rounding, np.sign(turn), 0)

    apart = side(edge, others[:, 0]) * side(edge, others[:, 1]) < 0
    return apart & (side(others, edge[0]) * side(others, edge[1]) < 0)


def check_planes(slices: Sequence[Slice], diagonal: float) -> None:
    """Checks what planes say together.

    Args:
        slices: each of them checked.
        diagonal: of the box about all contours.

    Raises:
        DataError: a plane is there twice, or two planes call the same part of the line where they meet inside and
            outside.
    """
    for one, other in combinations(slices, 2):
        cosine = abs(float(one.normal @ other.normal))
        if cosine > 1 - _SAME and abs(float(one.normal @ (other.origin - one.origin))) < _SAME * diagonal:
            raise DataError(f"{one.name} and {other.name} lie on the same plane; keep one of them.")
        if cosine <= 1 - _SAME and (one.contours or other.contours):
            _check_meeting(one, other, CONTRADICTION * diagonal)


def _check_meeting(one: Slice, other: Slice, allowed: float) -> None:
    direction = np.cross(one.normal, other.normal)
    direction /= np.linalg.norm(direction)
    planes = np.stack([one.normal, other.normal, direction])
    heights = (one.normal @ one.origin, other.normal @ other.origin, direction @ (one.origin + other.origin) / 2)
    start = np.linalg.solve(planes, np.array(heights))
    marks = np.sort(np.concatenate([_crossings(each, start, direction) for each in (one, other)]))
    if len(marks) < 2:
        return
    middles = start + ((marks[:-1] + marks[1:]) / 2)[:, None] * direction
    differ = one.contains(one.to_plane(middles)) != other.contains(other.to_plane(middles))
    if not differ.any():
        return
    suspects = middles[differ]
    depth = np.minimum(*(distance_to_edges(each.to_plane(suspects), each.edges) for each in (one, other)))
    worst = int(depth.argmax())
    if depth[worst] > allowed:
        inside, outside = (one, other) if one.contains(one.to_plane(suspects[worst : worst + 1]))[0] else (other, one)
        where = ", ".join(f"{value:.6g}" for value in suspects[worst])
        raise DataError(
            f"{inside.name} and {outside.name} contradict each other where their planes meet: near ({where}) the first "
            f"says inside, the second outside, by {depth[worst]:.4g}; correct one or leave it out."
        )


def _crossings(cut: Slice, start: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Where a line in the plane crosses the contours, as lengths from its start."""
    first, along = cut.to_plane(start), direction @ cut.axes.T
    across = np.array([-along[1], along[0]])
    edges = cut.edges - first
    side = edges @ across
    crossed = (side[:, 0] > 0) != (side[:, 1] > 0)
    share = side[crossed, 0] / (side[crossed, 0] - side[crossed, 1])
    ends = edges[crossed] @ along
    return ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
