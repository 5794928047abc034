"""``onefield evolve``: a shape that moves, smooths itself, or becomes another one, as a row of meshes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from onefield.errors import DataError, UsageError
from onefield.files import make_folder, require_place
from onefield.tools.output import say, show

if TYPE_CHECKING:
    from onefield.data.signals import Shape
    from onefield.training.evolution import Evolution, Law
    from onefield.types import Bounds

# Room around all that moves, as a part of the domain's half side.
_MARGIN = 1.2
_AMOUNTS = {"mean-curvature": 0.1, "translation": 0.25, "rotation": 90.0, "twist": 90.0}


def run_command(
    shape: Annotated[Path, tyro.conf.Positional],
    other: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    by: Literal["mean-curvature", "translation", "rotation", "twist", "morphing"] | None = None,
    to: Path | None = None,
    amount: float | None = None,
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0),
    frames: int = 5,
    resolution: int = 128,
    steps: int | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Teaches a field of place and time how a shape goes on, and writes meshes of it from the start to the end.

    Args:
        shape: mesh file, closed.
        other: mesh file, closed, in the same frame: what the shape becomes.
        by: law of the motion; morphing where another shape is given, else mean-curvature, which smooths and shrinks.
        to: folder to write to; evolutions/NAME by default.
        amount: how far until the end; of mean-curvature the radius of a ball that vanishes, and of translation the way
            along the axis, in diagonals of the shape's box (0.1 and 0.25 by default); of rotation degrees about the
            axis, and of twist degrees between the two ends (90 by default).
        axis: direction of translation, rotation and twist.
        frames: meshes to write, evenly over the time.
        resolution: of the meshes: cells along the domain's side.
        steps: of training; 1,000 by default.
        seed: of all random numbers.
        json: print the result as JSON.
    """
    import torch

    from onefield.fields.evolving import EvolvingField
    from onefield.training.evolution import STEPS, evolve
    from onefield.training.seeds import checked_seed

    if frames < 2:
        raise UsageError(f"An evolution has 2 or more --frames, the first and the last, got {frames}.")
    if resolution < 1:
        raise UsageError(f"Give 1 or more cells of --resolution, got {resolution}.")
    start, plan = _planned(shape, other, by, amount, axis)
    folder = require_place(Path("evolutions") / shape.stem if to is None else to)
    say(f"{shape}: {start.description}")
    torch.manual_seed(checked_seed(seed))
    field = EvolvingField(plan.domain)
    evolution = evolve(start, plan.law, field, steps=STEPS if steps is None else steps, seed=seed, observe=say)
    written = _write_frames(evolution, folder, frames, resolution)
    listed = ", ".join(f"{name} {value:.4g}" for name, value in evolution.metrics.items())
    result = {"shape": str(shape), "folder": str(folder), "meshes": [path.name for path in written]}
    show(result | evolution.metrics, json, [listed, *(f"wrote {path}" for path in written)])


def _write_frames(evolution: Evolution, folder: Path, frames: int, resolution: int) -> list[Path]:
    """Files of the meshes up to the last moment that has one."""
    from onefield.export.formats import export_mesh

    make_folder(folder)
    written = []
    for frame in range(frames):
        time = frame / (frames - 1)
        try:
            mesh = evolution.mesh_at(time, resolution)
        except DataError:
            say(f"warning: nothing is left of the shape at time {time:.2f}.")
            break
        written.append(folder / f"frame-{frame:03d}.ply")
        export_mesh(mesh, written[-1])
    return written


@dataclass(frozen=True)
class _Plan:
    """A law, and a cube that holds all of the motion."""

    law: Law
    domain: Bounds


def _planned(
    shape: Path, other: Path | None, by: str | None, amount: float | None, axis: tuple[float, float, float]
) -> tuple[Shape, _Plan]:
    from onefield.training.evolution import MeanCurvature, Morphing, rotation, translation, twist

    chosen = by or ("mean-curvature" if other is None else "morphing")
    if (chosen == "morphing") != (other is not None):
        raise UsageError("Morphing, and nothing else, needs another shape: onefield evolve A.obj B.obj.")
    far = _AMOUNTS.get(chosen, 0.0) if amount is None else amount
    length = math.hypot(*axis)
    if not (math.isfinite(far) and math.isfinite(length) and length > 0 and (chosen != "mean-curvature" or far > 0)):
        raise UsageError(f"A motion needs a finite --amount and an --axis with a direction, got {far} and {axis}.")
    start = _solid(shape)
    corners = start.mesh.vertices[start.mesh.faces.long()].reshape(-1, 3).double()
    low, high = corners.amin(0), corners.amax(0)
    diagonal, middle = float((high - low).norm()), tuple(((low + high) / 2).tolist())
    if other is not None:
        end = _solid(other)
        boxes = zip(start.domain.minimum, end.domain.minimum, strict=True)
        tops = zip(start.domain.maximum, end.domain.maximum, strict=True)
        return start, _Plan(Morphing(end), _cube([min(pair) for pair in boxes], [max(pair) for pair in tops]))
    if chosen == "mean-curvature":
        return start, _Plan(MeanCurvature((far * diagonal) ** 2 / 4), start.domain)
    if chosen == "translation":
        way = tuple(far * diagonal * part / length for part in axis)
        ends = [sorted((0.0, part)) for part in way]
        first = [bound + end[0] for bound, end in zip(low.tolist(), ends, strict=True)]
        return start, _Plan(
            translation(way), _cube(first, [b + e[1] for b, e in zip(high.tolist(), ends, strict=True)])
        )
    domain = _cube([part - diagonal / 2 for part in middle], [part + diagonal / 2 for part in middle])
    if chosen == "rotation":
        return start, _Plan(rotation(axis, math.radians(far), middle), domain)
    tall = float((corners @ corners.new_tensor(axis)).max() - (corners @ corners.new_tensor(axis)).min()) / length
    return start, _Plan(twist(axis, math.radians(far) / tall, middle), domain)


def _solid(path: Path) -> Shape:
    from onefield.data.signals import Shape, load_signal
    from onefield.training.completion_examples import is_closed

    shape = load_signal(path)
    if not isinstance(shape, Shape):
        raise DataError(f"{path} is no mesh but of kind {shape.kind}; only closed meshes evolve.")
    if not is_closed(shape):
        raise DataError(f"{path} is not closed, so that it has no inside; only closed meshes evolve.")
    return shape


def _cube(low: list[float], high: list[float]) -> Bounds:
    """About a box, with room to spare."""
    from onefield.types import Bounds

    half = _MARGIN * max(top - bottom for bottom, top in zip(low, high, strict=True)) / 2
    middle = [(bottom + top) / 2 for bottom, top in zip(low, high, strict=True)]
    return Bounds(tuple(part - half for part in middle), tuple(part + half for part in middle))
