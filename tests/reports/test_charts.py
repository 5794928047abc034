"""Charts: points where their values are, and only values that can be drawn."""

import math
import re

import pytest

from onefield.reports.charts import HEIGHT, MOST_POINTS, WIDTH, Line, line_chart


def polylines(chart):
    found = re.findall(r'<polyline [^>]*points="([^"]*)"', chart)
    return [[tuple(map(float, pair.split(","))) for pair in points.split()] for points in found]


def test_points_lie_on_their_ticks():
    chart = line_chart("T", "x", "y", [Line("a", [(0, 0), (50, 5), (100, 10)])])
    (places,) = polylines(chart)
    ticks = {
        float(text): (float(x), float(y))
        for x, y, text in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*>([\d.]+)<', chart)
    }
    assert places[2][0] == pytest.approx(ticks[100.0][0], abs=0.11)
    assert places[0][1] - places[2][1] == pytest.approx(2 * (places[0][1] - places[1][1]), abs=0.2)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in places)


def test_a_decade_is_as_high_as_the_next():
    (places,) = polylines(line_chart("T", "x", "y", [Line("a", [(1, 1.0), (2, 0.1), (3, 0.01)])], logarithmic=True))
    assert places[1][1] - places[0][1] == pytest.approx(places[2][1] - places[1][1], abs=0.2)


def test_a_decade_is_as_wide_as_the_next():
    lines = [Line("a", [(0, 5), (1, 1.0), (10, 0.1), (100, 0.01)])]
    (places,) = polylines(line_chart("T", "x", "y", lines, logarithmic_x=True))
    assert len(places) == 3
    assert places[1][0] - places[0][0] == pytest.approx(places[2][0] - places[1][0], abs=0.2)


def test_what_is_not_finite_is_left_out():
    points = [(1, None), (2, math.nan), (None, 3.0), (3, math.inf), (4, 1.0), (5, 2.0), (6, -1.0)]
    assert len(polylines(line_chart("T", "x", "y", [Line("a", points)]))[0]) == 3
    assert len(polylines(line_chart("T", "x", "y", [Line("a", points)], logarithmic=True))[0]) == 2


@pytest.mark.parametrize("points", [[], [(1, None)]])
def test_nothing_measured_is_said(points):
    assert "nothing was measured" in line_chart("Loss", "x", "y", [Line("a", points)])


def test_one_value_and_equal_values_are_drawn():
    assert "<circle" in line_chart("T", "x", "y", [Line("a", [(3, 0.0)])], logarithmic=False)
    assert "<circle" in line_chart("T", "x", "y", [Line("a", [(3, 2.0)])], logarithmic=True)
    assert len(polylines(line_chart("T", "x", "y", [Line("a", [(1, 2.0), (2, 2.0)])]))[0]) == 2


def test_single_points_differ_as_lines_do_and_have_their_place_in_the_legend():
    lines = [Line(f"run {n}", [(1, n)]) for n in range(24)] + [Line("none", [])]
    chart = line_chart("T", "x", "y", lines, legend=True)
    marks = re.findall("<(?:circle|polygon) [^>]*>", chart)
    assert len(marks) == 2 * 24
    # those of the legend are all in one place
    assert len(set(marks[24:])) == 24
    assert "<polyline" not in chart
    assert "none</span>" not in chart


def test_long_lines_are_thinned_to_their_ends():
    (places,) = polylines(line_chart("T", "x", "y", [Line("a", [(x, x) for x in range(100_000)])]))
    whole = polylines(line_chart("T", "x", "y", [Line("a", [(0, 0), (99_999, 99_999)])]))[0]
    assert len(places) == MOST_POINTS
    assert (places[0], places[-1]) == (whole[0], whole[-1])


def test_lines_differ_without_colour_and_names_are_escaped():
    lines = [Line(f"<run {n}>", [(0, n), (1, n + 1)]) for n in range(24)]
    chart = line_chart("T", "x", "y", lines, legend=True)
    styles = re.findall(r"<polyline (class=[^>]*?) points", chart)
    assert len(set(styles)) == 24
    assert "&lt;run 3&gt;" in chart
    assert "<run" not in chart
