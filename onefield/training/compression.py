"""Fits as small files: numbers quantised by how much they matter, entropy-coded, the most important bits first.

Numbers are rounded to multiples of a step of their tensor's own. Were rounding errors independent, a tensor of n
numbers with step d would add ``n s d^2 / 12`` to the mean squared error of the values, where s is the mean square of
their derivatives by its numbers; for a given rate the sum is least where ``s d^2`` is the same for all tensors (reverse
water-filling, Cover and Thomas 2006, section 10.3.3). Hence ``d = q / sqrt(s)``, and one number q sets the quality.
With these steps the k-th bit from the end of every number matters alike, so bit planes of all tensors together are the
order of importance, and each prefix of them is a coarser field.

The numbers of small fields are rounded together, see `joint_rounding`, and s is then what is left of a derivative where
others make up for the change. Where the signal is at hand, they are rounded in shares, and those that are not yet
rounded go on learning from it (Zhou et al. 2017, "Incremental network quantization").
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.signals import Signal
from onefield.errors import DataError, UsageError
from onefield.export import onef
from onefield.export.bit_planes import MOST_PLANES, coded_size, decode_planes, encode_planes, plane_counts
from onefield.export.range_coder import coder_library
from onefield.fields.field import Field
from onefield.training.field_function import field_function
from onefield.training.fit_methods import FitParts
from onefield.training.fit_samples import SignalSamples
from onefield.training.fit_steps import FitBudget, train
from onefield.training.fitted import Fitted, rebuilt
from onefield.training.joint_rounding import Curvature, curvature_of
from onefield.training.seeds import cpu_generator

LEAST_BITS, MOST_BITS = 1.0, 16.0
# Places and random signs by which derivatives are measured; with them steps are right to a few percent.
_PLACES, _PROBES = 2**12, 8
# Places at which fits are compared.
_COMPARED = 2**14
# Times that the quality is corrected by the size found; an octave of it costs a bit or less, so that they approach.
_CORRECTIONS = 6
_ENCODINGS = 2
# Parts of an octave in which steps are told.
_FINENESS = 16
# How a tensor is told: its step's octaves in these parts, and its planes.
_TOLD = np.dtype([("octaves", "<i2"), ("planes", "u1")])
# Bytes of planes that are worth a part of their own, whose frame takes some six.
_LEAST_PART = 64
# Share of a recipe's learning rates with which what is not yet rounded goes on learning, and steps after each share of
# all numbers that was rounded.
_TUNING_RATE = 0.3
TUNING_STEPS = 100
_FIXED_SHARES = (0.5, 0.75, 0.875)
# Bits of a normal law's number in steps of its deviation: log2(sqrt(2 pi e)).
_NORMAL_BITS = 0.5 * math.log2(2 * math.pi * math.e)


@dataclass(frozen=True)
class Decoded:
    """A fit from a file.

    Attributes:
        fitted: the field, as fine as the planes allow.
        planes, total_planes: how many bit planes it was decoded from, and how many there are.
        size: bytes of the decoded part of the file.
        bits: the same, in bits a parameter.
    """

    fitted: Fitted
    planes: int
    total_planes: int
    size: int
    bits: float


def compress(
    fitted: Fitted,
    *,
    bits: float = 8.0,
    signal: Signal | None = None,
    tuning: int = TUNING_STEPS,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
) -> bytes:
    """The content of an ``.onef`` file.

    Args:
        fitted: with a field that a recipe built.
        bits: of the file for each parameter of the field, header and all, 1 to 16; what is written is as near as it can
            be (a small network's file holds more than its parameters).
        signal: that was fitted; numbers are then rounded in shares, and those of a copy of the field that are not yet
            rounded learn on from it. Worth it below some 7 bits.
        tuning: steps of learning on after each of three shares.
        seed: of the places at which derivatives are measured, and of the samples of the tuning.
        observe: is told how far the tuning is.

    Raises:
        UsageError: bits out of range, a field of the caller's own, or a signal other than the fit's.
        DataError: parameters that are not finite.
        ResourceError: constriction is not installed.
    """
    coder_library()
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise UsageError(f"A parameter takes {LEAST_BITS:g} to {MOST_BITS:g} bits, got {bits:g}.")
    facts = replace(fitted, metrics={}).facts()
    for name, parameter in _learned(fitted.field):
        if not torch.isfinite(parameter).all():
            raise DataError(f"The fit's '{name}' has numbers that are not finite; fit the signal again.")
    curvature = curvature_of(fitted.field, [name for name, _ in _learned(fitted.field)], fitted.target, seed)
    octaves = _octaves(fitted, curvature, bits, seed)
    steps = _steps(octaves, _sizes(fitted.field))
    if signal is None:
        numbers = _rounded(_row(fitted.field), steps, curvature)
    else:
        numbers = _tuned(fitted, curvature, steps, signal, FitBudget(tuning, None, observe), seed)
    return _content(fitted.field, facts, octaves, numbers)


def _octaves(fitted: Fitted, curvature: Curvature | None, bits: float, seed: int) -> np.ndarray:
    """The steps of all tensors, in parts of an octave, by which the file has so many bits a parameter."""
    row, sizes, facts = _row(fitted.field), _sizes(fitted.field), replace(fitted, metrics={}).facts()
    values = np.split(row, np.cumsum(sizes)[:-1])
    if curvature is None:
        weights = np.sqrt(_sensitivities(fitted, seed))
    else:
        weights = np.sqrt([part.mean() for part in np.split(curvature.conditional(), np.cumsum(sizes)[:-1])])
    spreads = np.array(
        [np.log2(w * math.sqrt(np.square(v).mean()) or 1.0) for v, w in zip(values, weights, strict=True)]
    )
    quality = np.average(spreads, weights=sizes) + _NORMAL_BITS - bits
    frame = 0.0
    for _ in range(_ENCODINGS):
        for _ in range(_CORRECTIONS):
            octaves = _finest(values, np.rint(_FINENESS * (quality - np.log2(weights))))
            numbers = _rounded(row, _steps(octaves, sizes), curvature)
            planes = coded_size(numbers, sizes)
            quality += 8 * (frame + planes) / sum(sizes) - bits
        # all that is not planes is known after encoding once
        frame = len(_content(fitted.field, facts, octaves, numbers)) - planes
    return octaves


def _finest(values: Sequence[np.ndarray], octaves: np.ndarray) -> np.ndarray:
    """Steps of which no number has more than float32 holds; a tensor of zeros has any."""
    largest = [max(np.abs(v).max(initial=0), np.finfo(np.float32).tiny) for v in values]
    least = np.ceil(_FINENESS * (np.log2(largest) - (MOST_PLANES - 1)))
    limits = np.iinfo(_TOLD["octaves"])
    return np.clip(np.maximum(octaves, least), limits.min, limits.max).astype(np.int64)


def _steps(octaves: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The step of each number of a row."""
    return np.repeat(np.exp2(octaves / _FINENESS), sizes)


def _rounded(row: np.ndarray, steps: np.ndarray, curvature: Curvature | None) -> np.ndarray:
    """Numbers in steps; by their curvature together, or each by itself."""
    return np.rint(row / steps).astype(np.int64) if curvature is None else curvature.rounded(row, steps)


def _content(field: Field, facts: dict, octaves: np.ndarray, numbers: np.ndarray) -> bytes:
    """The file of a field with these numbers of these steps."""
    sizes = _sizes(field)
    told = np.zeros(len(sizes), _TOLD)
    told["octaves"], told["planes"] = octaves, plane_counts(numbers, sizes)
    learned = {name for name, _ in _learned(field)}
    exact = [t.contiguous().numpy().tobytes() for name, t in field.state_dict().items() if name not in learned]
    parts, counts = _gathered(encode_planes(numbers, sizes))
    return onef.encode({**facts, "planes": counts}, [told.tobytes() + b"".join(exact), *parts])


def _gathered(planes: Sequence[bytes]) -> tuple[list[bytes], list[int]]:
    """Planes in parts that are worth a frame, and how many each has."""
    parts, counts = [b""], [0]
    for plane in planes:
        if len(parts[-1]) >= _LEAST_PART:
            parts.append(b"")
            counts.append(0)
        parts[-1] += plane
        counts[-1] += 1
    return parts, counts


def _tuned(
    fitted: Fitted, curvature: Curvature | None, steps: np.ndarray, signal: Signal, budget: FitBudget, seed: int
) -> np.ndarray:
    """Numbers that were rounded and fixed by and by, while those not yet fixed learned on from the signal."""
    if (signal.kind, signal.shape, signal.channels) != (fitted.kind, fitted.shape, fitted.target.channels):
        raise UsageError(f"The fit is not of this signal ({signal.description}); give the one that was fitted.")
    field, recipe = copy.deepcopy(fitted.field), fitted.recipe
    function, row = field_function(field), _row(field)
    order = np.arange(len(row)) if curvature is None else curvature.order
    rates = {name: _TUNING_RATE * getattr(recipe, name) for name in ("encoding_rate", "network_rate")}
    generator = cpu_generator(seed)
    for share in _FIXED_SHARES:
        fixed = np.zeros(len(row), bool)
        fixed[order[len(row) - round(share * len(row)) :]] = True
        row = np.where(fixed, _rounded(row, steps, curvature) * steps, row)
        _put(field, row)
        held = dict(zip((name for name, _ in _learned(field)), _split(field, torch.from_numpy(fixed)), strict=True))

        def ask(asked: Field, points: Tensor, truth: Tensor, held: dict[str, Tensor] = held) -> Tensor:
            del truth
            weights = {
                name: torch.where(held[name], p.detach(), p) if name in held else p
                for name, p in asked.named_parameters()
            }
            return function(weights, points)

        parts = FitParts(ask=ask)
        train(field, SignalSamples(signal, fitted.target, generator, parts), replace(recipe, **rates), budget, parts)
        row = np.where(fixed, row, _row(field))
    return _rounded(row, steps, curvature)


@torch.no_grad()
def _put(field: Field, row: np.ndarray) -> None:
    """Puts what `_row` gives into a field."""
    for (_, parameter), part in zip(_learned(field), _split(field, torch.from_numpy(row)), strict=True):
        parameter.copy_(part)


def _split(field: Field, row: Tensor) -> list[Tensor]:
    """A row as tensors of the shapes of what the field learned."""
    shapes = [p.shape for _, p in _learned(field)]
    return [part.reshape(shape) for part, shape in zip(row.split([s.numel() for s in shapes]), shapes, strict=True)]


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
    counts, total = held.facts.get("planes"), held.part_count - 1
    if not _are_counts(counts) or len(counts) != total:
        raise DataError(f"{path} names bit planes {counts}, but holds {total} parts of them; write it anew.")
    there = sum(counts[: len(held.parts) - 1])
    if planes is not None and not 0 <= planes <= there:
        raise UsageError(f"{path} has {there} bit planes, got {planes} to decode.")
    taken, field = there if planes is None else planes, fitted.field
    try:
        field.load_state_dict(_state(field, held.parts, counts, taken))
    except (DataError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} does not fit a field of '{fitted.recipe.field}': {error}.") from error
    needed = sum(sum(counts[:part]) < taken for part in range(total))
    size = held.ends[needed]
    return Decoded(fitted, taken, sum(counts), size, 8 * size / sum(p.numel() for _, p in _learned(field)))


def _are_counts(counts: object) -> bool:
    """Whether something read from a file says how many planes each part has."""
    return isinstance(counts, list) and all(isinstance(n, int) and 0 <= n <= MOST_PLANES for n in counts)


def _learned(field: Field) -> list[tuple[str, Tensor]]:
    """Numbers that training found, in the order of the field's state; all others are kept exactly."""
    grouped = {id(p) for members in field.parameter_groups().values() for p in members}
    stored = field.state_dict()
    return [(name, p) for name, p in field.named_parameters() if id(p) in grouped and name in stored]


def _sizes(field: Field) -> list[int]:
    return [p.numel() for _, p in _learned(field)]


def _row(field: Field) -> np.ndarray:
    """All numbers that training found."""
    return torch.cat([p.detach().flatten() for _, p in _learned(field)]).double().numpy()


def _state(field: Field, parts: tuple[bytes, ...], counts: list[int], planes: int) -> dict[str, Tensor]:
    """All tensors of a field, from the first planes of a file."""
    learned, stored = dict(_learned(field)), field.state_dict()
    exact = {name: tensor for name, tensor in stored.items() if name not in learned}
    start = _TOLD.itemsize * len(learned)
    length = start + sum(t.numel() * t.element_size() for t in exact.values())
    if len(parts[0]) != length:
        raise DataError(f"it tells of its tensors in {len(parts[0]):,} bytes instead of {length:,}")
    told = np.frombuffer(parts[0], _TOLD, len(learned))
    tops, sizes = told["planes"].tolist(), _sizes(field)
    if max(tops, default=0) != sum(counts):
        raise DataError(f"its tensors have {max(tops, default=0)} bit planes instead of {sum(counts)}")
    numbers = decode_planes(parts[1:], counts[: len(parts) - 1], tops, sizes, planes)
    state = {}
    row = torch.from_numpy(numbers * _steps(told["octaves"].astype(np.int64), sizes))
    for (name, parameter), part in zip(learned.items(), _split(field, row), strict=True):
        state[name] = part.to(parameter.dtype)
    for name, tensor in exact.items():
        end = start + tensor.numel() * tensor.element_size()
        content = bytearray(parts[0][start:end])
        state[name] = torch.frombuffer(content, dtype=tensor.dtype).reshape(tensor.shape) if content else tensor
        start = end
    return state


def _sensitivities(fitted: Fitted, seed: int) -> np.ndarray:
    """Mean square of the values' derivatives by the numbers of each tensor, in units of the target's scale.

    The square of a sum with random signs has the sum of squares as its mean (Hutchinson 1990).
    """
    generator = cpu_generator(seed)
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


@torch.no_grad()
def difference(fitted: Fitted, other: Fitted, seed: int = 0) -> float:
    """Root mean square difference of two fits' values over the domain, in parts of the target's whole range."""
    generator = cpu_generator(seed)
    places = torch.rand(_COMPARED, fitted.target.domain.dimension, generator=generator)
    points = fitted.target.domain.from_unit(places)
    # the scale is half the range
    return (fitted(points) - other(points)).double().square().mean().sqrt().item() / (2 * fitted.target.scale)
