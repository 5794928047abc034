"""Sizes of pictures from how long they take."""

import pytest

from onefield.viewing.resolution import LEAST_PIXELS, MOST_PIXELS, Resolution

WINDOW = (800, 400)


def learned(seconds_per_pixel, frame_seconds=0.1):
    resolution = Resolution(frame_seconds)
    for _ in range(40):
        resolution.measured(1000, 1000 * seconds_per_pixel)
    return resolution


@pytest.mark.parametrize("seconds_per_pixel", [1e-6, 3e-6, 1e-5])
def test_a_moving_picture_takes_the_time_that_it_may(seconds_per_pixel):
    width, height = learned(seconds_per_pixel).moving(WINDOW)
    assert width * height * seconds_per_pixel == pytest.approx(0.1, rel=0.02)
    assert width / height == pytest.approx(2, rel=0.02)


def test_a_slow_machine_still_shows_something_and_a_fast_one_no_more_than_the_window():
    width, height = learned(1.0).moving(WINDOW)
    assert width * height == pytest.approx(LEAST_PIXELS, rel=0.05)
    assert learned(1e-9).moving(WINDOW) == WINDOW


def test_it_follows_a_machine_that_becomes_slower():
    resolution = learned(1e-6)
    before = resolution.moving(WINDOW)
    for _ in range(5):
        resolution.measured(1000, 1000 * 1e-4)
    assert resolution.moving(WINDOW)[0] < before[0] / 2


def test_sharpening_reaches_the_window_in_few_pictures_and_stays():
    resolution, size, sizes = learned(1e-5), (60, 30), []
    for _ in range(6):
        size = resolution.sharper(size, WINDOW)
        sizes.append(size)
    assert sizes[:3] == [(120, 60), (240, 120), (480, 240)]
    assert sizes[-1] == sizes[-2] == WINDOW == resolution.sharpest(WINDOW)


def test_a_huge_window_is_bounded():
    width, height = Resolution().sharpest((8000, 4000))
    assert width * height == pytest.approx(MOST_PIXELS, rel=0.01)
