"""``onefield learn``: from a folder of signals, a start that fits new ones quickly, or one decoder for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from onefield.tools.output import say, show

if TYPE_CHECKING:
    from onefield.data.signals import Signal

# Signals that the picture of a decoder shows, and new ones beside them.
_SHOWN = 8


def run_command(
    folder: Annotated[Path, tyro.conf.Positional],
    /,
    by: Literal["reptile", "maml", "gradient-origin"] = "reptile",
    field: str = "siren",
    steps: int | None = None,
    code: int = 32,
    output: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Learns from a set of like signals.

    With reptile or maml: first weights from which a few steps fit a signal like these, for onefield fit SIGNAL
    --methods FILE. With gradient-origin: one decoder for all signals, small and of one size, from whose codes new ones
    are drawn.

    Args:
        folder: pictures, sounds, arrays or videos, all of one kind; files of meshes and points are left out.
        by: how.
        field: representation, such as siren or fourier.
        steps: of learning; 300 by default, 500 for gradient-origin.
        code: numbers that tell one signal of a gradient-origin decoder from the others.
        output: file to write to; learned/FOLDER.safetensors by default. Beside a decoder of pictures lies a picture.
        seed: of all random numbers.
        json: print the result as JSON.
    """
    from onefield.data.signals import load_signals

    path = Path("learned") / f"{folder.name}.safetensors" if output is None else output
    signals = load_signals(folder)
    say(f"{folder}: {len(signals)} signals, the first is {next(iter(signals.values())).description}")
    facts: dict[str, object] = {"signals": len(signals), "field": field, "by": by}
    written = [path]
    if by == "gradient-origin":
        written += _decoder(list(signals.values()), field, steps, code, path, seed)
    else:
        from onefield.training.meta_learning import Lessons, learn_start

        lessons = Lessons(by) if steps is None else Lessons(by, steps)
        learn_start(list(signals.values()), field, lessons, seed=seed, observe=say).save(path)
    lines = [f"wrote {each}" for each in written]
    if by != "gradient-origin":
        lines.append(f"fit a signal like these by: onefield fit SIGNAL --field {field} --methods {path}")
    show({"file": str(path), **facts}, json, lines)


def _decoder(signals: list[Signal], field: str, steps: int | None, code: int, path: Path, seed: int) -> list[Path]:
    """Learns and writes a decoder; of pictures also one picture: above signals, beneath them what their codes say, and
    below these new ones."""
    import torch

    from onefield.data.images import write_image
    from onefield.training.gradient_origin import learn_gradient_origin

    asked = {} if steps is None else {"steps": steps}
    decoder = learn_gradient_origin(signals, field, code=code, seed=seed, observe=say, **asked)
    decoder.save(path)
    if signals[0].kind != "image":
        return []
    some = signals[:_SHOWN]
    rows = [
        [signal.values for signal in some],
        [decoder.values_of(decoder.code_of(signal)) for signal in some],
        [decoder.values_of(new) for new in decoder.drawn(len(some), seed)],
    ]
    picture = path.with_suffix(".png")
    write_image(picture, torch.cat([torch.cat(row, dim=1) for row in rows]))
    return [picture]
