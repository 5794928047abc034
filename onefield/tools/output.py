"""What commands print: results on stdout, talk on stderr."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from onefield.reports.figures import duration
from onefield.training.loop import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

# Lines in a log that nobody watches live.
PLAIN_LINE_SECONDS = 10.0
# Files of a folder that are named one by one.
_LISTED = 8
# A terminal needs no more than a few updates a second.
BAR_SECONDS = 0.2


def say(message: str) -> None:
    """One line of talk; work goes on though nobody listens any more."""
    with suppress(BrokenPipeError):
        print(message, file=sys.stderr, flush=True)


class WarningLines(logging.Handler):
    """Prints what the library logs as warnings, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {record.getMessage()}")


def show(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """The command's result: as one JSON object, or as lines for people."""
    print(json.dumps(_without_nan(result)) if as_json else "\n".join(lines), flush=True)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    return [_without_nan(inner) for inner in value] if isinstance(value, list | tuple) else value


def written_lines(paths: Sequence[Path]) -> list[str]:
    """A line for each file that was written; those of a folder of many, such as a video's frames, share one."""
    folders = Counter(path.parent for path in paths)
    lines = [
        f"wrote {path.parent}/ ({folders[path.parent]} files)" if folders[path.parent] > _LISTED else f"wrote {path}"
        for path in paths
    ]
    return list(dict.fromkeys(lines))


def seconds_of(text: str) -> float:
    """Reads a duration: ``90``, ``90s``, ``10m`` or ``1.5h``.

    Raises:
        UsageError: anything else, or no positive number.
    """
    from onefield.errors import UsageError

    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:].lower())
    number = text if factor is None else text[:-1]
    try:
        seconds = float(number) * (1.0 if factor is None else factor)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"'{text}' is no duration; write it like 90s, 10m or 1.5h.")
    return seconds


def count_of(text: str) -> int:
    """Reads a number of things: ``50000``, ``100k`` or ``0.5M``.

    Raises:
        UsageError: anything else, or below 0.
    """
    from onefield.errors import UsageError

    factor = {"k": 1e3, "m": 1e6}.get(text[-1:].lower())
    try:
        count = float(text if factor is None else text[:-1]) * (1.0 if factor is None else factor)
    except ValueError:
        count = math.nan
    if not (math.isfinite(count) and count >= 0):
        raise UsageError(f"'{text}' is no number of things; write it like 50000, 100k or 0.5M.")
    return round(count)


class LiveBar:
    """A bar on stderr while the context lasts; without a terminal there is none, and plain lines take its place."""

    _bar: RichProgress | None = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class ViewsDisplay(LiveBar):
    """Shows how many views of a known number are done, and how long the rest will take."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._begun = self._last = -math.inf
        self._task = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)

    def __call__(self, done: int, total: int) -> None:
        """Takes in that so many are done; the first call, with none done, starts the clock."""
        now = time.monotonic()
        if done == 0:
            self._begun = self._last = now
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self._words, total=total)
            self._bar.update(self._task, completed=done)
        # the first tells how long all will take
        elif done == 1 or (done and (now - self._last >= PLAIN_LINE_SECONDS or done == total)):
            self._last = now
            left = (now - self._begun) / done * (total - done)
            say(f"{self._words} {done} of {total}" + (f", about {duration(left)} left" if done < total else ""))


class TasksDisplay:
    """Shows several tasks one after the other, each with a display of its own."""

    def __init__(self) -> None:
        self._words = ""
        self._display: ViewsDisplay | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._display is not None:
            self._display.__exit__(*error)

    def __call__(self, words: str, done: int, total: int) -> None:
        """Takes in that so much of a task is done; other words begin another one."""
        if words != self._words:
            self.__exit__()
            self._words, self._display = words, ViewsDisplay(words).__enter__()
            if done:
                self._display(0, total)
        self._display(done, total)


class TrainingDisplay(LiveBar):
    """Shows a run's progress: a live bar in a terminal, a plain line now and then elsewhere."""

    def __init__(self) -> None:
        self._task = None
        self._last = -math.inf
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[figures]}"))
            self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("training", total=1.0, figures="")

    def __call__(self, progress: Progress) -> None:
        """Takes in one step."""
        now = time.monotonic()
        pause = PLAIN_LINE_SECONDS if self._bar is None else BAR_SECONDS
        if now - self._last < pause and progress.share < 1.0:
            return
        self._last = now
        if self._bar is None:
            say(f"{progress.share:4.0%}  {self._figures(progress)}")
        else:
            self._bar.update(self._task, completed=progress.share, figures=self._figures(progress))

    @staticmethod
    def _figures(progress: Progress) -> str:
        psnr = "" if progress.psnr is None else f"  held-out {progress.psnr:.2f} dB"
        # what is splatted or drawn has none
        samples = f"  {progress.samples_per_ray:.0f} samples/ray" if progress.samples_per_ray else ""
        return (
            f"step {progress.step}  loss {progress.loss:.5f}{psnr}{samples}  "
            f"{progress.rays_per_second / 1000:.1f}k rays/s  {duration(progress.remaining)} left"
        )
