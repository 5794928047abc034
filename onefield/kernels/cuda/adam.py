"""Triton twin of `onefield.kernels.adam`."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.adam import in_one_piece
from onefield.kernels.cuda.launch import on_device

BLOCK = 1024


@triton.jit
def _step_kernel(
    parameter,
    gradient,
    first,
    second,
    count,
    scale,
    beta1,
    beta2,
    epsilon,
    inverse2,
    skip_zeros: tl.constexpr,
    block: tl.constexpr,
):
    index = tl.program_id(0) * block + tl.arange(0, block)
    inside = index < count
    g = tl.load(gradient + index, mask=inside, other=0.0)
    if skip_zeros:
        inside = inside & (g != 0.0)
    m = beta1 * tl.load(first + index, mask=inside, other=0.0) + (1 - beta1) * g
    v = beta2 * tl.load(second + index, mask=inside, other=0.0) + (1 - beta2) * g * g
    old = tl.load(parameter + index, mask=inside, other=0.0)
    tl.store(first + index, m, mask=inside)
    tl.store(second + index, v, mask=inside)
    tl.store(parameter + index, old - scale * m / (tl.sqrt(v * inverse2) + epsilon), mask=inside)


def step(
    parameter: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
    skip_zeros: bool,
) -> None:
    """See `onefield.kernels.adam`."""
    count = parameter.numel()
    with on_device(parameter.device), in_one_piece(parameter, first, second) as (values, mean, square):
        _step_kernel[(triton.cdiv(count, BLOCK),)](
            values,
            gradient.detach().contiguous(),
            mean,
            square,
            count,
            rate / (1 - beta1**step),
            beta1,
            beta2,
            epsilon,
            1 / (1 - beta2**step),
            skip_zeros,
            BLOCK,
        )
