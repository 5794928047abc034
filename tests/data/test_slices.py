"""Also the checks of `onefield.data.slice_checks`, which `Slices.of` runs."""

import math

import numpy as np
import pytest

from onefield.data.contours import Slice
from onefield.data.csl import plane_axes, read_csl
from onefield.data.slices import Slices
from onefield.errors import DataError


def ball_slice(normal, offset, radius=1.0, corners=60):
    """The circle in which a plane cuts a ball about the origin."""
    unit = np.array(normal, dtype=float) / np.linalg.norm(normal)
    size = math.sqrt(max(radius**2 - offset**2, 0))
    turns = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    circle = size * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return Slice(f"{normal} {offset}", offset * unit, plane_axes(unit), (circle,) if size else ())


def flat(height, *contours, name="cut"):
    arrays = tuple(np.array(corners, dtype=float) for corners in contours)
    return Slice(f"{name} {height}", np.array([0.0, 0.0, height]), np.eye(3)[:2], arrays)


SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))


def test_planes_of_any_pose_through_one_ball_agree():
    normals = np.random.default_rng(0).normal(size=(8, 3)).tolist()
    slices = Slices.of([ball_slice(normal, 0.1 * index - 0.4) for index, normal in enumerate(normals)])
    assert slices.description == "8 slices, 8 contours"
    assert max(slices.bounds.extent) == pytest.approx(2.2, abs=0.02)  # a twentieth of 2 all round
    low, high = np.array(slices.domain.minimum), np.array(slices.domain.maximum)
    np.testing.assert_allclose(high - low, slices.scale)
    assert (low < slices.bounds.minimum).all()
    assert (high > slices.bounds.maximum).all()


def test_the_box_goes_on_for_half_a_gap_and_empty_planes_count():
    slices = Slices.of([flat(0, SQUARE), flat(0.1, SQUARE), flat(0.2)])
    assert slices.reach == pytest.approx(0.05)
    np.testing.assert_allclose(slices.bounds.minimum, (-0.05, -0.05, -0.05))
    np.testing.assert_allclose(slices.bounds.maximum, (1.05, 1.05, 0.15))
    assert "1 of them empty" in slices.description
    assert slices.gap == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(
    ("cuts", "said"),
    [
        ([], "at least 2 slices, got none"),
        ([flat(0, SQUARE)], "got only cut 0"),
        ([flat(0), flat(1)], "No slice has a contour"),
        ([flat(0, SQUARE), flat(1, SQUARE), flat(0, SQUARE, name="again")], "cut 0 and again 0 lie on the same plane"),
        ([flat(0, SQUARE), flat(1, ((0, 0), (1, 1), (1, 0), (0, 1)))], "contour 1 crosses itself near"),
        ([flat(0, SQUARE, ((0.5, 0.5), (2, 0.5), (2, 2))), flat(1, SQUARE)], "contours 1 and 2 cross near"),
        ([flat(0, SQUARE, SQUARE), flat(1, SQUARE)], "contour 2 is there twice"),
        ([flat(0, ((0, 0), (1, 0), (0, 0))), flat(1, SQUARE)], "2 different corners"),
        ([flat(0, ((0, 0), (1, 1), (2, 2))), flat(1, SQUARE)], "encloses nothing"),
        ([flat(0, ((0, 0), (1, math.nan), (2, 2))), flat(1, SQUARE)], "not finite"),
    ],
)
def test_what_is_wrong_is_named(cuts, said):
    with pytest.raises(DataError, match=said):
        Slices.of(cuts)


def test_a_plane_seen_from_behind_is_the_same_plane():
    behind = Slice("behind", np.zeros(3), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), (np.array(SQUARE, float),))
    with pytest.raises(DataError, match="same plane"):
        Slices.of([flat(0, SQUARE), behind, flat(1, SQUARE)])


def test_planes_that_contradict_each_other_are_named():
    right = ball_slice((0, 0, 1), 0.0)
    ball_slice((1, 0, 0), 0.0)
    Slices.of([right, ball_slice((1, 0, 0), 0.0, radius=1.03)])  # as people draw
    with pytest.raises(DataError, match=r"contradict each other .* by 0\.\d+"):
        Slices.of([right, ball_slice((1, 0, 0), 0.0, radius=0.6)])
    hollow = ball_slice((1, 0, 0), 0.0)
    hollow = Slice("hollow", hollow.origin, hollow.axes, (*hollow.contours, 0.7 * hollow.contours[0]))
    with pytest.raises(DataError, match=r"\(0, 0, 1\) 0\.0 and hollow contradict"):
        Slices.of([right, hollow])
    with pytest.raises(DataError, match=r"\(0, 0, 1\) 0\.0 and empty contradict"):
        Slices.of([right, Slice("empty", hollow.origin, hollow.axes, ())])


def test_contours_may_touch():
    beside = tuple((x + 1, y + 1) for x, y in SQUARE)
    within = ((0, 0), (0.5, 0.2), (0.2, 0.5))
    assert len(Slices.of([flat(0, SQUARE, beside, within), flat(1, SQUARE)]).slices) == 2


def test_the_real_files_are_sound(data_folder):
    dog = Slices.of(read_csl(data_folder / "slices" / "balloondog.csl"))
    assert dog.reach == pytest.approx(0.0529, abs=1e-3)
    heart = Slices.of(read_csl(data_folder / "slices" / "heart25.csl"))
    assert len(heart.slices) == 25
