"""The progress of work in phases: a live bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time

from onefield.data.structure_from_motion.runner import Phase
from onefield.tools.output import BAR_SECONDS, PLAIN_LINE_SECONDS, LiveBar, say

_WORDS = {
    "frames": "looking at frames",
    "pictures": "storing pictures",
    "features": "finding features",
    "likeness": "finding photos that look alike",
    "matching": "comparing pairs",
    "mapping": "placing photos",
}


class PhaseDisplay(LiveBar):
    """Shows the phases one after the other."""

    def __init__(self) -> None:
        self._phase = ""
        self._last = -math.inf
        self._task = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)

    def __call__(self, phase: Phase) -> None:
        """Takes in one step."""
        begun = phase.name != self._phase
        now = time.monotonic()
        pause = PLAIN_LINE_SECONDS if self._bar is None else BAR_SECONDS
        if not begun and now - self._last < pause and phase.done != phase.total:
            return
        self._phase, self._last = phase.name, now
        words = _WORDS.get(phase.name, phase.name)
        if self._bar is None:
            say(f"{words}: {phase.done}" + (f" of {phase.total}" if phase.total else ""))
            return
        if begun and self._task is not None:
            self._bar.remove_task(self._task)
        if begun:
            self._task = self._bar.add_task(words, total=phase.total or None)
        self._bar.update(self._task, completed=phase.done, total=phase.total or None)
