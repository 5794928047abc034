"""Line charts as inline SVG: hue, dashes and a legend tell lines apart, and no script is needed to see them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onefield.reports.page import Markup, markup, paragraph

WIDTH, HEIGHT = 620, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 26, 10, 42
# One point a pixel is all that can be seen.
MOST_POINTS = WIDTH
_TICKS = 6
# Lines of more runs than hues are told apart by their dashes.
_HUES = 6
_DASHES = ("", "7 4", "2 3", "10 3 2 3")
# Lines of so few points have each of them marked: a circle, square, diamond or triangle of this half width.
_MOST_MARKS = 12
_MARK = 4.0
_CORNERS = (
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    ((0, -1.2), (1.2, 0.9), (-1.2, 0.9)),
)


@dataclass(frozen=True)
class Line:
    """A named line through points (x, y), ascending in x; values that are None or not finite are left out."""

    name: str
    points: Sequence[tuple[float | None, float | None]]


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Place of a value, 0 at the low end and 1 at the high one."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def line_chart(
    title: str,
    x_name: str,
    y_name: str,
    lines: Sequence[Line],
    *,
    logarithmic: bool = False,
    logarithmic_x: bool = False,
    legend: bool = False,
) -> Markup:
    """A figure with one line each; a sentence where no line has a point.

    Args:
        title: also what is read aloud for the picture.
        x_name, y_name: names of the axes with their units.
        logarithmic: the y axis; values that are not positive are left out.
        logarithmic_x: the x axis, likewise.
        legend: names the lines below the chart.
    """
    kept = [Line(line.name, _thinned(_finite(line.points, logarithmic, logarithmic_x))) for line in lines]
    points = [point for line in kept for point in line.points]
    if not points:
        return paragraph(f"{title}: nothing was measured.")
    x_axis = _axis([x for x, _ in points], logarithmic_x)
    y_axis = _axis([y for _, y in points], logarithmic)
    drawn = "\n".join(_drawn(number, line, x_axis, y_axis) for number, line in enumerate(kept) if line.points)
    caption = f"{markup(title)}{_legend(kept) if legend else ''}"
    return Markup(
        f'<figure class="chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{markup(title)}">\n'
        f"{_frame(x_axis, y_axis, x_name, y_name)}\n{drawn}\n</svg><figcaption>{caption}</figcaption></figure>"
    )


def _axis(values: list[float], logarithmic: bool) -> _Axis:
    return _logarithmic_axis(values) if logarithmic else _linear_axis(values)


def _finite(
    points: Sequence[tuple[float | None, float | None]], positive: bool, positive_x: bool
) -> list[tuple[float, float]]:
    kept = []
    for x, y in points:
        if x is None or y is None or (positive and y <= 0) or (positive_x and x <= 0):
            continue
        if math.isfinite(x) and math.isfinite(y):
            kept.append((float(x), float(y)))
    return kept


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= MOST_POINTS:
        return points
    last = len(points) - 1
    return [points[round(number * last / (MOST_POINTS - 1))] for number in range(MOST_POINTS)]


def _linear_axis(values: list[float]) -> _Axis:
    low, high = min(values), max(values)
    if high == low:
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    step = _round_step((high - low) / _TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    return _Axis(first * step, last * step, tuple(number * step for number in range(first, last + 1)))


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))  # rounding


def _logarithmic_axis(values: list[float]) -> _Axis:
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    last = max(last, first + 1)
    stride = math.ceil((last - first) / _TICKS)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last, stride) for factor in factors]
    return _Axis(10.0**first, 10.0**last, (*ticks, 10.0**last), logarithmic=True)


def _place(x_axis: _Axis, y_axis: _Axis, x: float, y: float) -> tuple[float, float]:
    across, up = x_axis.share(x), y_axis.share(y)
    return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)


def _drawn(number: int, line: Line, x_axis: _Axis, y_axis: _Axis) -> str:
    places = [_place(x_axis, y_axis, x, y) for x, y in line.points]
    name = f"<title>{markup(line.name)}</title>"
    marks = "".join(_mark(number, x, y, name) for x, y in places) if len(places) <= _MOST_MARKS else ""
    if len(places) == 1:
        return marks
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline {_style(number)} points="{path}">{name}</polyline>{marks}'


def _style(number: int) -> str:
    return f'class="line s{number % _HUES}" stroke-dasharray="{_DASHES[_variety(number)]}"'


def _variety(number: int) -> int:
    """Of dashes and marks: neighbours differ, and so do lines of one hue."""
    return (number % _HUES + number // _HUES) % len(_DASHES)


def _mark(number: int, x: float, y: float, name: str) -> str:
    style, shape = f'class="line mark s{number % _HUES}"', _variety(number)
    if shape == 0:
        return f'<circle {style} cx="{x:.1f}" cy="{y:.1f}" r="{_MARK:g}">{name}</circle>'
    corners = " ".join(f"{x + _MARK * across:.1f},{y + _MARK * down:.1f}" for across, down in _CORNERS[shape - 1])
    return f'<polygon {style} points="{corners}">{name}</polygon>'


def _sample(number: int, points: int) -> str:
    """A piece of a line as it is drawn, for the legend."""
    stroke = "" if points == 1 else f'<line {_style(number)} x1="0" y1="6" x2="34" y2="6"/>'
    return stroke + (_mark(number, 17, 6, "") if points <= _MOST_MARKS else "")


def _frame(x_axis: _Axis, y_axis: _Axis, x_name: str, y_name: str) -> str:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for tick in y_axis.ticks:
        _, y = _place(x_axis, y_axis, x_axis.low, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.6g}</text>')
    for tick in x_axis.ticks:
        x, _ = _place(x_axis, y_axis, tick, y_axis.low)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{tick:.6g}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>')
    middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(f'<text x="{middle_x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{markup(x_name)}</text>')
    parts.append(
        f'<text x="14" y="{middle_y:.1f}" text-anchor="middle" transform="rotate(-90 14 {middle_y:.1f})">'
        f"{markup(y_name)}</text>"
    )
    return "\n".join(parts)


def _legend(lines: Sequence[Line]) -> str:
    entries = "".join(
        f'<span><svg viewBox="0 0 34 12" aria-hidden="true">{_sample(number, len(line.points))}</svg>'
        f"{markup(line.name)}</span>"
        for number, line in enumerate(lines)
        if line.points
    )
    return f'<span class="legend">{entries}</span>'
