"""``onefield decompress``: a .onef file, or the beginning of one, as the signal that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onefield.errors import DataError, UsageError
from onefield.tools.output import show, written_lines


def run_command(
    file: Annotated[Path, tyro.conf.Positional],
    /,
    output: Path | None = None,
    planes: int | None = None,
    partial: bool = False,
    json: bool = False,
) -> None:
    """Decodes a .onef file to the signal (a picture, sound, video, volume or mesh) and the field.

    Args:
        file: what 'onefield compress' wrote.
        output: folder to write to; decoded/NAME by default.
        planes: decode the first so many bit planes only, for a coarser signal; all by default.
        partial: decode what is there of a file that ends early, such as one that is still arriving.
        json: print the result as JSON.
    """
    from onefield.training.compression import decompress
    from onefield.training.fit_files import write_fit

    if not file.is_file():
        raise DataError(f"{file} is no file; give the .onef that 'onefield compress' wrote.")
    if planes is not None and planes < 1:
        raise UsageError(f"--planes {planes} leaves nothing to see; give 1 or more.")
    decoded = decompress(file.read_bytes(), file, planes=planes, partial=partial)
    folder = Path("decoded") / file.stem if output is None else output
    written = write_fit(decoded.fitted, folder)
    result = {"file": str(file), "folder": str(folder), "kind": decoded.fitted.kind}
    result |= {"bit_planes": decoded.planes, "of": decoded.total_planes, "bits_per_parameter": decoded.bits}
    lines = [
        f"{file}: {decoded.fitted.kind} from {decoded.planes} of {decoded.total_planes} bit planes, "
        f"{decoded.bits:.2f} bits a parameter",
        *written_lines(written),
    ]
    show(result, json, lines)
