"""``onefield fit``: an image, a sound, a video, a volume, a shape, points or slices as a field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from onefield.tools.output import say, seconds_of, show

if TYPE_CHECKING:
    from onefield.data.slices import Slices


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
        signal: PNG, JPEG, WAV, MP4, NPY, a mesh file, points (PLY, XYZ, or NPY with 3 or 6 columns), or slices (CSL,
            JSON, NIfTI, or a folder of SVG or DICOM files or with slices.json).
        field: representation, such as siren or hash, flexicubes for a mesh, grid or orex for slices; auto takes one
            that suits the signal.
        steps: training steps.
        time: training time instead, such as 30s or 2m.
        output: folder to write to; fits/NAME by default.
        seed: of all random numbers.
        json: print the result as JSON.
    """
    from onefield.data.signals import load_signal
    from onefield.data.slices import Slices
    from onefield.training.fit import fit
    from onefield.training.fit_files import write_fit

    loaded = load_signal(signal)
    say(f"{signal}: {loaded.description}")
    fitted = fit(loaded, field, steps=steps, seconds=None if time is None else seconds_of(time), seed=seed, observe=say)
    folder = Path("fits") / signal.stem if output is None else output
    written = write_fit(fitted, folder, loaded)
    figures, said = dict(fitted.metrics), []
    if isinstance(loaded, Slices):
        report, said = _solid(written[-1], loaded)
        figures |= report
        written.append(written[-1].with_name("preview.png"))
    listed = ", ".join(f"{name} {value:.4g}" for name, value in fitted.metrics.items())
    show(
        {"signal": str(signal), "folder": str(folder), **figures},
        json,
        [listed, *said, *(f"wrote {path}" for path in written)],
    )


def _solid(path: Path, slices: Slices) -> tuple[dict[str, object], list[str]]:
    """Figures of a written mesh beside its slices, for machines and people; draws a picture of it."""
    from onefield.export.formats import read_mesh
    from onefield.meshing.report import report_mesh
    from onefield.tools.pictures import write_mesh_picture
    from onefield.training.slices import contour_errors

    mesh = read_mesh(path)
    write_mesh_picture(path.with_name("preview.png"), mesh)
    report = report_mesh(mesh)
    mean, worst = contour_errors(slices, mesh)
    lines = [
        *report.lines(),
        f"volume {report.volume:.6g} in cubic units of the slices",
        f"contours off the surface by {mean:.3%} of the diagonal in the mean, {worst:.2%} at most",
    ]
    return {"contour_mean": mean, "contour_worst": worst, "mesh": report.as_json()}, lines
