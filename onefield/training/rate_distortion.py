"""How good a fit's file is at each size, and at each prefix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onefield.data.signals import Signal
from onefield.training.compression import TUNING_STEPS, Decoded, compress, decompress, difference
from onefield.training.fitted import Fitted
from onefield.training.metrics import psnr

# Bits a parameter of the files of a curve: from where little is left to where hardly anything is lost.
CURVE_BITS = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
# In messages, of files that are in memory alone.
_NAME = "a file of the curve"


@dataclass(frozen=True)
class RatePoint:
    """One file, or the beginning of one.

    Attributes:
        size: bytes.
        bits: a parameter, header and all.
        planes: bit planes that were decoded.
        psnr: dB, see `agreement`.
    """

    size: int
    bits: float
    planes: int
    psnr: float


def agreement(decoded: Fitted, fitted: Fitted, signal: Signal | None) -> float:
    """PSNR in dB: over a signal's known samples, with its range as peak, or, without one, against the uncompressed fit
    over the domain, with twice its target's scale as peak."""
    if signal is not None:
        known = signal.known()
        return psnr(decoded.reconstruction().reshape(-1, signal.channels)[known], signal.at(known), signal.value_range)
    error = difference(fitted, decoded)
    return -20 * math.log10(error) if error > 0 else math.inf


def rate_curve(
    fitted: Fitted,
    signal: Signal | None = None,
    *,
    bits: Sequence[float] = CURVE_BITS,
    tuning: int = TUNING_STEPS,
    observe: Callable[[str], None] | None = None,
) -> list[RatePoint]:
    """Files of several sizes, smallest first.

    Args:
        signal: that was fitted; numbers learn on from it while others are rounded, and files are held against it.
        bits: a parameter, of each file, as for `compress`.
        tuning: as for `compress`.
        observe: is told of each file.

    Raises:
        UsageError: as `compress`.
    """
    found = []
    for each in sorted(bits):
        content = compress(fitted, bits=each, signal=signal, tuning=tuning)
        found.append(_point(decompress(content, _NAME), fitted, signal))
        if observe is not None:
            observe(f"{each:g} bits a parameter: {len(content):,} bytes, {found[-1].psnr:.2f} dB")
    return found


def prefix_curve(content: bytes, fitted: Fitted, signal: Signal | None = None) -> list[RatePoint]:
    """What a file shows when it has arrived as far as each of its planes, coarse to fine."""
    total = decompress(content, _NAME).total_planes
    return [_point(decompress(content, _NAME, planes=planes), fitted, signal) for planes in range(total + 1)]


def _point(decoded: Decoded, fitted: Fitted, signal: Signal | None) -> RatePoint:
    return RatePoint(decoded.size, decoded.bits, decoded.planes, agreement(decoded.fitted, fitted, signal))
