"""Colours from spherical harmonics along directions, as Gaussians have them: contract and PyTorch reference.

Real harmonics with the signs of Condon and Shortley ((-1)^m), which the files of Kerbl et al. (2023) have; the colour
is ``max(0, 0.5 + sum_k c_k Y_k(d))``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.kernels.dispatch import Operation
from onefield.kernels.spherical_harmonics import NORMS, spherical_harmonics

MOST_DEGREE = 3
SHIFT = 0.5
# Directions shorter than this have none; as torch.nn.functional.normalize has it.
LEAST_LENGTH = 1e-12


def harmonic_basis(directions: Float[Tensor, "n 3"], degree: int) -> Float[Tensor, "n K"]:
    """The ``(degree + 1)^2`` harmonics of unit directions, band by band, m from -l to l within each."""
    if degree == 0:
        return directions.new_full((len(directions), 1), NORMS[0][0])
    signs = [(-1.0) ** (m % 2) for band in range(degree + 1) for m in range(-band, band + 1)]
    return spherical_harmonics(directions, degree + 1) * directions.new_tensor(signs)


def _reference(directions: Tensor, harmonics: Sequence[Tensor]) -> Tensor:
    basis = harmonic_basis(functional.normalize(directions, dim=-1, eps=LEAST_LENGTH), len(harmonics) - 1)
    return ((torch.cat(list(harmonics), dim=1) * basis[:, :, None]).sum(1) + SHIFT).clamp(min=0)


def _backward_reference(
    for_colors: Tensor, directions: Tensor, harmonics: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_(True) for tensor in (directions, *harmonics)]
        answer = _reference(leaves[0], leaves[1:])
        slopes = torch.autograd.grad(answer, leaves, for_colors, allow_unused=True, materialize_grads=True)
    return slopes[0], list(slopes[1:])


harmonic_colors_operation = Operation(
    name="harmonic_colors",
    schema="(Tensor directions, Tensor[] harmonics) -> Tensor",
    reference=_reference,
    fake=lambda directions, harmonics: torch.empty_like(directions),
    cpu="onefield.kernels.cpu.harmonic_colors:colors",
    cuda="onefield.kernels.cuda.harmonic_colors:colors",
)

harmonic_colors_backward_operation = Operation(
    name="harmonic_colors_backward",
    schema="(Tensor for_colors, Tensor directions, Tensor[] harmonics) -> (Tensor, Tensor[])",
    reference=_backward_reference,
    fake=lambda for_colors, directions, harmonics: (
        torch.empty_like(directions),
        [torch.empty_like(band) for band in harmonics],
    ),
    cpu="onefield.kernels.cpu.harmonic_colors:colors_backward",
    cuda="onefield.kernels.cuda.harmonic_colors:colors_backward",
)


def _setup(ctx, inputs: tuple, output: Tensor) -> None:
    directions, harmonics = inputs
    ctx.save_for_backward(directions, *harmonics)


def _backward(ctx, for_colors: Tensor) -> tuple:
    directions, *harmonics = ctx.saved_tensors
    return harmonic_colors_backward_operation(for_colors, directions, harmonics)


harmonic_colors_operation.register_autograd(_backward, _setup)


def harmonic_colors(
    directions: Float[Tensor, "P 3"], harmonics: Sequence[Float[Tensor, "P k 3"]]
) -> Float[Tensor, "P 3"]:
    """``max(0, 0.5 + sum_k c_k Y_k(d / |d|))`` for each primitive, differentiable in directions and coefficients.

    Args:
        directions: from the eye to the primitive, of any length but 0.
        harmonics: bands 0 to at most 3, with 1, 3, 5 and 7 coefficients.
    """
    return harmonic_colors_operation(directions, list(harmonics))
