"""Fields side by side on signals: every combination is a cell, and every finished cell one line of a file."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import fmean, pstdev

import torch

from onefield.data.signals import Shape, Signal, load_signal
from onefield.data.synthetic_signals import SYNTHETIC_SIGNALS, cutoff, synthetic_signal
from onefield.errors import DataError, OnefieldError, UsageError, nearest_name
from onefield.files import explain_write_errors, make_folder, write_atomically
from onefield.kernels.threads import use_threads
from onefield.training.fit import fit
from onefield.training.metrics import intersection_over_union, psnr
from onefield.training.posed_tasks import POSED_TASKS, SUPER_RESOLUTION, posed
from onefield.training.recipes import check_signal_field, recipe_for
from onefield.training.tasks.super_resolution import block_means

_LINES = "cells.jsonl"


@dataclass(frozen=True)
class Cell:
    """One fit.

    Attributes:
        task: one of `POSED_TASKS`.
        signal: a synthetic one's name, or a file of a picture, sound, video, volume or mesh (as occupancy).
        band: of a synthetic signal that has one.
        side: a signal has about ``side ** 2`` samples, whatever its axes; files are reduced to that.
        field: a representation.
        parameters: most of the field.
        rate: factor on the learning rates of the field's recipe.
        seed: of the field, the training and the signal.
        steps, seconds: of training; None takes the recipe's steps.
    """

    task: str
    signal: str
    band: float | None
    side: int
    field: str
    parameters: int
    rate: float
    seed: int
    steps: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Result:
    """What came of a cell.

    Attributes:
        psnr: in dB, against the signal itself.
        mean_psnr: of the best constant, which any field should exceed.
        iou: of signals of zeros and ones alone.
        parameters: of the field.
        encoding_rate, network_rate: peak learning rates.
        steps, seconds: of training; seconds as the clock has them.
        error: why there is no figure.
    """

    psnr: float | None = None
    mean_psnr: float | None = None
    iou: float | None = None
    parameters: int | None = None
    encoding_rate: float | None = None
    network_rate: float | None = None
    steps: int | None = None
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Summary:
    """Cells that differ in seed and rate alone, by the rate with the best mean PSNR.

    Attributes:
        cell: the first of them, with that rate.
        psnr, deviation: mean and deviation over seeds, dB.
        mean_psnr, iou, parameters, seconds: means over seeds.
        seeds, rates: how many had figures.
    """

    cell: Cell
    psnr: float
    deviation: float
    mean_psnr: float
    iou: float | None
    parameters: float
    seconds: float
    seeds: int
    rates: int


@dataclass(frozen=True)
class RateSummary:
    """One field of one size by one factor on its recipe's learning rates, over all signals.

    Attributes:
        task, field, parameters, rate: as of `Cell`.
        psnr, deviation: mean over signals and seeds, and deviation over seeds of the mean over signals, dB; None where
            a fit has no figure.
        seeds: how many.
    """

    task: str
    field: str
    parameters: int
    rate: float
    psnr: float | None
    deviation: float | None
    seeds: int


def plan(
    signals: Sequence[str],
    names: Sequence[str],
    *,
    tasks: Sequence[str] = ("fit",),
    bands: Sequence[float] = (0.5,),
    parameters: Sequence[int] = (30_000,),
    rates: Sequence[float] = (1.0,),
    seeds: int = 1,
    side: int = 128,
    steps: int | None = None,
    seconds: float | None = None,
) -> list[Cell]:
    """All combinations; signals without a band have one of each.

    Raises:
        UsageError: an unknown signal, task, field or file, a band outside [0, 1], a side below 4, a number of
            parameters or a rate that is not positive, or nothing to do.
    """
    for name, values in (("parameters", parameters), ("learning rates", rates)):
        for value in values:
            if not 0 < value < math.inf:
                raise UsageError(f"Fields are compared at positive {name}, got {value}.")
    for task in tasks:
        if task not in POSED_TASKS:
            raise UsageError(f"Unknown task '{task}': {nearest_name(task, POSED_TASKS)}.")
    for band in bands:
        cutoff(side, band)
    for name in names:
        check_signal_field(name)
    bandwidths: list[tuple[str, float | None]] = []
    for name in signals:
        if name not in SYNTHETIC_SIGNALS and not Path(name).is_file():
            raise UsageError(f"'{name}' is no file and no signal: {nearest_name(name, tuple(SYNTHETIC_SIGNALS))}.")
        banded = name in SYNTHETIC_SIGNALS and SYNTHETIC_SIGNALS[name].banded
        bandwidths += [(name, band) for band in (bands if banded else (None,))]
    cells = [
        Cell(task, source, band, side, name, allowed, rate, seed, steps, seconds)
        for task, (source, band), allowed, name, rate, seed in itertools.product(
            tasks, bandwidths, parameters, names, rates, range(seeds)
        )
    ]
    if not cells:
        raise UsageError("Nothing to compare; name at least one each of tasks, signals, fields, parameters and rates.")
    return cells


def truth_of(cell: Cell) -> Signal:
    """The signal of a cell.

    Raises:
        DataError: a file that can't be read, or holds no signal.
    """
    axes = SYNTHETIC_SIGNALS[cell.signal].axes if cell.signal in SYNTHETIC_SIGNALS else None
    if axes is not None:
        return synthetic_signal(cell.signal, _side(cell.side, axes), 0.5 if cell.band is None else cell.band, cell.seed)
    loaded = load_signal(cell.signal)
    if isinstance(loaded, Shape):
        return _occupancy(loaded, _side(cell.side, 3))
    if not isinstance(loaded, Signal):
        raise DataError(f"{cell.signal} holds {loaded.kind}, which has no samples to compare; take a mesh or a signal.")
    # the longest axis of a signal of so many samples in all
    longest = max(loaded.shape) * (cell.side**2 / math.prod(loaded.shape)) ** (1 / len(loaded.shape))
    factor = max(1, math.ceil(max(loaded.shape) / max(4, math.ceil(longest))))
    blocks = factor * SUPER_RESOLUTION
    if min(loaded.shape) < blocks:
        raise DataError(f"{cell.signal} is too small or too thin to be compared at --side {cell.side}; raise that.")
    kept = tuple(slice(length // blocks * blocks) for length in loaded.shape)
    return replace(loaded, values=block_means(loaded.values[kept], factor))


def _side(side: int, axes: int) -> int:
    """Samples along an axis, a multiple of four for super-resolution."""
    return max(4, round(side ** (2 / axes) / 4) * 4)


def _occupancy(shape: Shape, side: int) -> Signal:
    grid = Signal("volume", torch.zeros(side, side, side, 1), 1.0)
    places = shape.domain.from_unit(grid.points(torch.arange(side**3)))
    return replace(grid, values=shape.contains(places).float().reshape(side, side, side, 1))


def run_cell(cell: Cell) -> Result:
    """Fits and scores; what a field can't do is told, not raised."""
    try:
        truth = truth_of(cell)
        shown, task = posed(truth, cell.task, cell.seed)
        recipe = recipe_for(cell.field, truth, parameters=cell.parameters)
        recipe = replace(
            recipe, encoding_rate=cell.rate * recipe.encoding_rate, network_rate=cell.rate * recipe.network_rate
        )
        fitted = fit(shown, recipe, steps=cell.steps, seconds=cell.seconds, seed=cell.seed, task=task)
    except OnefieldError as error:
        return Result(error=str(error))
    sampled = truth.known()
    answer, expected = fitted(truth.points(sampled)), truth.at(sampled)
    figure = psnr(answer, expected, truth.value_range)
    if math.isnan(figure):
        return Result(error="The field answers values that are not finite.")
    binary = bool(((expected == 0) | (expected == 1)).all())
    return Result(
        psnr=figure,
        mean_psnr=psnr(expected.mean(0).expand_as(expected), expected, truth.value_range),
        iou=intersection_over_union(answer > 0.5, expected > 0.5) if binary else None,
        parameters=int(fitted.metrics["parameters"]),
        encoding_rate=recipe.encoding_rate,
        network_rate=recipe.network_rate,
        steps=int(fitted.metrics["steps"]),
        seconds=fitted.metrics["seconds"],
    )


def run_cells(
    cells: Sequence[Cell], folder: Path, processes: int = 1, observe: Callable[[int, int], None] | None = None
) -> dict[Cell, Result]:
    """Runs what the folder does not hold yet, in as many processes, and gives the results of all cells.

    A process has one thread. Whenever this is stopped, finished cells stay: the next call goes on.

    Args:
        observe: is told how many are done of those that the folder did not hold, first before any is run.

    Raises:
        UsageError: no process.
        ResourceError: the folder can't be written.
    """
    if processes < 1:
        raise UsageError(f"A comparison needs at least one process, got {processes}.")
    path = make_folder(folder) / _LINES
    finished = _read(path)
    left = [cell for cell in dict.fromkeys(cells) if cell not in finished]
    told = observe or (lambda done, total: None)
    told(0, len(left))
    for done, (cell, result) in enumerate(_results(left, processes), start=1):
        with explain_write_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"cell": asdict(cell), "result": asdict(result)}) + "\n")
        finished[cell] = result
        told(done, len(left))
    return {cell: finished[cell] for cell in cells}


def _results(cells: Sequence[Cell], processes: int) -> Iterator[tuple[Cell, Result]]:
    if processes == 1 or len(cells) < 2:
        yield from ((cell, run_cell(cell)) for cell in cells)
        return
    others = set(multiprocessing.active_children())
    # kernels' threads don't survive a fork
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(cells)), spawning, initializer=_begin_worker)
    try:
        running = {pool.submit(run_cell, cell): cell for cell in cells}
        yield from ((running[future], future.result()) for future in as_completed(running))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()


def _begin_worker() -> None:
    """A worker has one thread, leaves Ctrl-C to the process that started it, and ends when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_threads(1)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _read(path: Path) -> dict[Cell, Result]:
    """The finished cells of a file; what a stopped run left of a last line is cut off."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        write_atomically(path, whole)
    cells, results = {each.name for each in fields(Cell)}, {each.name for each in fields(Result)}
    found = {}
    for line in whole.decode("utf-8", errors="replace").splitlines():
        # lines of another version, or damaged: their cells are run again
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            if set(entry["cell"]) == cells and set(entry["result"]) == results:
                found[Cell(**entry["cell"])] = Result(**entry["result"])
    return found


def summarised(results: dict[Cell, Result]) -> list[Summary]:
    """One for each combination but seeds and rates; combinations without any figure are left out."""
    groups: dict[Cell, dict[float, list[tuple[Cell, Result]]]] = {}
    for cell, result in results.items():
        if result.psnr is not None:
            group = groups.setdefault(replace(cell, seed=0, rate=1.0), {})
            group.setdefault(cell.rate, []).append((cell, result))
    summaries = []
    for rates in groups.values():
        best = max(rates.values(), key=lambda members: fmean(result.psnr for _, result in members))
        found = [result for _, result in best]
        overlaps = [result.iou for result in found if result.iou is not None]
        summaries.append(
            Summary(
                cell=best[0][0],
                psnr=fmean(result.psnr for result in found),
                deviation=pstdev([result.psnr for result in found]),
                mean_psnr=fmean(result.mean_psnr for result in found),
                iou=fmean(overlaps) if overlaps else None,
                parameters=fmean(result.parameters for result in found),
                seconds=fmean(result.seconds for result in found),
                seeds=len(found),
                rates=len(rates),
            )
        )
    return summaries


def by_rate(results: dict[Cell, Result]) -> list[RateSummary]:
    """Each field at each factor on its rates, in the order of the cells, ascending factors."""
    groups: dict[tuple[str, str, int], dict[float, dict[int, list[float | None]]]] = {}
    for cell, result in results.items():
        rates = groups.setdefault((cell.task, cell.field, cell.parameters), {})
        rates.setdefault(cell.rate, {}).setdefault(cell.seed, []).append(result.psnr)
    summaries = []
    for key, rates in groups.items():
        for rate, seeds in sorted(rates.items()):
            complete = all(figure is not None for figures in seeds.values() for figure in figures)
            means = [fmean(figures) for figures in seeds.values()] if complete else []
            summary = (fmean(means), pstdev(means)) if complete else (None, None)
            summaries.append(RateSummary(*key, rate, *summary, len(seeds)))
    return summaries
