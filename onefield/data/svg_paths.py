"""The path data of SVG as polygons (SVG 1.1, section 8.3)."""

from __future__ import annotations

import math
import re

import numpy as np
from jaxtyping import Float

from onefield.errors import DataError

# Straight pieces of a curve: a circle of four arcs is off by 1.2e-3 of its radius at most.
CURVE_STEPS = 16
_TOKEN = re.compile(r"([MmLlHhVvCcSsQqTtAaZz])|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|([^\s,])")
# Between two of them; flags of an arc, the fourth and fifth of its numbers, need nothing between.
_BETWEEN = re.compile(r"[\s,]*")
_FLAG = re.compile(r"([MmLlHhVvCcSsQqTtAaZz])|([01])|(.)")
_FLAGS = (3, 4)
_COUNTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7}
# A path that ends this near to its start, as a part of its size, was meant to be closed.
_CLOSED = 1e-3


def finite(number: str, said_by: str) -> float:
    """A number of SVG, which may have more digits than fit.

    Raises:
        DataError: it is beyond measure.
    """
    value = float(number)
    if not math.isfinite(value):
        raise DataError(f"{said_by} has the number {number[:40]}, which is beyond measure; correct it.")
    return value


def path_polygons(data: str, said_by: str) -> list[Float[np.ndarray, "k 2"]]:
    """The closed outlines of path data.

    Args:
        said_by: names the path in messages.

    Raises:
        DataError: an outline that is open, or data that can't be read.
    """
    pen = _Pen(said_by)
    command, numbers, place = "", [], 0
    while (place := _BETWEEN.match(data, place).end()) < len(data):
        flag = command.upper() == "A" and len(numbers) % _COUNTS["A"] in _FLAGS
        found = (_FLAG if flag else _TOKEN).match(data, place)
        place = found.end()
        letter, number, other = found.groups()
        if other:
            raise DataError(f"{said_by} has {other!r} in its path data, which SVG does not know; export it again.")
        if letter:
            pen.draw_all(command, numbers)
            command, numbers = letter, []
        elif not command:
            raise DataError(f"{said_by} begins with a number instead of a command; export it again.")
        else:
            numbers.append(finite(number, said_by))
    pen.draw_all(command, numbers)
    pen.finish()
    return pen.polygons


class _Pen:
    """Follows path commands; where it was lifted a polygon is complete."""

    def __init__(self, said_by: str) -> None:
        self.polygons: list[np.ndarray] = []
        self._said_by = said_by
        self._corners: list[np.ndarray] = []
        self._at = self._start = np.zeros(2)
        self._control: tuple[str, np.ndarray] = ("", self._at)

    def draw_all(self, command: str, numbers: list[float]) -> None:
        """Draws one command with all its repetitions."""
        if not command:
            return
        kind = command.upper()
        if kind == "Z":
            self._close()
            if numbers:
                raise DataError(f"{self._said_by} has numbers behind Z; export it again.")
            return
        count = _COUNTS[kind]
        if not numbers or len(numbers) % count:
            raise DataError(f"{self._said_by} has {len(numbers)} numbers behind {command}; it takes {count} at a time.")
        for first in range(0, len(numbers), count):
            # further pairs behind M are lines
            self._draw("L" if kind == "M" and first else kind, command.islower(), numbers[first : first + count])

    def finish(self) -> None:
        """Ends the last outline, which must have come back to its start."""
        if not self._corners:
            return
        corners = np.array(self._corners)
        size = float(np.abs(corners - corners[0]).max())
        if len(corners) > 1 and np.abs(corners[-1] - corners[0]).max() > _CLOSED * size:
            raise DataError(
                f"{self._said_by} is open: it begins at ({corners[0, 0]:g}, {corners[0, 1]:g}) and ends at "
                f"({corners[-1, 0]:g}, {corners[-1, 1]:g}); close it."
            )
        if len(corners) > 1:
            self.polygons.append(corners[:-1])
        self._corners = []

    def _close(self) -> None:
        if len(self._corners) > 1:
            corners = np.array(self._corners)
            self.polygons.append(corners[:-1] if (corners[0] == corners[-1]).all() else corners)
        self._corners = []
        self._at = self._start
        self._control = ("", self._at)

    def _draw(self, kind: str, relative: bool, numbers: list[float]) -> None:
        base = self._at if relative else np.zeros(2)
        if kind == "M":
            self.finish()
            self._at = self._start = base + numbers
            self._corners = [self._at]
            self._control = ("", self._at)
            return
        if not self._corners:
            # behind Z a new outline begins at the old one's start
            self._corners = [self._at]
        if kind in "HV":
            end = self._at.copy()
            axis = 0 if kind == "H" else 1
            end[axis] = base[axis] + numbers[0]
            pieces, control = [end], ("", end)
        elif kind == "L":
            end = base + numbers
            pieces, control = [end], ("", end)
        elif kind == "A":
            pieces = _arc(self._at, numbers[:2], numbers[2], numbers[3] != 0, numbers[4] != 0, base + numbers[5:])
            control = ("", pieces[-1])
        else:
            pieces, control = self._bezier(kind, [base + numbers[i : i + 2] for i in range(0, len(numbers), 2)])
        self._corners.extend(pieces)
        self._at, self._control = pieces[-1], control

    def _bezier(self, kind: str, points: list[np.ndarray]) -> tuple[list[np.ndarray], tuple[str, np.ndarray]]:
        family = "C" if kind in "CS" else "Q"
        if kind in "ST":
            # the last control point mirrored, where the last command was of the same family
            mirrored = 2 * self._at - self._control[1] if self._control[0] == family else self._at
            points = [mirrored, *points]
        points = [self._at, *points]
        degree = len(points) - 1
        share = np.arange(1, CURVE_STEPS + 1)[:, None] / CURVE_STEPS
        curve = sum(
            math.comb(degree, i) * share**i * (1 - share) ** (degree - i) * point for i, point in enumerate(points)
        )
        return [*curve[:-1], points[-1]], (family, points[-2])


def _arc(
    start: np.ndarray, radii: list[float], rotation: float, large: bool, sweep: bool, end: np.ndarray
) -> list[np.ndarray]:
    """Points of an elliptical arc from its end points (SVG 1.1, appendix F.6.5)."""
    rx, ry = abs(radii[0]), abs(radii[1])
    if rx == 0 or ry == 0 or (start == end).all():
        return [end]
    turn = math.radians(rotation)
    frame = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    half = frame @ (start - end) / 2
    # radii too small for the distance grow until they reach
    growth = max(1.0, math.hypot(float(half[0]) / rx, float(half[1]) / ry))
    rx, ry = rx * growth, ry * growth
    unit = half / (rx, ry)
    length = float(unit @ unit)
    if not length > 0:  # of radii, or between ends, that have no measure
        return [end]
    squared = max(0.0, 1 / length - 1)
    center = math.sqrt(squared) * np.array([unit[1], -unit[0]]) * (-1 if large == sweep else 1)
    first, last = (math.atan2(point[1], point[0]) for point in (unit - center, -unit - center))
    sweep_angle = (last - first) % (2 * math.pi) if sweep else -((first - last) % (2 * math.pi))
    angles = first + sweep_angle * np.arange(1, CURVE_STEPS + 1) / CURVE_STEPS
    local = (np.stack([np.cos(angles), np.sin(angles)], axis=1) + center) * (rx, ry)
    points = local @ frame + (start + end) / 2
    return [*points[:-1], end]
