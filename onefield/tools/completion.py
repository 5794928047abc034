"""Learning to complete points from a folder of meshes, and completing: ``onefield fit --field conv-occupancy``."""

from __future__ import annotations

from pathlib import Path

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal, load_shapes
from onefield.data.slices import Slices
from onefield.errors import InterruptedRun, UsageError
from onefield.reports.figures import duration
from onefield.tools.output import say, show
from onefield.tools.signals import StopSignals
from onefield.training.completion import WEIGHTS_FILE, closed_solids, learn_completion, load_completion
from onefield.training.fitted import Fitted
from onefield.training.recipes import COMPLETION_NAMES


def learn_from_meshes(
    meshes: Path,
    field: str,
    folder: Path,
    *,
    steps: int | None,
    seconds: float | None,
    seed: int,
    resume: bool,
    json: bool,
) -> None:
    """Learns weights from all closed meshes of a folder, says which are not, and prints figures.

    Raises:
        InterruptedRun: a signal stopped it; what was learned is saved.
    """
    solids, left_out = closed_solids(load_shapes(meshes), seed)
    for name in left_out:
        say(f"{meshes / name} is not closed and is left out")
    say(f"{meshes}: learning from {len(solids)} closed meshes, {', '.join(solid.name for solid in solids)}")
    with StopSignals() as signals:
        learned = learn_completion(
            solids,
            folder,
            field,
            steps=steps,
            seconds=seconds,
            seed=seed,
            resume=resume,
            observe=say,
            should_stop=signals.stop_asked,
        )
    step = learned.completion.step
    if learned.interrupted:
        raise InterruptedRun(
            f"stopped at step {step} and saved; go on with: onefield fit {meshes} --field {field} --output {folder} "
            "--resume"
        )
    show(
        {"folder": str(folder), "step": step, "seconds": learned.elapsed, "loss": learned.loss, "iou": learned.iou},
        json,
        [
            f"learned {step} steps in {duration(learned.elapsed)}: loss {learned.loss:.4g}, IoU {learned.iou:.4f} on "
            "examples of these meshes",
            f"wrote {folder / WEIGHTS_FILE}",
            f"next: onefield fit points.ply --field {field} --weights {folder}",
        ],
    )


def completed(signal: Signal | Shape | Points | Slices, path: Path, field: str, weights: Path, seed: int) -> Fitted:
    """The solid of a cloud of points by learned weights.

    Raises:
        UsageError: no points, or a field that has no weights.
        DataError: the weights can't be read, or give no surface.
    """
    if field != "auto" and field not in COMPLETION_NAMES:
        raise UsageError(f"--weights are of --field {' or '.join(COMPLETION_NAMES)}, not of '{field}'.")
    if not isinstance(signal, Points):
        raise UsageError(
            f"--weights complete points (PLY without faces, XYZ, NPY), but {path} is of kind {signal.kind}."
        )
    completion = load_completion(weights, None if field == "auto" else field)
    say(f"{weights}: {completion.recipe.field}, {completion.step} steps on {', '.join(completion.shapes)}")
    return completion.complete(signal, seed)
