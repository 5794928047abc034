"""Fits as small files: numbers quantised by how much they matter, entropy-coded, the most important bits first.

Numbers are rounded to multiples of a step of their tensor's own. Were rounding errors independent, a tensor of n
numbers with step d would add ``n s d^2 / 12`` to the mean squared error of the values, where s is the mean square of
their derivatives by its numbers; for a given rate the sum is least where ``s d^2`` is the same for all tensors (reverse
water-filling, Cover and Thomas 2006, section 10.3.3). Hence ``d = q / sqrt(s)``, and one number q sets the quality.
With these steps the k-th bit from the end of every number matters alike, so bit planes of all tensors together are the
order of importance, and each prefix of them is a coarser field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import DataError, UsageError
from onefield.export import onef
from onefield.export.bit_planes import MOST_PLANES, decode_planes, encode_planes, packed, plane_count, unpacked
from onefield.fields.field import Field
from onefield.training.fitted import Fitted, rebuilt

LEAST_BITS, MOST_BITS = 1.0, 16.0
# Places and random signs by which derivatives are measured; with them steps are right to a few percent.
_PLACES, _PROBES = 2**12, 8
# Places at which fits are compared.
_COMPARED = 2**14
# Times that the quality is corrected by the size found; an octave of it costs a bit or less, so that they approach.
_CORRECTIONS = 4
# Bits of a normal law's number in steps of its deviation: log2(sqrt(2 pi e)).
_NORMAL_BITS = 0.5 * math.log2(2 * math.pi * math.e)


@dataclass(frozen=True)
class Decoded:
    """A fit from a file.

    Attributes:
        fitted: the field, as fine as the planes allow.
        planes, total_planes: how many bit planes it was decoded from, and how many there are.
        bits: size of the decoded part of the file, in bits a parameter.
    """

    fitted: Fitted
    planes: int
    total_planes: int
    bits: float


def compress(fitted: Fitted, *, bits: float = 8.0, seed: int = 0) -> bytes:
    """The content of an ``.onef`` file.

    Args:
        fitted: with a field that a recipe built.
        bits: of the file for each parameter of the field, header and all, 1 to 16; what is written is as near as it can
            be (a small network's file holds more than its parameters).
        seed: of the places at which derivatives are measured.

    Raises:
        UsageError: bits out of range, or a field of the caller's own.
        DataError: parameters that are not finite.
    """
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise UsageError(f"A parameter takes {LEAST_BITS:g} to {MOST_BITS:g} bits, got {bits:g}.")
    facts = replace(fitted, metrics={}).facts()
    learned = dict(_learned(fitted.field))
    for name, parameter in learned.items():
        if not torch.isfinite(parameter).all():
            raise DataError(f"The fit's '{name}' has numbers that are not finite; fit the signal again.")
    values = [p.detach().double().flatten().numpy() for p in learned.values()]
    exact = [t.contiguous().numpy().tobytes() for n, t in fitted.field.state_dict().items() if n not in learned]
    weights = np.sqrt(_sensitivities(fitted, seed))
    count = sum(len(tensor) for tensor in values)
    spreads = np.array(
        [np.log2(w * math.sqrt(np.square(v).mean()) or 1.0) for v, w in zip(values, weights, strict=True)]
    )
    quality = np.average(spreads, weights=[len(v) for v in values]) + _NORMAL_BITS - bits
    content = b""
    for _ in range(_CORRECTIONS):
        steps, numbers = _quantised(values, weights, 2**quality)
        beginning = steps.astype("<f4").tobytes() + b"".join(exact)
        facts["planes"] = plane_count(numbers)
        content = onef.encode(facts, [packed(beginning), *encode_planes(numbers)])
        quality += 8 * len(content) / count - bits
    return content


def decompress(content: bytes, path: str | Path, *, planes: int | None = None, partial: bool = False) -> Decoded:
    """A fit from a file's content, or from the beginning of it.

    Args:
        path: the file's name, for messages.
        planes: decode the first so many bit planes only; None takes all that there are.
        partial: take the planes that are there, where the content ends early.

    Raises:
        UsageError: more planes than there are.
        DataError: no such file, damaged, of a newer version, or cut short.
    """
    held = onef.decode(content, Path(path), partial)
    fitted = rebuilt({"metrics": {}} | held.facts, path)
    total, there = held.part_count - 1, len(held.parts) - 1
    if held.facts.get("planes") != total:
        raise DataError(f"{path} names {held.facts.get('planes')} bit planes, but holds {total}; write it anew.")
    if planes is not None and not 0 <= planes <= there:
        raise UsageError(f"{path} has {there} bit planes, got {planes} to decode.")
    taken = held.parts[: 1 + (there if planes is None else planes)]
    field = fitted.field
    try:
        field.load_state_dict(_state(field, taken, total))
    except (DataError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} does not fit a field of '{fitted.recipe.field}': {error}.") from error
    bits = 8 * held.ends[len(taken) - 1] / sum(p.numel() for _, p in _learned(field))
    return Decoded(fitted, len(taken) - 1, total, bits)


def _learned(field: Field) -> list[tuple[str, Tensor]]:
    """Numbers that training found, in the order of the field's state; all others are kept exactly."""
    grouped = {id(p) for members in field.parameter_groups().values() for p in members}
    stored = field.state_dict()
    return [(name, p) for name, p in field.named_parameters() if id(p) in grouped and name in stored]


def _state(field: Field, parts: tuple[bytes, ...], total: int) -> dict[str, Tensor]:
    """All tensors of a field, from the parts of a file."""
    learned, stored = dict(_learned(field)), field.state_dict()
    exact = {name: tensor for name, tensor in stored.items() if name not in learned}
    start = 4 * len(learned)
    beginning = unpacked(parts[0], start + sum(t.numel() * t.element_size() for t in exact.values()))
    steps = np.frombuffer(beginning, "<f4", len(learned)).astype(np.float64)
    if not (np.isfinite(steps) & (steps > 0)).all():
        raise DataError("a step is not positive")
    counts = [p.numel() for p in learned.values()]
    numbers = np.split(decode_planes(parts[1:], total, sum(counts)), np.cumsum(counts)[:-1])
    state = {}
    for (name, parameter), step, whole in zip(learned.items(), steps, numbers, strict=True):
        state[name] = torch.from_numpy(whole * step).to(parameter.dtype).reshape(parameter.shape)
    for name, tensor in exact.items():
        end = start + tensor.numel() * tensor.element_size()
        content = bytearray(beginning[start:end])
        state[name] = torch.frombuffer(content, dtype=tensor.dtype).reshape(tensor.shape) if content else tensor
        start = end
    return state


def _sensitivities(fitted: Fitted, seed: int) -> np.ndarray:
    """Mean square of the values' derivatives by the numbers of each tensor, in units of the target's scale.

    The square of a sum with random signs has the sum of squares as its mean (Hutchinson 1990).
    """
    generator = torch.Generator().manual_seed(seed)
    name, parameters = fitted.target.quantity, [p for _, p in _learned(fitted.field)]
    points = fitted.target.domain.from_unit(torch.rand(_PLACES, fitted.target.domain.dimension, generator=generator))
    sums = np.zeros(len(parameters))
    for part in points.chunk(_PROBES):
        values: Float[Tensor, "n *c"] = getattr(fitted.field.query(part, want=(name,)), name) / fitted.target.scale
        signs = 2.0 * torch.randint(0, 2, values.shape, generator=generator) - 1
        slopes = torch.autograd.grad((values * signs).sum(), parameters, allow_unused=True)
        for index, slope in enumerate(slopes):
            if slope is not None:
                sums[index] += slope.double().square().mean().item() / (values.numel() * _PROBES)
    # what no value depends on is rounded as coarsely as what they depend on least
    used = sums[sums > 0]
    return np.where(sums > 0, sums, used.min() if len(used) else 1.0)


def _quantised(values: list[np.ndarray], weights: np.ndarray, quality: float) -> tuple[np.ndarray, np.ndarray]:
    """The steps ``quality / weights`` of all tensors, and their numbers in one row in these steps."""
    # float32 holds no finer ones; a tensor of zeros has any step
    finest = [max(np.abs(v).max(initial=0), np.finfo(np.float32).tiny) / (1 << (MOST_PLANES - 1)) for v in values]
    steps = np.maximum(quality / weights, finest).astype(np.float32).astype(np.float64)
    return steps, np.concatenate([np.rint(v / step) for v, step in zip(values, steps, strict=True)]).astype(np.int64)


@torch.no_grad()
def difference(fitted: Fitted, other: Fitted, seed: int = 0) -> float:
    """Root mean square difference of two fits' values over the domain, in parts of the target's whole range."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(_COMPARED, fitted.target.domain.dimension, generator=generator)
    points = fitted.target.domain.from_unit(places)
    # the scale is half the range
    return (fitted(points) - other(points)).double().square().mean().sqrt().item() / (2 * fitted.target.scale)
