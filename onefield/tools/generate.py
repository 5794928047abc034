"""``onefield generate``: new fields like those of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from onefield.errors import DataError, UsageError
from onefield.tools.output import say, show

if TYPE_CHECKING:
    from onefield.training.fitted import Fitted

# Pictures a row of the one that shows all.
_ACROSS = 8


def run_command(
    model: Annotated[Path, tyro.conf.Positional],
    /,
    count: int = 8,
    output: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Draws new fields and writes each as a fit: the field and the signal that it is.

    Args:
        model: file that 'onefield learn DATASET --by diffusion' wrote.
        count: how many fields.
        output: folder to write to, a folder a field in it; generated/NAME by default. Pictures are also shown side by
            side in generated.png; meshes each in preview.png.
        seed: of all random numbers.
        json: print the result as JSON.
    """
    from onefield.training.weight_space.generator import load_field_generator

    if count < 1:
        raise UsageError(f"--count {count} draws nothing; give 1 or more.")
    generator = load_field_generator(model)
    folder = Path("generated") / model.stem if output is None else output
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; give another --output.")
    say(f"{model}: the law of {generator.fields} fields, '{generator.start.recipe.field}', {generator.start.kind}")
    drawn = generator.drawn(count, seed)
    whole = 0
    for number, fitted in enumerate(drawn):
        whole += _write(fitted, folder / f"{number:0{len(str(count - 1))}d}")
    lines = [f"{folder}: {count} fields" + (f", {count - whole} of them without a surface" if whole < count else "")]
    if generator.start.kind == "image":
        lines.append(f"wrote {_picture(drawn, folder)}")
    show({"folder": str(folder), "fields": count, "kind": generator.start.kind, "whole": whole}, json, lines)


def _write(fitted: Fitted, folder: Path) -> bool:
    """Writes a field and its signal; whether it has one, which fields of shapes may lack."""
    from onefield.export.formats import read_mesh
    from onefield.tools.pictures import write_mesh_picture
    from onefield.training.fit_files import write_fit

    try:
        written = write_fit(fitted, folder)
    except DataError as error:
        say(f"{folder}: {error}")
        return False
    if written[-1].suffix == ".ply":
        write_mesh_picture(folder / "preview.png", read_mesh(written[-1]))
    return True


def _picture(drawn: list[Fitted], folder: Path) -> Path:
    """All of them side by side, rows filled up with the darkest value."""
    import torch

    from onefield.tools.pictures import write_rows
    from onefield.tools.weight_models import as_picture

    pictures = [as_picture(fitted) for fitted in drawn]
    across = min(_ACROSS, len(pictures))
    pictures += [torch.zeros_like(pictures[0])] * (-len(pictures) % across)
    path = folder / "generated.png"
    write_rows(path, [pictures[first : first + across] for first in range(0, len(pictures), across)])
    return path
