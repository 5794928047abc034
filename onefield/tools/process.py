"""``onefield process``: plain photos or a video to a scene with camera poses."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated

import tyro

from onefield.data.structure_from_motion.outcome import LeftOut
from onefield.data.structure_from_motion.processing import DEFAULT_FRAMES, Processed, Request, process
from onefield.errors import InterruptedRun
from onefield.tools.output import say, show
from onefield.tools.phases import PhaseDisplay


def run_command(
    photos: Annotated[Path, tyro.conf.Positional],
    /,
    output: Path | None = None,
    frames: int = DEFAULT_FRAMES,
    up: str = "auto",
    json: bool = False,
) -> None:
    """Finds camera poses of photos by structure from motion and writes a scene to train on.

    The scene holds pictures, sparse/0 (COLMAP), transforms.json and points.ply; it appears when it is complete.

    Args:
        photos: folder of photos (subfolders too), or a video. Poses that came with the photos are found again from the
            pictures, and the scene keeps their frame and units.
        output: the scene's folder; scenes/NAME by default.
        frames: so many of a video are taken at most.
        up: auto, or the axis of the frame found by itself that should point up, such as --up=y or --up=-z.
        json: print the result as JSON.
    """
    request = Request(photos, output, frames, up)
    done = process_shown(request)
    given = []
    if done.given is not None:
        turned, moved = done.given
        given = [f"the poses that came along differ by {turned:.2g} degrees and {moved:.2g} units (medians)"]
    summary = [
        f"{done.registered} of {done.pictures} photos placed, {done.points} points, mean reprojection error "
        f"{done.error:.2f} px; up from {done.up_source}",
        *given,
        f"scene: {done.scene}",
        f"next:  onefield train {shlex.quote(str(done.scene))}",
    ]
    show({**asdict(done), "scene": str(done.scene)}, json, summary)


def process_shown(request: Request) -> Processed:
    """Processes with progress and warnings shown, and a table of the photos left out.

    Raises:
        InterruptedRun: a signal stopped it; the same call goes on.
    """
    try:
        with _terminated_like_interrupted(), PhaseDisplay() as display:
            done = process(request, display, say)
    except KeyboardInterrupt:
        raise InterruptedRun(f"stopped; what is done is kept, and this goes on: {_command(request)}") from None
    if done.known:
        say(f"{done.scene} was made from these photos before; nothing to do")
    for warning in done.warnings:
        say(f"warning: {warning}")
    if done.left_out:
        _show_left_out(done.left_out)
    return done


def _command(request: Request) -> str:
    words = ["onefield", "process", str(request.source)]
    if request.output is not None:
        words += ["--output", str(request.output)]
    if request.frames != DEFAULT_FRAMES:
        words += ["--frames", str(request.frames)]
    if request.up != "auto":
        words.append(f"--up={request.up}")
    return shlex.join(words)


def _show_left_out(missing: list[LeftOut]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(missing)} photos left out", title_justify="left", box=None, pad_edge=False)
    for column in ("photo", "why", "found", "what would help"):
        table.add_column(column, overflow="fold")
    for item in missing:
        table.add_row(item.name, item.reason, item.found, item.cure)
    Console(stderr=True, markup=False, highlight=False).print(table)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Within the context SIGTERM stops the work as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
