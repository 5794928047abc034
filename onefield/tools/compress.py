"""``onefield compress``: a fitted signal as a small file that decodes from its beginning on."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from onefield.errors import DataError, UsageError
from onefield.tools.output import say, show

if TYPE_CHECKING:
    from onefield.data.signals import Signal
    from onefield.training.fitted import Fitted

DEFAULT_BITS = 10.0


def run_command(
    fit: Annotated[Path, tyro.conf.Positional],
    /,
    to: Path | None = None,
    bits: float = DEFAULT_BITS,
    signal: Path | None = None,
    tuning: int | None = None,
    curve: bool = False,
    json: bool = False,
) -> None:
    """Writes a fit as a .onef file: quantised, entropy-coded, the most important bits first.

    Args:
        fit: folder that 'onefield fit' wrote, or the field.safetensors in it.
        to: file to write; NAME.onef in the fit's folder by default.
        bits: size of the file, in bits for each of the field's parameters, 1 to 16. About 10 lose hardly anything; what
            is lost is printed.
        signal: file that was fitted: what is not yet rounded then learns on from it while the rest is; worth it below
            some 7 bits.
        tuning: steps of learning on after each of three shares is rounded, 100 by default.
        curve: also write NAME-rates.html, quality by size: of files of 3 to 12 bits, and of the beginnings of this one.
        json: print the result as JSON.
    """
    from onefield.export import onef
    from onefield.files import make_folder, require_place, write_atomically
    from onefield.training.compression import TUNING_STEPS, compress, decompress, difference
    from onefield.training.fitted import load_fitted
    from onefield.training.rate_distortion import agreement

    source = fit / "field.safetensors" if fit.is_dir() else fit
    if not source.exists():
        raise DataError(f"{source} does not exist; 'onefield fit SIGNAL' writes it.")
    path = source.parent / f"{source.parent.resolve().name}{onef.SUFFIX}" if to is None else to
    if path.suffix.lower() != onef.SUFFIX:
        raise UsageError(f"--to {path} should end in {onef.SUFFIX}.")
    if tuning is not None and signal is None:
        raise UsageError("--tuning needs --signal, the file that was fitted.")
    fitted, original = load_fitted(source), None if signal is None else _samples_of(signal)
    require_place(path.parent)
    steps = TUNING_STEPS if tuning is None else tuning
    content = compress(fitted, bits=bits, signal=original, tuning=steps, observe=say)
    decoded = decompress(content, path)
    make_folder(path.parent)
    write_atomically(path, content)
    error = difference(fitted, decoded.fitted)
    result = {"file": str(path), "bytes": len(content), "bits_per_parameter": decoded.bits}
    result |= {"bit_planes": decoded.total_planes, "difference": error} | _samples(fitted, len(content))
    if original is not None:
        result["psnr"] = agreement(decoded.fitted, fitted, original)
    lines = _lines(result, fitted)
    if curve:
        result |= _curve(fitted, original, content, path, steps)
        lines.append(f"wrote {result['page']}")
    show(result, json, [*lines, f"next: onefield decompress {path}"])


def _lines(result: dict[str, object], fitted: Fitted) -> list[str]:
    error = result["difference"]
    lines = [
        f"{result['file']}: {result['bytes']:,} bytes, {result['bits_per_parameter']:.2f} bits a parameter, "
        f"{result['bit_planes']} bit planes",
        f"values differ from the fit's by {error:.4%} of their range" + _as_decibels(error),
    ]
    if "psnr" in result:
        lines.append(
            f"{result['psnr']:.2f} dB against the signal; the fit has {fitted.metrics.get('psnr', math.nan):.2f}"
        )
    if "bits_per_sample" in result:
        lines.append(f"{result['bits_per_sample']:.3f} bits for each of the signal's samples")
    return lines


def _curve(fitted: Fitted, signal: Signal | None, content: bytes, path: Path, tuning: int) -> dict[str, object]:
    """Measures quality by size, writes the page about it, and answers its numbers."""
    from onefield.files import write_atomically
    from onefield.reports.rate_report import rate_page
    from onefield.training.rate_distortion import prefix_curve, rate_curve

    files = rate_curve(fitted, signal, tuning=tuning, observe=say)
    prefixes = prefix_curve(content, fitted, signal)
    page = path.with_name(f"{path.stem}-rates.html")
    opening = [("field", fitted.recipe.field), ("kind", fitted.kind), ("the fit's own figures", _figures(fitted))]
    against = "over the signal" if signal is not None else "against the fit"
    write_atomically(page, rate_page(path.stem, opening, files, prefixes, against))
    curves = {"files": [asdict(point) for point in files], "prefixes": [asdict(point) for point in prefixes]}
    return {"page": str(page), "curves": curves}


def _figures(fitted: Fitted) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in fitted.metrics.items())


def _samples_of(path: Path) -> Signal:
    from onefield.data.signals import Signal, load_signal

    signal = load_signal(path)
    if not isinstance(signal, Signal):
        raise UsageError(f"--signal {path} is {signal.kind}, which has no samples to learn on from; leave it out.")
    return signal


def _samples(fitted: Fitted, size: int) -> dict[str, float]:
    return {"bits_per_sample": 8 * size / math.prod(fitted.shape)} if fitted.shape else {}


def _as_decibels(error: float) -> str:
    return f" ({-20 * math.log10(error):.1f} dB)" if error > 0 else ""
