"""``onefield fit``: a picture, a sound, a video, a volume, a shape, points or slices as a field; or meshes to learn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from onefield.errors import UsageError
from onefield.files import require_place
from onefield.tools.output import say, seconds_of, show, written_lines
from onefield.tools.task_options import NO_TASK, TaskOptions

if TYPE_CHECKING:
    from onefield.data.points import Points
    from onefield.data.signals import Shape, Signal
    from onefield.data.slices import Slices
    from onefield.data.tiled_images import TiledImage
    from onefield.training.fitted import Fitted


@dataclass(frozen=True)
class CompletionOptions:
    """Learning from meshes, and completing points by what was learned.

    Attributes:
        weights: what a collection of meshes taught (onefield fit MESHES --field conv-occupancy), to complete points by:
            that run's folder, such as fits/MESHES, or the file in it.
        resume: go on where the output folder ends, with the signals of a folder or learning from meshes.
    """

    weights: Path | None = None
    resume: bool = False


@dataclass(frozen=True)
class Effort:
    """How large a field is, and how long it is trained.

    Attributes:
        parameters: makes the field as large as so many numbers allow (3000 for signals of a folder); the
            representation's own size by default.
        steps: training steps; the representation's own number by default.
        time: training time instead, such as 30s or 2m.
    """

    parameters: int | None = None
    steps: int | None = None
    time: str | None = None

    @property
    def seconds(self) -> float | None:
        """The time as a number."""
        return None if self.time is None else seconds_of(self.time)


NO_COMPLETION = CompletionOptions()
USUAL_EFFORT = Effort()


def run_command(
    signal: Annotated[Path, tyro.conf.Positional],
    /,
    field: str = "auto",
    methods: tuple[str, ...] = (),
    output: Path | None = None,
    seed: int = 0,
    tile: int | None = None,
    quantity: Literal["distance", "occupancy"] | None = None,
    up: Literal["x", "-x", "y", "-y", "z", "-z"] = "z",
    json: bool = False,
    effort: Annotated[Effort, tyro.conf.arg(name="")] = USUAL_EFFORT,
    learned: Annotated[CompletionOptions, tyro.conf.arg(name="")] = NO_COMPLETION,
    asked: Annotated[TaskOptions, tyro.conf.arg(name="")] = NO_TASK,
) -> None:
    """Fits a signal and writes the reconstruction, the difference and the field; or learns from a collection of meshes.

    Args:
        signal: PNG, JPEG, WAV, MP4, NPY, a mesh file, points (PLY, XYZ, or NPY with 3 or 6 columns), or slices (CSL,
            JSON, NIfTI, or a folder of SVG or DICOM files or with slices.json); a folder of meshes to learn from, or of
            signals, each fitted by itself (numbered pictures of one size are a video; folders in it are labels).
        field: representation, such as siren or hash; functional-cp, functional-tt and functional-tucker also with other
            networks on the axes, as functional-tt:finer or functional-cp:siren+siren+gaussian; bayesian-tucker for
            values with their deviation; flexicubes and adaptive-flexicubes (large faces where flat) for meshes, csp for
            open surfaces, grid or orex for slices, conv-occupancy or conv-occupancy-volume for points and folders of
            meshes, poisson for points by Open3D; auto takes a fitting one.
        methods: ways of fitting that go with any field: coarse-to-fine, fresh (frequencies from the signal's spectrum),
            iga (what is learned slowly as fast as the rest), iterative (answers that are refined step by step), s3im,
            singularities (wavelets of band-split begin at edges), teaching (what is most wrong), total-variation
            (smooth where samples leave it open), variance (first weights that keep it), or a file of first weights
            from onefield learn.
        output: folder to write to; fits/NAME by default.
        seed: of all random numbers.
        tile: read a picture larger than memory (NPY, TIFF without compression) by tiles of this side, such as 512.
        quantity: of a mesh, that the field should answer: signed distance by default, or occupancy (1 inside).
        up: axis that is up in preview.png, such as --up=y for most OBJ files; GLB is read z up.
        json: print the result as JSON.
        effort: of size and time.
        learned: of what folders of meshes taught.
        asked: of what is not all there.
    """
    from onefield.tools.completion import completed
    from onefield.training.fit import fit

    folder = _usual_folder(signal) if output is None else output
    task = asked.chosen()
    if _fit_folder(signal, field, folder, effort, seed, learned, json, not (methods or task or tile or quantity)):
        return
    loaded = _loaded(signal, tile, quantity)
    say(f"{signal}: {loaded.description}")
    require_place(folder)
    if learned.weights is not None and (methods or task is not None):
        raise UsageError("Points are completed without training, so that --weights goes without methods and tasks.")
    if learned.weights is not None:
        fitted = completed(loaded, signal, field, learned.weights, seed)
    else:
        taken = {"steps": effort.steps, "seconds": effort.seconds, "parameters": effort.parameters}
        fitted = fit(loaded, field, methods=methods, seed=seed, task=task, observe=say, **taken)
    _write(fitted, loaded, signal, folder, up, json)


def _usual_folder(signal: Path) -> Path:
    return Path("fits") / (signal.resolve().name if signal.is_dir() else signal.stem)


def _loaded(path: Path, tile: int | None, quantity: str | None) -> Signal | TiledImage | Shape | Points | Slices:
    from onefield.data.signals import Shape, load_signal
    from onefield.data.tiled_images import open_tiled

    loaded = load_signal(path) if tile is None else open_tiled(path, tile)
    if quantity is None:
        return loaded
    if not isinstance(loaded, Shape):
        raise UsageError(f"--quantity is of meshes, but {path} is {loaded.description}; leave it out.")
    return replace(loaded, quantity=quantity)


def _fit_folder(
    signals: Path,
    field: str,
    output: Path,
    effort: Effort,
    seed: int,
    learned: CompletionOptions,
    json: bool,
    plain: bool,
) -> bool:
    """Learns from a folder of meshes, or fits each signal of a folder; whether it is such a folder."""
    from onefield.tools.completion import learn_from_meshes
    from onefield.tools.field_dataset import fits_each
    from onefield.training.recipes import COMPLETION_NAMES

    resume, many, seconds = learned.resume, signals.is_dir() and learned.weights is None, effort.seconds
    if many and field in COMPLETION_NAMES:
        if effort.parameters is not None:
            raise UsageError(f"'{field}' has a size of its own; leave out --parameters.")
        learn_from_meshes(
            signals, field, output, steps=effort.steps, seconds=seconds, seed=seed, resume=resume, json=json
        )
    elif many and fits_each(
        signals, field, output, effort.parameters, effort.steps, seed, resume, json, plain and seconds is None
    ):
        return True
    elif resume:
        raise UsageError("--resume is for folders of many signals, or of meshes by --field conv-occupancy.")
    return many and field in COMPLETION_NAMES


def _written(fitted: Fitted, loaded: Signal | TiledImage | Shape | Points | Slices, folder: Path) -> list[Path]:
    from onefield.data.tiled_images import TiledImage
    from onefield.files import make_folder
    from onefield.training.fit_files import write_fit
    from onefield.training.fit_tiles import write_tiles

    if not isinstance(loaded, TiledImage):
        return write_fit(fitted, folder, loaded)
    written = [make_folder(folder) / "field.safetensors", folder / "reconstruction.npy"]
    fitted.save(written[0])
    write_tiles(fitted, loaded, written[1], say)
    return written


def _write(
    fitted: Fitted,
    loaded: Signal | TiledImage | Shape | Points | Slices,
    signal: Path,
    folder: Path,
    up: str,
    json: bool,
) -> None:
    """Writes a fit, and prints its figures and what was written."""
    from onefield.data.slices import Slices

    written = _written(fitted, loaded, folder)
    figures, said = dict(fitted.metrics), []
    if isinstance(loaded, Slices) or fitted.target.quantity == "closest_point":
        report, said = _surface(written[-1], loaded if isinstance(loaded, Slices) else None, up)
        figures |= report
        written.append(written[-1].with_name("preview.png"))
    listed = ", ".join(f"{name} {value:.4g}" for name, value in fitted.metrics.items())
    show(
        {"signal": str(signal), "folder": str(folder), **figures},
        json,
        [listed, *said, *written_lines(written)],
    )


def _surface(path: Path, slices: Slices | None, up: str) -> tuple[dict[str, object], list[str]]:
    """Figures of a written mesh, for machines and people, beside its slices if it has any; draws a picture of it."""
    from onefield.export.formats import read_mesh
    from onefield.meshing.report import report_mesh
    from onefield.tools.pictures import write_mesh_picture
    from onefield.training.slices import contour_errors

    mesh = read_mesh(path)
    write_mesh_picture(path.with_name("preview.png"), mesh, up=up)
    report = report_mesh(mesh)
    if slices is None:
        return {"mesh": report.as_json()}, report.lines()
    mean, worst = contour_errors(slices, mesh)
    lines = [
        *report.lines(),
        f"volume {report.volume:.6g} in cubic units of the slices",
        f"contours off the surface by {mean:.3%} of the diagonal in the mean, {worst:.2%} at most",
    ]
    return {"contour_mean": mean, "contour_worst": worst, "mesh": report.as_json()}, lines
