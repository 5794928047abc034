"""Ctrl-C and SIGTERM: the first finishes the step and saves, the second ends at once."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from onefield.tools.output import say

_WATCHED = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


class StopSignals:
    """Watches for signals while it is entered."""

    def __init__(self) -> None:
        self._asked = False
        self._former: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        for number in _WATCHED:
            self._former[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def stop_asked(self) -> bool:
        """Whether a signal came."""
        return self._asked

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            if sys.stderr.isatty():
                # the bar hides it, and nothing else shows it again
                os.write(sys.stderr.fileno(), _SHOW_CURSOR)
            os._exit(130)
        self._asked = True
        say("\nfinishing this step and saving; once more ends at once")
