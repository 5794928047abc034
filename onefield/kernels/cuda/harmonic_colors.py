"""Triton twin of `onefield.kernels.harmonic_colors`: harmonics by their own kernel, sums a block of primitives each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.harmonic_colors import SHIFT, harmonic_basis

BLOCK = 128
_SHIFT = tl.constexpr(SHIFT)


@triton.jit
def _sum(basis, coefficients, index, inside, channel: tl.constexpr, terms: tl.constexpr):
    total = tl.full(index.shape, _SHIFT, tl.float32)
    for k in tl.static_range(terms):
        value = tl.load(basis + index * terms + k, mask=inside, other=0.0)
        total += value * tl.load(coefficients + (index * terms + k) * 3 + channel, mask=inside, other=0.0)
    return total


@triton.jit
def _colors_kernel(basis, coefficients, colors, count, terms: tl.constexpr, block: tl.constexpr):
    index = tl.program_id(0) * block + tl.arange(0, block)
    inside = index < count
    for channel in tl.static_range(3):
        total = _sum(basis, coefficients, index, inside, channel, terms)
        # negated, so that NaN goes on
        tl.store(colors + index * 3 + channel, tl.where(total < 0.0, 0.0, total), mask=inside)


@triton.jit
def _backward_kernel(
    for_colors, basis, coefficients, for_basis, for_coefficients, count, terms: tl.constexpr, block: tl.constexpr
):
    index = tl.program_id(0) * block + tl.arange(0, block)
    inside = index < count
    for k in tl.static_range(terms):
        tl.store(for_basis + index * terms + k, tl.zeros(index.shape, tl.float32), mask=inside)
    for channel in tl.static_range(3):
        total = _sum(basis, coefficients, index, inside, channel, terms)
        gain = tl.load(for_colors + index * 3 + channel, mask=inside, other=0.0)
        gain = tl.where(total < 0.0, 0.0, gain)
        for k in tl.static_range(terms):
            place = index * terms + k
            value = tl.load(basis + place, mask=inside, other=0.0)
            tl.store(for_coefficients + place * 3 + channel, value * gain, mask=inside)
            earned = tl.load(for_basis + place, mask=inside, other=0.0)
            earned += gain * tl.load(coefficients + place * 3 + channel, mask=inside, other=0.0)
            tl.store(for_basis + place, earned, mask=inside)


def _basis(directions: Tensor, bands: int) -> Tensor:
    return harmonic_basis(torch.nn.functional.normalize(directions, dim=-1), bands - 1)


def colors(directions: Tensor, harmonics: Sequence[Tensor]) -> Tensor:
    """See `onefield.kernels.harmonic_colors`."""
    result, count = directions.new_empty(len(directions), 3), len(directions)
    coefficients = torch.cat([band.detach() for band in harmonics], dim=1).contiguous()
    basis = _basis(directions.detach(), len(harmonics)).contiguous()
    if count:
        with on_device(directions.device):
            _colors_kernel[(triton.cdiv(count, BLOCK),)](basis, coefficients, result, count, basis.shape[1], BLOCK)
    return result


def colors_backward(for_colors: Tensor, directions: Tensor, harmonics: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Gradients of directions and coefficients."""
    count = len(directions)
    coefficients = torch.cat([band.detach() for band in harmonics], dim=1).contiguous()
    with torch.enable_grad():
        leaf = directions.detach().requires_grad_(True)
        basis = _basis(leaf, len(harmonics)).contiguous()
    for_basis, for_coefficients = torch.zeros_like(basis), torch.zeros_like(coefficients)
    if count:
        with on_device(directions.device):
            _backward_kernel[(triton.cdiv(count, BLOCK),)](
                for_colors.detach().contiguous(), basis.detach(), coefficients, for_basis, for_coefficients, count,
                basis.shape[1], BLOCK,
            )  # fmt: skip
    for_directions = torch.zeros_like(directions)
    if basis.requires_grad:  # one constant harmonic knows no direction
        (for_directions,) = torch.autograd.grad(basis, leaf, for_basis)
    return for_directions, list(for_coefficients.split([band.shape[1] for band in harmonics], dim=1))
