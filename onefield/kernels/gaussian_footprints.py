"""What Gaussians in space look like on a picture: contract and PyTorch reference.

A camera is linear near each Gaussian, so a Gaussian in space is one on the picture, too: with the Jacobian J of the
projection, the axes R and the standard deviations S, its covariance is ``M M^T + low_pass I`` with ``M = J R S``
(Zwicker et al., "EWA splatting" (2002); Kerbl et al. (2023), eq. 5). The low-pass term keeps it at least a pixel wide;
the compensation undoes the brightness that it adds, ``sqrt(det(M M^T) / det(M M^T + low_pass I))`` (Yu et al.,
"Mip-Splatting" (2024)). Determinants are sums of squares here and can't cancel, however thin a Gaussian is.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.kernels.dispatch import Operation

# Below it a Gaussian is thinner than anything that a picture shows, and the slope of the square root has no bound.
LEAST_COMPENSATION = 0.005
# Quaternions shorter than this have no direction; as torch.nn.functional.normalize has it.
LEAST_LENGTH = 1e-12


def rotations(quaternions: Float[Tensor, "P 4"]) -> Float[Tensor, "P 3 3"]:
    """Matrices whose columns are the Gaussians' axes, from quaternions wxyz of any length but 0."""
    w, x, y, z = functional.normalize(quaternions, dim=-1, eps=LEAST_LENGTH).unbind(-1)
    entries = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def _reference(
    jacobians: Tensor, log_scales: Tensor, quaternions: Tensor, low_pass: float, least: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `gaussian_footprints`."""
    across, down = (jacobians @ rotations(quaternions) * log_scales.exp()[:, None]).unbind(1)
    sharp = torch.linalg.cross(across, down).square().sum(-1)
    across2, down2, mixed = across.square().sum(-1), down.square().sum(-1), (across * down).sum(-1)
    determinant = sharp + low_pass * (across2 + down2 + low_pass)
    variances = torch.stack([across2, down2], dim=-1) + low_pass
    conics = torch.stack([variances[:, 1], -mixed, variances[:, 0]], dim=-1) / determinant[:, None]
    # chosen before the root, which has no slope at 0
    ratio = sharp / determinant
    above = ratio > least**2
    compensation = torch.where(above, torch.where(above, ratio, 1.0).sqrt(), least)
    return conics, compensation, variances.detach()


def _backward_reference(
    for_conics: Tensor, for_compensation: Tensor, jacobians: Tensor, log_scales: Tensor, quaternions: Tensor,
    low_pass: float, least: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_(True) for tensor in (jacobians, log_scales, quaternions)]
        return torch.autograd.grad(_reference(*leaves, low_pass, least)[:2], leaves, (for_conics, for_compensation))


footprints_operation = Operation(
    name="gaussian_footprints",
    schema=(
        "(Tensor jacobians, Tensor log_scales, Tensor quaternions, float low_pass, float least) "
        "-> (Tensor, Tensor, Tensor)"
    ),
    reference=_reference,
    fake=lambda jacobians, log_scales, quaternions, low_pass, least: (
        jacobians.new_empty(jacobians.shape[0], 3),
        jacobians.new_empty(jacobians.shape[0]),
        jacobians.new_empty(jacobians.shape[0], 2),
    ),
    cpu="onefield.kernels.cpu.gaussian_footprints:footprints",
    cuda="onefield.kernels.cuda.gaussian_footprints:footprints",
)

footprints_backward_operation = Operation(
    name="gaussian_footprints_backward",
    schema=(
        "(Tensor for_conics, Tensor for_compensation, Tensor jacobians, Tensor log_scales, Tensor quaternions, "
        "float low_pass, float least) -> (Tensor, Tensor, Tensor)"
    ),
    reference=_backward_reference,
    fake=lambda for_conics, for_compensation, *inputs: tuple(torch.empty_like(tensor) for tensor in inputs[:3]),
    cpu="onefield.kernels.cpu.gaussian_footprints:footprints_backward",
    cuda="onefield.kernels.cuda.gaussian_footprints:footprints_backward",
)


def _setup(ctx, inputs: tuple, output: tuple) -> None:
    *tensors, ctx.low_pass, ctx.least = inputs
    ctx.save_for_backward(*tensors)
    ctx.mark_non_differentiable(output[2])


def _backward(ctx, for_conics: Tensor, for_compensation: Tensor, _: Tensor | None) -> tuple:
    slopes = footprints_backward_operation(for_conics, for_compensation, *ctx.saved_tensors, ctx.low_pass, ctx.least)
    return *slopes, None, None


footprints_operation.register_autograd(_backward, _setup)


def gaussian_footprints(
    jacobians: Float[Tensor, "P 2 3"],
    log_scales: Float[Tensor, "P 3"],
    quaternions: Float[Tensor, "P 4"],
    low_pass: float,
    least_compensation: float = LEAST_COMPENSATION,
) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P"], Float[Tensor, "P 2"]]:
    """Conics, compensations and variances of Gaussians on a picture.

    Args:
        jacobians: pixels by world units, of the projection at each mean.
        low_pass: added to both variances, pixels squared.
        least_compensation: lower bound of the compensation; where it holds, that has no gradient.

    Returns:
        The inverse covariance as (xx, xy, yy), per pixel squared; the compensation, at most 1; and the variances
        along x and y in pixels squared, without gradient.
    """
    return footprints_operation(jacobians, log_scales, quaternions, low_pass, least_compensation)
