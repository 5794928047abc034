"""Slices of one solid: planes of any pose with closed contours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onefield.data.contours import Slice
from onefield.data.slice_checks import check_planes, check_slice
from onefield.errors import DataError
from onefield.types import Bounds

# Room around the contours, as a part of their longest side.
_MARGIN = 0.1
# Points along each side of the box at which planes are measured.
_GAP_SAMPLES = 24
# Cosine between the normals of planes that count as neighbours in a stack.
_PARALLEL = 0.999


@dataclass(frozen=True)
class Slices:
    """Checked slices of one solid, in the files' own frame and unit.

    Attributes:
        slices: two or more, on planes that differ.
        bounds: the box of all contours, widened by `reach`, but by a tenth of its longest side at most.
        reach: half the median distance between neighbouring parallel planes, in the slices' unit: how far beyond its
            last plane a solid may go on; a twentieth of the longest side where no planes are parallel.
        note: how the contours were made, where they were not given; for people.
    """

    slices: tuple[Slice, ...]
    bounds: Bounds
    reach: float
    note: str = ""
    kind: str = "slices"

    @staticmethod
    def of(slices: Sequence[Slice], note: str = "") -> Slices:
        """Checks slices and finds the box around them.

        Raises:
            DataError: fewer than two planes, no contour, a plane given twice, contours with fewer than three corners,
                without area, not finite or crossing each other, or planes that contradict each other where they meet.
        """
        if len(slices) < 2:
            given = f"only {slices[0].name}" if slices else "none"
            raise DataError(f"A solid needs at least 2 slices, got {given}; give more planes through it.")
        for each in slices:
            check_slice(each)
        contours = [each.to_world(corners) for each in slices for corners in each.contours]
        if not contours:
            raise DataError(f"No slice has a contour ({slices[0].name} and the others), so there is no solid.")
        corners = np.concatenate(contours)
        low, high = corners.min(axis=0), corners.max(axis=0)
        check_planes(slices, float(np.linalg.norm(high - low)))
        longest = float((high - low).max())
        reach = _half_gap(slices) or longest / 20
        room = min(reach, _MARGIN * longest)
        box = Bounds(tuple((low - room).tolist()), tuple((high + room).tolist()))
        return Slices(tuple(slices), box, reach, note)

    @property
    def description(self) -> str:
        """What it is, for people."""
        contours = [len(each.contours) for each in self.slices]
        empty = f", {contours.count(0)} of them empty" if 0 in contours else ""
        return f"{len(contours)} slices{empty}, {sum(contours)} contours" + (f"; {self.note}" if self.note else "")

    @property
    def domain(self) -> Bounds:
        """The cube about all contours, with a tenth of their longest side to spare all round."""
        center, half = np.array(self.bounds.center), max(self.bounds.extent) / 2 + _MARGIN * max(self.bounds.extent)
        return Bounds(tuple((center - half).tolist()), tuple((center + half).tolist()))

    @property
    def scale(self) -> float:
        """Side of the domain, in the slices' unit."""
        return self.domain.extent[0]

    @property
    def gap(self) -> float:
        """Typical way from plane to plane, in the slices' unit: four times the mean distance of the box's points from
        the nearest plane, which is the spacing of a stack."""
        unit = (np.arange(_GAP_SAMPLES) + 0.5) / _GAP_SAMPLES
        places = np.stack(np.meshgrid(unit, unit, unit, indexing="ij"), axis=-1).reshape(-1, 3)
        points = np.array(self.bounds.minimum) + places * self.bounds.extent
        nearest = np.min([np.abs((points - each.origin) @ each.normal) for each in self.slices], axis=0)
        return float(4 * nearest.mean())


def _half_gap(slices: Sequence[Slice]) -> float:
    gaps = []
    for each in slices:
        others = [o for o in slices if o is not each and abs(float(o.normal @ each.normal)) > _PARALLEL]
        if others:
            gaps.append(min(abs(float(each.normal @ (o.origin - each.origin))) for o in others))
    return float(np.median(gaps)) / 2 if gaps else 0.0
