"""Fitting every signal of a folder: ``onefield fit FOLDER``."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from onefield.data.signal_folders import holds_many_signals, signal_files
from onefield.errors import InterruptedRun, UsageError
from onefield.tools.output import say, show
from onefield.tools.signals import StopSignals
from onefield.training.field_dataset import DEFAULT_PARAMETERS, fit_dataset


def fits_each(
    folder: Path,
    field: str,
    output: Path,
    parameters: int | None,
    steps: int | None,
    seed: int,
    resume: bool,
    json: bool,
    plain: bool,
) -> bool:
    """Fits each signal of a folder by itself, where they are signals of their own, and says what the folder is.

    Args:
        plain: nothing was asked for that single signals alone take.

    Returns:
        Whether they are.

    Raises:
        UsageError: something was.
        InterruptedRun: a signal stopped it; the fields that were done are saved.
    """
    if not holds_many_signals(folder):
        say(f"{folder}: one signal; its files are slices, or the frames of a video")
        return False
    files = signal_files(folder)
    if not plain:
        raise UsageError(
            f"{folder} holds {len(files)} signals, each of which is fitted by itself: give --steps instead of --time, "
            "and no methods, tasks, tiles or quantity."
        )
    say(f"{folder}: {len(files)} signals, each of which is fitted by itself")
    with StopSignals() as signals:
        dataset = fit_dataset(
            files,
            output,
            field,
            parameters=DEFAULT_PARAMETERS if parameters is None else parameters,
            steps=steps,
            seed=seed,
            resume=resume,
            observe=say,
            should_stop=signals.stop_asked,
        )
    if dataset is None:
        raise InterruptedRun(
            f"stopped; what was done is saved, go on by the same command with --output {output} --resume"
        )
    means = {
        name: fmean(metrics[name] for metrics in dataset.metrics)
        for name in ("psnr", "iou")
        if all(name in metrics for metrics in dataset.metrics)
    }
    count, numbers = dataset.weights.shape
    figures = "".join(f", mean {name} {value:.4g}" for name, value in means.items())
    result = {"folder": str(output), "fields": count, "parameters": numbers} | means
    show(result, json, [f"{output}: {count} fields of {numbers:,} parameters{figures}"])
    return True
