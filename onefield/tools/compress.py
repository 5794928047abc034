"""``onefield compress``: a fitted signal as a small file that decodes from its beginning on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from onefield.errors import DataError, UsageError
from onefield.tools.output import show

if TYPE_CHECKING:
    from onefield.training.fitted import Fitted

DEFAULT_BITS = 10.0


def run_command(
    fit: Annotated[Path, tyro.conf.Positional],
    /,
    to: Path | None = None,
    bits: float = DEFAULT_BITS,
    json: bool = False,
) -> None:
    """Writes a fit as a .onef file: quantised, entropy-coded, the most important bits first.

    Args:
        fit: folder that 'onefield fit' wrote, or the field.safetensors in it.
        to: file to write; NAME.onef in the fit's folder by default.
        bits: size of the file, in bits for each of the field's parameters, 1 to 16. About 10 lose hardly anything; what
            is lost is printed.
        json: print the result as JSON.
    """
    from onefield.export import onef
    from onefield.files import write_atomically
    from onefield.training.compression import compress, decompress, difference
    from onefield.training.fitted import load_fitted

    source = fit / "field.safetensors" if fit.is_dir() else fit
    if not source.exists():
        raise DataError(f"{source} does not exist; 'onefield fit SIGNAL' writes it.")
    path = source.parent / f"{source.parent.resolve().name}{onef.SUFFIX}" if to is None else to
    if path.suffix.lower() != onef.SUFFIX:
        raise UsageError(f"--to {path} should end in {onef.SUFFIX}.")
    fitted = load_fitted(source)
    content = compress(fitted, bits=bits)
    decoded = decompress(content, path)
    write_atomically(path, content)
    error = difference(fitted, decoded.fitted)
    result = {"file": str(path), "bytes": len(content), "bits_per_parameter": decoded.bits}
    result |= {"bit_planes": decoded.total_planes, "difference": error} | _samples(fitted, len(content))
    lines = [
        f"{path}: {len(content):,} bytes, {decoded.bits:.2f} bits a parameter, {decoded.total_planes} bit planes",
        f"values differ from the fit's by {error:.4%} of their range" + _as_decibels(error),
    ]
    if "bits_per_sample" in result:
        lines.append(f"{result['bits_per_sample']:.3f} bits for each of the signal's samples")
    show(result, json, [*lines, f"next: onefield decompress {path}"])


def _samples(fitted: Fitted, size: int) -> dict[str, float]:
    return {"bits_per_sample": 8 * size / math.prod(fitted.shape)} if fitted.shape else {}


def _as_decibels(error: float) -> str:
    return f" ({-20 * math.log10(error):.1f} dB)" if error > 0 else ""
