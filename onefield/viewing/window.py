"""One browser's window onto a field: rough while its view moves, sharper and sharper when it stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from onefield.types import Bounds
from onefield.viewing.pictures import Painter, Picture, Quantity, View
from onefield.viewing.resolution import Resolution

# Rows are painted for so long at a time, so that whoever paints can turn to something else in between.
STRIP_SECONDS = 0.03


class Window:
    """Paints the view that its browser asked for last.

    Browsers ask from their own threads, by `look`; all painting happens in `paint`, on the thread that calls it.
    """

    def __init__(
        self, painter: Painter, show: Callable[[Picture], None], *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Opens a window that shows nothing yet.

        Args:
            show: takes each finished picture.
            clock: seconds, for measuring.
        """
        self.resolution = Resolution()
        self._painter = painter
        self._show = show
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: tuple[View, Quantity, Bounds | None] | None = None
        self._changed = False
        self._picture: Picture | None = None
        self._rough = False
        self._shown: tuple[int, int] | None = None

    def look(self, view: View, quantity: Quantity, crop: Bounds | None) -> None:
        """Asks for another view, another quantity, or another crop."""
        with self._lock:
            self._asked = (view, quantity, crop)
            self._changed = True

    def refresh(self) -> None:
        """Paints the view once more, as sharp as it is now: the field has changed."""
        if self._asked is not None and self.sharp:
            self._picture = self._begin(self.resolution.sharpest(self._size()))

    @property
    def view(self) -> View | None:
        """The view asked for last."""
        with self._lock:
            return None if self._asked is None else self._asked[0]

    @property
    def moving(self) -> bool:
        """Whether a rough picture is due: the browser waits for it."""
        return self._changed or self._rough

    @property
    def sharp(self) -> bool:
        """Whether nothing is left to paint."""
        if self._asked is None:
            return True
        return not self._changed and self._picture is None and self._shown == self.resolution.sharpest(self._size())

    def paint(self) -> None:
        """Paints some rows of the picture that is due, and shows it when that was the last of them.

        A rough picture is always finished, so that a view that never stops moving is seen; sharper ones are given up
        when the view changes.
        """
        if self.sharp:
            return
        if self._changed and not self._rough:
            with self._lock:
                self._changed = False
            self._rough = True
            self._picture = self._begin(self.resolution.moving(self._size()))
        elif self._picture is None:
            self._picture = self._begin(self.resolution.sharper(self._shown or (1, 1), self._size()))
        picture = self._picture
        began = self._clock()
        rows = self.resolution.pixels_within(STRIP_SECONDS) // picture.size[0]
        pixels = picture.paint_rows(self._painter, rows)
        seconds = self._clock() - began
        if picture.done:
            self._picture, self._shown = None, picture.size
            self._show(picture)
            if self._rough:
                # the rate of moving pictures counts what encoding takes
                seconds += (self._clock() - began - seconds) * pixels / (picture.size[0] * picture.size[1])
            self._rough = False
        self.resolution.measured(pixels, seconds)

    def _begin(self, size: tuple[int, int]) -> Picture:
        view, quantity, crop = self._asked
        return Picture(view, size, quantity, crop)

    def _size(self) -> tuple[int, int]:
        view = self._asked[0]
        return view.width, view.height
