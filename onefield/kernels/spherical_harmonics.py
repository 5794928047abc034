"""Real orthonormal spherical harmonics of directions: contract and PyTorch reference.

Order: by band l, then m = -l ... l, without the Condon-Shortley phase, so that band 1 is proportional to y, z, x. The
integral of a product of two over the sphere is 1 or 0.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.kernels.dispatch import Operation


def _norm(numerator: int, denominator: int) -> float:
    return math.sqrt(numerator / (denominator * math.pi))


NORMS = (
    (_norm(1, 4),),
    (_norm(3, 4), _norm(3, 4), _norm(3, 4)),
    (_norm(15, 4), _norm(15, 4), _norm(5, 16), _norm(15, 4), _norm(15, 16)),
    (
        _norm(35, 32),
        _norm(105, 4),
        _norm(21, 32),
        _norm(7, 16),
        _norm(21, 32),
        _norm(105, 16),
        _norm(35, 32),
    ),
)
"""Factor of each harmonic, band by band."""


def _reference(directions: Tensor, degree: int) -> Tensor:
    x, y, z = directions.unbind(-1)
    bands = (
        (torch.ones_like(x),),
        (y, z, x),
        (x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y),
        (
            y * (3 * x * x - y * y),
            x * y * z,
            y * (5 * z * z - 1),
            z * (5 * z * z - 3),
            x * (5 * z * z - 1),
            z * (x * x - y * y),
            x * (x * x - 3 * y * y),
        ),
    )
    columns = [
        norm * value
        for band, norms in zip(bands[:degree], NORMS, strict=False)
        for value, norm in zip(band, norms, strict=True)
    ]
    return torch.stack(columns, dim=-1)


def _fake(directions: Tensor, degree: int) -> Tensor:
    return directions.new_empty(directions.shape[0], degree**2)


_operation = Operation(
    name="spherical_harmonics",
    schema="(Tensor directions, int degree) -> Tensor",
    reference=_reference,
    fake=_fake,
    cpu="onefield.kernels.cpu.spherical_harmonics:forward",
    cuda="onefield.kernels.cuda.spherical_harmonics:forward",
)


def _setup(ctx, inputs, output) -> None:
    directions, ctx.degree = inputs
    ctx.save_for_backward(directions)


def _backward(ctx, gradient: Tensor) -> tuple[Tensor | None, None]:
    (directions,) = ctx.saved_tensors
    if ctx.degree == 1:
        # band 0 is the same in all directions
        return torch.zeros_like(directions), None
    # directions learn only where poses do: rare enough for the reference
    with torch.enable_grad():
        leaf = directions if directions.requires_grad else directions.detach().requires_grad_()
        (slope,) = torch.autograd.grad(
            _reference(leaf, ctx.degree), leaf, gradient, create_graph=torch.is_grad_enabled()
        )
    return slope, None


_operation.register_autograd(_backward, _setup)


def spherical_harmonics(directions: Float[Tensor, "n 3"], degree: int) -> Float[Tensor, "n f"]:
    """The ``degree^2`` harmonics of bands 0 ... degree - 1 (at most 4 bands) of unit directions.

    Differentiable any number of times; the backward runs the reference.
    """
    return _operation(directions, degree)
