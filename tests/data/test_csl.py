import numpy as np
import pytest

from onefield.data.csl import plane_axes, read_csl
from onefield.errors import DataError

SQUARE = "0 0 1\n2 0 1\n2 2 1\n0 2 1\n.5 .5 1\n1.5 .5 1\n1.5 1.5 1\n.5 1.5 1\n"
TWO_PLANES = f"CSLC\n2 2\n1 8 2 0 0 2 -2\n{SQUARE}4 1 0 1 2 3\n4h0 2 4 5 6 7\n2 0 0 0 0 1 -3\n"


def written(folder, text):
    path = folder / "solid.csl"
    path.write_text(text)
    return path


def test_planes_contours_and_holes_come_back(tmp_path):
    first, empty = read_csl(written(tmp_path, TWO_PLANES))
    assert "plane 1" in first.name
    assert len(first.contours) == 2
    np.testing.assert_allclose(first.to_world(first.contours[0]), [[0, 0, 1], [2, 0, 1], [2, 2, 1], [0, 2, 1]])
    places = np.array([[0.25, 0.25, 1.0], [1.0, 1.0, 1.0], [3.0, 1.0, 1.0]])
    assert first.contains(first.to_plane(places)).tolist() == [True, False, False]
    assert empty.contours == ()
    np.testing.assert_allclose(empty.normal @ empty.origin, 3)


@pytest.mark.filterwarnings("error")
def test_equations_of_any_size_are_read(tmp_path):
    for factor in (1e200, 1e-200):
        (plane, _) = read_csl(written(tmp_path, TWO_PLANES.replace("0 0 2 -2", f"0 0 {2 * factor} {-2 * factor}")))
        np.testing.assert_allclose(plane.normal, (0, 0, 1))


def test_axes_of_any_plane_are_a_right_handed_frame():
    for normal in np.random.default_rng(0).normal(size=(20, 3)):
        unit = normal / np.linalg.norm(normal)
        frame = np.stack([*plane_axes(unit), unit])
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(frame), 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("CSLC", "CSL", "does not begin with CSLC"),
        ("2 2\n", "2 5\n", "has 5 labels"),
        ("0 0 2 -2", "0 0 2 2", "plane 1 has a vertex 2 off its plane"),
        ("0 0 2 -2", "0 0 0 -2", "normal 0 0 0"),
        ("0 2 1\n.5", "0 two 1\n.5", "'two' among its vertices"),
        ("0 2 1\n.5", "0 nan 1\n.5", "not finite among its vertices"),
        ("4 5 6 7", "4 5 6 9", "names vertex 9, but there are 8"),
        ("4 5 6 7", f"4 5 6 {10**30}", "where a number of vertex should stand"),
        ("2 2\n", f"{'2' * 5000} 2\n", "where a number of planes should stand"),
        ("4h0", "4x0", "component 2 does not begin"),
        ("0 0 1 -3\n", "0 0", "plane 2 ends where its equation should follow"),
        ("0 0 1 -3\n", "0 0 1 -3\n7", "goes on behind its 2 planes"),
    ],
)
def test_broken_files_are_named(tmp_path, old, new, said):
    with pytest.raises(DataError, match=said):
        read_csl(written(tmp_path, TWO_PLANES.replace(old, new, 1)))


def test_the_real_files(data_folder):
    dog = read_csl(data_folder / "slices" / "balloondog.csl")
    assert [len(each.contours) for each in dog] == [2] * 5 + [1, 1, 3, 2, 2, 3, 2, 1, 1, 1]
    heart = read_csl(data_folder / "slices" / "heart25.csl")
    assert len(heart) == 25
    assert sum(len(corners) for each in heart for corners in each.contours) == 4534
