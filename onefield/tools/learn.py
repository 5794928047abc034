"""``onefield learn``: from signals, a start for fits or one decoder; from fields, a generator or a judge of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from onefield.errors import UsageError
from onefield.files import make_folder, require_place
from onefield.tools.output import say, show

if TYPE_CHECKING:
    from onefield.data.signals import Signal

# Signals that the picture of a decoder shows, and new ones beside them.
_SHOWN = 8
_OF_FIELDS = ("diffusion", "graph")


def run_command(
    folder: Annotated[Path, tyro.conf.Positional],
    /,
    by: Literal["reptile", "maml", "gradient-origin", "diffusion", "graph"] = "reptile",
    field: str = "siren",
    steps: int | None = None,
    code: int = 32,
    output: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    json: bool = False,
) -> None:
    """Learns from a set of like signals, or of fields fitted to them.

    With reptile or maml: first weights from which a few steps fit a signal like these, for onefield fit SIGNAL
    --methods FILE. With gradient-origin: one decoder for all signals, small and of one size, from whose codes new ones
    are drawn.

    From a dataset of 8 fields or more that onefield fit FOLDER wrote: with diffusion the law of their weights, from
    which onefield generate draws new fields; with graph their labels (folders within the folder) and the quality of
    fits, which onefield predict then tells of others. A quarter of the fields is held out to test with.

    Args:
        folder: pictures, sounds, arrays or videos, all of one kind; files of meshes and points are left out. For
            diffusion and graph a dataset of fields.
        by: the way of learning, as told above.
        field: representation, such as siren or fourier; a dataset has its own.
        steps: of learning; 300 by default, 500 for gradient-origin, 1,000 for diffusion, 400 for graph.
        code: numbers that tell one signal of a gradient-origin decoder from the others.
        output: file to write to; learned/FOLDER.safetensors by default, and learned/FOLDER-diffusion.safetensors or
            -graph for a dataset. Beside a decoder or generator of pictures lies a picture.
        seed: of all random numbers.
        resume: go on with diffusion or graph where Ctrl-C stopped it.
        json: print the result as JSON.
    """
    from onefield.data.signals import load_signals
    from onefield.training.field_dataset import is_field_dataset

    path = _file_for(folder, by, output)
    if by in _OF_FIELDS:
        from onefield.tools.weight_models import learn_from_fields

        learn_from_fields(folder, by, path, steps=steps, seed=seed, resume=resume, json=json)
        return
    if resume:
        raise UsageError("--resume is for --by diffusion and --by graph.")
    if is_field_dataset(folder):
        raise UsageError(f"{folder} is a dataset of fields; learn from it --by diffusion or --by graph.")
    signals = load_signals(folder)
    require_place(path.parent)
    say(f"{folder}: {len(signals)} signals, the first is {next(iter(signals.values())).description}")
    facts: dict[str, object] = {"signals": len(signals), "field": field, "by": by}
    if by == "gradient-origin":
        written = _decoder(list(signals.values()), field, steps, code, path, seed)
    else:
        written = _start(list(signals.values()), field, by, steps, path, seed)
    lines = [f"wrote {each}" for each in written]
    if by != "gradient-origin":
        lines.append(f"fit a signal like these by: onefield fit SIGNAL --field {field} --methods {path}")
    show({"file": str(path), **facts}, json, lines)


def _file_for(folder: Path, by: str, output: Path | None) -> Path:
    name = folder.resolve().name
    path = Path("learned") / f"{f'{name}-{by}' if by in _OF_FIELDS else name}.safetensors" if output is None else output
    if path.suffix != ".safetensors":
        raise UsageError(f"--output {path} should end in .safetensors.")
    return path


def _start(signals: list[Signal], field: str, by: str, steps: int | None, path: Path, seed: int) -> list[Path]:
    """Learns and writes a start."""
    from onefield.training.meta_learning import Lessons, learn_start

    lessons = Lessons(by) if steps is None else Lessons(by, steps)
    start = learn_start(signals, field, lessons, seed=seed, observe=say)
    make_folder(path.parent)
    start.save(path)
    return [path]


def _decoder(signals: list[Signal], field: str, steps: int | None, code: int, path: Path, seed: int) -> list[Path]:
    """Learns and writes a decoder; of pictures also one picture: above signals, beneath them what their codes say, and
    below these new ones."""
    from onefield.tools.pictures import write_rows
    from onefield.training.gradient_origin import learn_gradient_origin

    asked = {} if steps is None else {"steps": steps}
    decoder = learn_gradient_origin(signals, field, code=code, seed=seed, observe=say, **asked)
    make_folder(path.parent)
    decoder.save(path)
    if signals[0].kind != "image":
        return [path]
    some = signals[:_SHOWN]
    rows = [
        [signal.values for signal in some],
        [decoder.values_of(decoder.code_of(signal)) for signal in some],
        [decoder.values_of(new) for new in decoder.drawn(len(some), seed)],
    ]
    picture = path.with_suffix(".png")
    write_rows(picture, rows)
    return [path, picture]
