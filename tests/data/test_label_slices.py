import numpy as np
import pytest

from onefield.data.label_slices import PicturePlane, slices_of_pictures
from onefield.errors import DataError


def picture(values, height=0.0, steps=((0.5, 0, 0), (0, -0.25, 0))):
    return PicturePlane(f"at {height}", np.array(values), np.array([0.0, 0.0, height]), np.array(steps, dtype=float))


def disc(radius, side=64):
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    return radius - np.hypot(row, column)


def test_labels_become_contours_between_pixels():
    values = np.zeros((4, 5), dtype=np.uint8)
    values[1:3, 1:4] = 7
    (cut, _), note = slices_of_pictures([picture(values), picture(np.zeros((4, 5), dtype=np.uint8), 1.0)])
    assert "every label but 0" in note
    (contour,) = cut.contours
    world = cut.to_world(contour)
    np.testing.assert_allclose(world.min(axis=0), (0.25, -0.625, 0))  # half a pixel before column 1, behind row 2
    np.testing.assert_allclose(world.max(axis=0), (1.75, -0.125, 0))
    centers = np.array([[x * 0.5, -y * 0.25, 0.0] for y in range(4) for x in range(5)])
    assert (cut.contains(cut.to_plane(centers)) == (values > 0).ravel()).all()


def test_what_reaches_the_border_is_closed_there():
    (cut, _), _ = slices_of_pictures([picture(np.ones((3, 3))), picture(np.zeros((3, 3)), 1.0)])
    assert len(cut.contours) == 1


def test_intensities_are_cut_between_pixels_at_otsus_threshold():
    values = 100.0 * np.clip(disc(20), -2, 2)
    (cut, _), note = slices_of_pictures([picture(values, steps=np.eye(3)[:2]), picture(values, 1.0)])
    assert "Otsu" in note
    (contour,) = cut.contours
    radius = np.linalg.norm(contour - 31.5, axis=1)
    assert radius.max() - radius.min() < 0.1
    assert abs(radius.mean() - 20) < 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((3, 3)), "hold the value 0 alone"),
        (np.full((3, 3), np.nan), "not finite"),
        (np.zeros((3, 3, 3)), "one picture of one channel"),
    ],
)
def test_what_is_wrong_is_named(values, said):
    with pytest.raises(DataError, match=said):
        slices_of_pictures([picture(values)])
