"""Handles that noise leaves on a level set: bridges over narrow gaps and holes through thin walls.

What lies deeper than a depth is grown back towards the surface, deepest first, by simple points alone (Bertrand and
Malandain 1994), which change no topology. What can't come back so would have joined something; where it would have made
a handle, it is left out. Done to the inside this cuts bridges, and done to the outside it closes holes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

# Depths between which all that can be grown is, before what is less deep.
_LEVELS = 8


@dataclass(frozen=True)
class _Neighbours:
    """The 26 corners about a corner, and which of them touch one another: the inside across corners and edges.

    The outside touches by faces alone, and not by way of the eight that share no face or edge with the corner.
    """

    offsets: Int[np.ndarray, "26 3"]
    by_edge: Bool[np.ndarray, "26"]
    by_face: Bool[np.ndarray, "26"]
    touching: Float[np.ndarray, "26 26"]
    facing: Float[np.ndarray, "26 26"]

    @staticmethod
    def listed() -> _Neighbours:
        offsets = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        offsets = offsets[offsets.any(1)]
        apart = np.abs(offsets[:, None] - offsets)
        by_edge, by_face = (np.abs(offsets).sum(1) <= most for most in (2, 1))
        facing = (apart.sum(2) <= 1) & by_edge & by_edge[:, None]
        return _Neighbours(offsets, by_edge, by_face, (apart.max(2) <= 1).astype(np.float32), facing.astype(np.float32))


def without_small_handles(distances: Float[np.ndarray, "X Y Z"], depth: float) -> Float[np.ndarray, "X Y Z"]:
    """Distances with other signs where handles of the inside or the outside are nowhere deeper than a depth.

    Pieces are neither joined nor parted, and cavities stay.

    Args:
        distances: at the corners of a grid, negative inside, positive at its border.
        depth: at least 0, in the distances' unit.
    """
    changed = distances.copy()
    for side in (1, -1):
        handles = _handles(side * changed, depth)
        changed[handles] = -changed[handles]
    return changed


def _handles(values: np.ndarray, depth: float) -> Bool[np.ndarray, "X Y Z"]:
    """Where negative values make handles of what is less than minus the depth."""
    solid = np.pad(values < -depth, 1)
    values = np.pad(values, 1, constant_values=np.inf)
    shallow = (values < 0) & ~solid
    _grow(solid, values, np.argwhere(shallow), depth)
    left = shallow & ~solid
    pieces, _ = ndimage.label(solid, np.ones((3, 3, 3)))
    rests, _ = ndimage.label(left, np.ones((3, 3, 3)))
    same = np.arange(pieces.max() + 1)
    for number, box in enumerate(ndimage.find_objects(rests), start=1):
        # a corner more all round, which padding leaves room for
        around = tuple(slice(part.start - 1, part.stop + 1) for part in box)
        rest, before = rests[around] == number, solid[around]
        near = pieces[around][ndimage.binary_dilation(rest, np.ones((3, 3, 3))) & (pieces[around] > 0)]
        joined = np.unique(same[near])
        after = before | rest
        loops = _euler_number(before) - _euler_number(after) - (max(len(joined), 1) - 1)
        if loops <= 0:
            solid[around] = after
            same[np.isin(same, joined)] = joined[0] if len(joined) else 0
    return (shallow & ~solid)[1:-1, 1:-1, 1:-1]


def _grow(solid: np.ndarray, values: np.ndarray, places: Int[np.ndarray, "n 3"], depth: float) -> None:
    """Adds to the solid, in place, what changes no topology, deepest first."""
    near = _Neighbours.listed()
    order = values[tuple(places.T)]
    for level in np.linspace(-depth, 0, _LEVELS + 1)[1:]:
        waiting = places[(order < level) & ~solid[tuple(places.T)]]
        # corners of one kind don't touch, so that all of a kind can be added at once
        kinds = [waiting[(waiting % 2 @ (4, 2, 1)) == kind] for kind in range(8)]
        while True:
            added = 0
            for number, kind in enumerate(kinds):
                around = solid[tuple((kind[:, None] + near.offsets).transpose(2, 0, 1))]
                fits = _simple(around, near)
                solid[tuple(kind[fits].T)] = True
                kinds[number] = kind[~fits]
                added += int(fits.sum())
            if not added:
                break


def _simple(around: Bool[np.ndarray, "n 26"], near: _Neighbours) -> Bool[np.ndarray, "n"]:
    """Whether a corner with such neighbours can join the inside without a change of topology."""
    outside = ~around & near.by_edge
    open_faces = ~around & near.by_face
    return _one_piece(around, around, near.touching) & _one_piece(outside, open_faces, near.facing)


def _one_piece(members: np.ndarray, wanted: np.ndarray, touching: np.ndarray) -> np.ndarray:
    """Whether the wanted, of which there is one at least, hang together by members."""
    reached = np.zeros_like(members)
    reached[np.arange(len(wanted)), wanted.argmax(1)] = True
    reached &= wanted
    while True:
        grown = members & (reached.astype(np.float32) @ touching > 0)
        if (grown == reached).all():
            return wanted.any(1) & ~(wanted & ~reached).any(1)
        reached = grown


def _euler_number(solid: Bool[np.ndarray, "x y z"]) -> int:
    """Of the union of closed cubes."""
    total = 0
    cubes = np.pad(solid, 1)
    for axes in np.ndindex(2, 2, 2):
        # an edge, face or vertex is there if one of the cubes about it is
        present = cubes
        for axis, across in enumerate(axes):
            if across:
                low = [slice(None)] * 3
                high = [slice(None)] * 3
                low[axis], high[axis] = slice(None, -1), slice(1, None)
                present = present[tuple(low)] | present[tuple(high)]
        total += (-1) ** (3 - sum(axes)) * int(present.sum())
    return total
