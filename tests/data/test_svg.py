"""Also of `onefield.data.svg_paths`."""

import math

import numpy as np
import pytest

from onefield.data.svg import read_svg
from onefield.errors import DataError

NAMED = 'xmlns="http://www.w3.org/2000/svg"'


def drawn(folder, body):
    path = folder / "slice_1.svg"
    path.write_text(f"<svg {NAMED} viewBox='0 0 10 10'>{body}</svg>")
    return path


def area(polygon):
    x, y = polygon.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


@pytest.mark.parametrize(
    ("body", "size", "center"),
    [
        ("<rect x='1' y='2' width='3' height='4'/>", 12.0, (2.5, -4)),
        ("<polygon points='0,0 4,0 4,2'/>", 4.0, None),
        ("<polyline points='0 0 4 0 4 2 0 0'/>", 4.0, None),
        ("<circle cx='3' cy='1' r='2'/>", 4 * math.pi, (3, -1)),
        ("<ellipse cx='3' cy='1' rx='2' ry='1'/>", 2 * math.pi, (3, -1)),
        ("<path d='M1 1h2v3H1z'/>", 6.0, (2, -2.5)),
        ("<path d='m1,1 2,0 0,3 -2,0Z'/>", 6.0, (2, -2.5)),
        ("<path d='M1-1A2 2 0 0 1 5-1A2 2 0 0 1 1-1'/>", 4 * math.pi, (3, 1)),
        ("<path d='M0 0 C0 1 1 1 1 0 S2 -1 2 0 Z'/>", 0.0, None),
        ("<path d='M0 0 Q1 2 2 0 T4 0 Z'/>", 0.0, None),
        ("<path d='M0 0 Q2 2 4 0 Z'/>", 8 / 3, (2, -0.4)),
        ("<g transform='translate(5,5) scale(2)'><rect width='1' height='1'/></g>", 4.0, (6, -6)),
        ("<rect width='2' height='1' transform='rotate(90)'/>", 2.0, (-0.5, -1)),
        ("<rect width='2' height='1' transform='matrix(1 0 0 -1 0 0)'/>", 2.0, (1, 0.5)),
        ("<rect width='2' height='1' transform='skewX(45)'/>", 2.0, (1.5, -0.5)),
        ("<defs><rect width='9' height='9'/></defs><rect width='1' height='1'/>", 1.0, None),
    ],
)
def test_outlines_have_their_areas_and_places(tmp_path, body, size, center):
    (polygon,) = read_svg(drawn(tmp_path, body))
    assert abs(area(polygon)) == pytest.approx(size, rel=7e-3, abs=1e-9)
    if center is not None:
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        if "Q2 2" in body:
            assert high[1] == 0
            assert low[1] == pytest.approx(-1)
        else:
            np.testing.assert_allclose((low + high) / 2, center, atol=0.02)


def test_one_path_may_have_several_outlines(tmp_path):
    polygons = read_svg(drawn(tmp_path, "<path d='M0 0H4V4H0Zm1 1h1v1h-1zM9 9l1 0 0 1-1-1'/>"))
    assert [len(polygon) for polygon in polygons] == [4, 4, 3]
    np.testing.assert_allclose(polygons[1][0], (1, -1))


def test_drawings_of_programs_with_a_public_document_type_open(tmp_path):
    path = drawn(tmp_path, "<rect width='1' height='1'/>")
    kind = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
    path.write_text(f"<?xml version='1.0'?>\n{kind}\n{path.read_text()}")
    assert len(read_svg(path)) == 1


def test_flags_of_arcs_need_nothing_between(tmp_path):
    """As programs that make drawings small write them: a circle about (1, 0)."""
    (polygon,) = read_svg(drawn(tmp_path, "<path d='M0 0A1 1 0 012 0a1 1 0 11-2 0z'/>"))
    np.testing.assert_allclose(np.hypot(*(polygon - (1, 0)).T), 1, atol=1e-9)
    assert len(polygon) == 32


def test_groups_may_nest_deeply_and_arcs_be_flat(tmp_path):
    flat = "<path d='M0 0 A 1e-320 1 0 0 0 5 5 L 5 0 Z'/>"
    (polygon,) = read_svg(drawn(tmp_path, "<g transform='translate(1)'>" * 3000 + flat + "</g>" * 3000))
    np.testing.assert_allclose(polygon, [(3000, 0), (3005, -5), (3005, 0)])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<path id='rim' d='M0 0 L4 0 L4 2'/>", r"path 'rim' is open: it begins at \(0, 0\) and ends at \(4, 2\)"),
        ("<polyline points='0 0 4 0 4 2'/>", "polyline 1 is open"),
        ("<line x2='3' y2='3'/>", "line 1 is open"),
        ("<path d='M0 0 L4 x'/>", "'x' in its path data"),
        ("<path d='0 0 L4 4'/>", "begins with a number"),
        ("<path d='M0 0 L4 4 5Z'/>", "3 numbers behind L"),
        ("<polygon points='0 0 1'/>", "odd number"),
        ("<rect width='5%' height='1'/>", "'width' is '5%'"),
        ("<rect width='1e999' height='1'/>", "1e999, which is beyond measure"),
        ("<path d='M0 0 L1e999 0 L1 1 Z'/>", "1e999, which is beyond measure"),
        ("<g transform='rotate(1e999)'><rect width='1' height='1'/></g>", "1e999, which is beyond measure"),
        ("<g transform='twist(3)'><rect width='1' height='1'/></g>", "transform 'twist'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, body, said):
    with pytest.raises(DataError, match=said):
        read_svg(drawn(tmp_path, body))


def test_other_documents_are_no_drawings(tmp_path):
    path = tmp_path / "a.svg"
    path.write_text("<html/>")
    with pytest.raises(DataError, match="holds <html>"):
        read_svg(path)
