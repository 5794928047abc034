"""Rough while the view moves, sharp when it stops, in the order that a clock of the test's own asks for."""

import numpy as np
import pytest
import torch

from onefield.types import RenderedImage
from onefield.viewing.pictures import View
from onefield.viewing.window import Window

SECONDS_PER_PIXEL = 1e-5


class Machine:
    """A painter that takes as long as its pixels are many, by a clock that only painting moves."""

    def __init__(self):
        self.now = 0.0
        self.painted = []

    def paint(self, camera, quantity, crop):
        height, width = int(camera.height[0]), int(camera.width[0])
        self.now += height * width * SECONDS_PER_PIXEL
        self.painted.append(quantity)
        return RenderedImage(torch.zeros(height, width, 3), torch.zeros(height, width), torch.zeros(height, width))


def view(width=640, height=480):
    return View(np.eye(4)[:3], 1.0, width, height)


@pytest.fixture
def opened():
    machine, shown = Machine(), []
    return Window(machine, shown.append, clock=lambda: machine.now), machine, shown


def test_nothing_is_painted_before_someone_looks(opened):
    window, machine, _ = opened
    window.paint()
    window.refresh()
    assert window.sharp
    assert not machine.painted


def test_a_view_that_stops_becomes_sharp_step_by_step(opened):
    window, _, shown = opened
    window.look(view(), "color", None)
    while not window.sharp:
        window.paint()
    widths = [picture.size[0] for picture in shown]
    assert widths == sorted(set(widths))
    assert shown[-1].size == (640, 480)
    window.paint()
    assert len(shown) == len(widths)


def test_a_view_that_never_stops_is_seen_at_the_rate_that_is_held(opened):
    window, machine, shown = opened
    for _ in range(20):
        window.look(view(), "color", None)
        while window.moving:
            window.paint()
    assert len(shown) == 20
    assert machine.now / 20 == pytest.approx(window.resolution.frame_seconds, rel=0.1)
    assert shown[-1].size[0] < 640


def test_moving_on_gives_up_what_was_being_sharpened(opened):
    window, _, shown = opened
    window.look(view(), "color", None)
    while window.moving:
        window.paint()
    window.paint()
    window.look(view(), "depth", None)
    window.paint()
    while window.moving:
        window.paint()
    assert [picture.quantity for picture in shown] == ["color", "depth"]
    assert shown[1].size[0] <= shown[0].size[0] * 1.1


def test_painting_stops_often_enough_to_do_something_else(opened):
    window, machine, _ = opened
    window.look(view(), "color", None)
    longest = 0.0
    while not window.sharp:
        before = machine.now
        window.paint()
        longest = max(longest, machine.now - before)
    assert longest < 0.05


def test_a_field_that_changed_is_painted_again_as_sharp(opened):
    window, _, shown = opened
    window.look(view(), "color", None)
    while not window.sharp:
        window.paint()
    count = len(shown)
    window.refresh()
    assert not window.sharp
    assert not window.moving
    while not window.sharp:
        window.paint()
    assert [picture.size for picture in shown[count:]] == [(640, 480)]
