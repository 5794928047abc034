"""A quick comparison of every kernel with its reference on this machine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from onefield.kernels.dispatch import use

# float32 sums in another order differ by a few units in the last place of the largest summand
_TOLERANCE = 1e-4


def failing_kernels() -> list[str]:
    """One sentence for each kernel that fails or differs from its reference; empty where all is well."""
    failures = []
    for name, compute in _CHECKS.items():
        try:
            fast = compute()
            with use("reference"):
                slow = compute()
        except Exception as error:  # whatever breaks in a kernel is what this is here to tell
            failures.append(f"{name} fails with {type(error).__name__}: {error}")
            continue
        worst = max(float((a.double() - b.double()).abs().max()) for a, b in zip(fast, slow, strict=True))
        if not worst <= _TOLERANCE:
            failures.append(f"{name} differs from its reference by {worst:.2g}")
    return failures


def _random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def _encode() -> list[Tensor]:
    from onefield.fields.encodings import HashGridEncoding

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoding = HashGridEncoding(3, levels=4, features=2, log2_table_size=10, finest_resolution=64)
    features = encoding(_random(200, 3))
    features.sum().backward()
    return [features.detach(), *[p.grad for p in encoding.parameters()]]


def _composite() -> list[Tensor]:
    from onefield.kernels.composite import composite

    densities = (_random(64) * 3).requires_grad_()
    colors = _random(64, 3).requires_grad_()
    starts = torch.arange(64) / 64.0
    offsets = torch.tensor([0, 20, 20, 64])
    weights, color, depth, opacity = composite(densities, colors, starts, starts + 1 / 64, offsets)
    (color.sum() + depth.sum() + opacity.sum() + weights.square().sum()).backward()
    return [weights.detach(), color.detach(), depth.detach(), opacity.detach(), densities.grad, colors.grad]


def _adam() -> list[Tensor]:
    from onefield.kernels.adam import adam_step
    from onefield.training.optimizer import EPSILON

    parameter, first, second = _random(100), torch.zeros(100), torch.zeros(100)
    adam_step(parameter, _random(100) - 0.5, first, second, 0.01, 0.9, 0.99, EPSILON, 1, True)
    return [parameter, first, second]


_CHECKS: dict[str, Callable[[], list[Tensor]]] = {
    "hash grid": _encode,
    "compositing": _composite,
    "Adam": _adam,
}
