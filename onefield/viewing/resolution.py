"""How large a picture may be so that it is ready in time, learned from how long the last ones took."""

from __future__ import annotations

import math

# While a view moves: painting eleven pictures a second leaves room for encoding and sending, and five at least arrive.
FRAME_SECONDS = 1 / 11
# Below this nothing can be recognised, however slow the machine is.
LEAST_PIXELS = 48 * 48
# Larger screens get this many pixels, scaled up by the browser: on two cores more would take minutes to sharpen.
MOST_PIXELS = 1 << 20
# Before anything was measured: a slow machine's first picture comes at once, and a fast one's is sharp soon after.
FIRST_GUESS = 1e-5
# Each sharper picture has so many times the pixels of the one before: the last costs about as much as all others.
SHARPENING = 4.0
# Weight of the newest measurement; views differ, so that old ones must fade quickly.
_FRESHNESS = 0.5


class Resolution:
    """Sizes of pictures for one window onto a field."""

    def __init__(self, frame_seconds: float = FRAME_SECONDS) -> None:
        """Starts with a guess.

        Args:
            frame_seconds: that a picture may take while the view moves.
        """
        self.frame_seconds = frame_seconds
        self.seconds_per_pixel = FIRST_GUESS

    def measured(self, pixels: int, seconds: float) -> None:
        """Takes in that so many pixels took so long."""
        newest = seconds / max(pixels, 1)
        self.seconds_per_pixel += _FRESHNESS * (newest - self.seconds_per_pixel)

    def pixels_within(self, seconds: float) -> int:
        """Pixels that can be ready by then, at least one."""
        return max(1, int(seconds / max(self.seconds_per_pixel, math.ulp(1.0))))

    def moving(self, window: tuple[int, int]) -> tuple[int, int]:
        """Width and height in pixels that hold the frame rate, with the window's proportions."""
        return _sized(window, max(LEAST_PIXELS, self.pixels_within(self.frame_seconds)))

    def sharpest(self, window: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the last picture of a still view."""
        return _sized(window, MOST_PIXELS)

    def sharper(self, size: tuple[int, int], window: tuple[int, int]) -> tuple[int, int]:
        """The size that follows ``size`` while the view is still; the sharpest is followed by itself."""
        return _sized(window, min(MOST_PIXELS, int(size[0] * size[1] * SHARPENING)))


def _sized(window: tuple[int, int], pixels: int) -> tuple[int, int]:
    width, height = max(window[0], 1), max(window[1], 1)
    factor = min(1.0, math.sqrt(pixels / (width * height)))
    return max(1, round(width * factor)), max(1, round(height * factor))
