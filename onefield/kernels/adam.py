"""One Adam step in place, with the entries that got no gradient left alone.

A table of features is touched in few places at each step; moving the moments of all the others costs as much as the
encoding itself and drags unseen entries along. Skipping them is what instant-ngp and DVGO do (Kingma and Ba,
arXiv 1412.6980, algorithm 1, applied to the entries with a gradient other than zero; bias corrections count all steps).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from onefield.kernels.dispatch import Operation


@contextmanager
def in_one_piece(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The tensors for a kernel to change; those that don't lie in one piece take its changes over afterwards."""
    pieces = tuple(tensor.detach().contiguous() for tensor in tensors)
    yield pieces
    for tensor, piece in zip(tensors, pieces, strict=True):
        if not tensor.is_contiguous():
            tensor.detach().copy_(piece)


def _reference(
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
    touched = gradient != 0 if skip_zeros else torch.ones_like(gradient, dtype=torch.bool)
    first.copy_(torch.where(touched, beta1 * first + (1 - beta1) * gradient, first))
    second.copy_(torch.where(touched, beta2 * second + (1 - beta2) * gradient * gradient, second))
    root = (second / (1 - beta2**step)).sqrt() + epsilon
    change = rate / (1 - beta1**step) * first / root
    parameter.sub_(torch.where(touched, change, torch.zeros_like(change)))


def _fake(parameter, gradient, first, second, rate, beta1, beta2, epsilon, step, skip_zeros) -> None:
    return None


adam_step = Operation(
    name="adam_step",
    schema=(
        "(Tensor(a!) parameter, Tensor gradient, Tensor(b!) first, Tensor(c!) second, float rate, float beta1, "
        "float beta2, float epsilon, int step, bool skip_zeros) -> ()"
    ),
    reference=_reference,
    fake=_fake,
    cpu="onefield.kernels.cpu.adam:step",
    cuda="onefield.kernels.cuda.adam:step",
    mutates=("parameter", "first", "second"),
)
"""``adam_step(parameter, gradient, first, second, rate, beta1, beta2, epsilon, step, skip_zeros)``: all tensors of one
shape; ``step`` counts from 1; ``first`` and ``second`` are the running moments. Not differentiable."""
