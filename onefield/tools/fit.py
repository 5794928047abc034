"""``onefield fit``: an image, a sound, a video, a volume, a shape or a cloud of points as a field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onefield.tools.output import say, seconds_of, show


def run_command(
    signal: Annotated[Path, tyro.conf.Positional],
    /,
    field: str = "auto",
    steps: int | None = None,
    time: str | None = None,
    output: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Fits a signal and writes the reconstruction, the difference and the field.

    Args:
        signal: PNG, JPEG, WAV, MP4, NPY, a mesh file, or points (PLY, XYZ, or NPY with 3 or 6 columns).
        field: representation, such as siren or hash, or flexicubes for a mesh; auto takes one that suits the signal.
        steps: training steps.
        time: training time instead, such as 30s or 2m.
        output: folder to write to; fits/NAME by default.
        seed: of all random numbers.
        json: print the result as JSON.
    """
    from onefield.data.signals import load_signal
    from onefield.training.fit import fit
    from onefield.training.fit_files import write_fit

    loaded = load_signal(signal)
    say(f"{signal}: {loaded.description}")
    fitted = fit(loaded, field, steps=steps, seconds=None if time is None else seconds_of(time), seed=seed, observe=say)
    folder = Path("fits") / signal.stem if output is None else output
    written = write_fit(fitted, folder, loaded)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in fitted.metrics.items())
    show(
        {"signal": str(signal), "folder": str(folder), **fitted.metrics},
        json,
        [figures, *(f"wrote {path}" for path in written)],
    )
