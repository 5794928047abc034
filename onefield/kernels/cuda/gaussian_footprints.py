"""Triton twin of `onefield.kernels.gaussian_footprints`: a lane a Gaussian."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from onefield.kernels.cuda.launch import on_device
from onefield.kernels.gaussian_footprints import LEAST_LENGTH

BLOCK = 128
_LEAST_LENGTH = tl.constexpr(LEAST_LENGTH)


@triton.jit
def _unit(quaternions, i, inside):
    w = tl.load(quaternions + 4 * i, mask=inside, other=1.0)
    x = tl.load(quaternions + 4 * i + 1, mask=inside, other=0.0)
    y = tl.load(quaternions + 4 * i + 2, mask=inside, other=0.0)
    z = tl.load(quaternions + 4 * i + 3, mask=inside, other=0.0)
    scale = 1.0 / tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), _LEAST_LENGTH)
    return w * scale, x * scale, y * scale, z * scale, scale


@triton.jit
def _axis(w, x, y, z, k: tl.constexpr):
    """Column k of the rotation."""
    if k == 0:
        return 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)
    if k == 1:
        return 2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)
    return 2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)


@triton.jit
def _columns(jacobians, log_scales, w, x, y, z, i, inside, k: tl.constexpr):
    """Standard deviation k, and column k of M = J R S."""
    s = tl.exp(tl.load(log_scales + 3 * i + k, mask=inside, other=0.0))
    r0, r1, r2 = _axis(w, x, y, z, k)
    j = jacobians + 6 * i
    across = tl.load(j, mask=inside, other=0.0) * r0 + tl.load(j + 1, mask=inside, other=0.0) * r1
    across += tl.load(j + 2, mask=inside, other=0.0) * r2
    down = tl.load(j + 3, mask=inside, other=0.0) * r0 + tl.load(j + 4, mask=inside, other=0.0) * r1
    down += tl.load(j + 5, mask=inside, other=0.0) * r2
    return s, s * across, s * down


@triton.jit
def _moments(a0, a1, a2, d0, d1, d2):
    u = a1 * d2 - a2 * d1
    v = a2 * d0 - a0 * d2
    t = a0 * d1 - a1 * d0
    across2 = a0 * a0 + a1 * a1 + a2 * a2
    down2 = d0 * d0 + d1 * d1 + d2 * d2
    return across2, down2, a0 * d0 + a1 * d1 + a2 * d2, u * u + v * v + t * t


@triton.jit
def _footprints_kernel(inputs, results, count, low_pass, least, block: tl.constexpr):
    jacobians, log_scales, quaternions = inputs
    conics, compensation, variances = results
    i = tl.program_id(0) * block + tl.arange(0, block)
    inside = i < count
    w, x, y, z, _ = _unit(quaternions, i, inside)
    _, a0, d0 = _columns(jacobians, log_scales, w, x, y, z, i, inside, 0)
    _, a1, d1 = _columns(jacobians, log_scales, w, x, y, z, i, inside, 1)
    _, a2, d2 = _columns(jacobians, log_scales, w, x, y, z, i, inside, 2)
    across2, down2, mixed, sharp = _moments(a0, a1, a2, d0, d1, d2)
    determinant = sharp + low_pass * (across2 + down2 + low_pass)
    tl.store(conics + 3 * i, (down2 + low_pass) / determinant, mask=inside)
    tl.store(conics + 3 * i + 1, -mixed / determinant, mask=inside)
    tl.store(conics + 3 * i + 2, (across2 + low_pass) / determinant, mask=inside)
    # not a number for those of infinite size, which are not seen
    ratio = sharp / determinant
    tl.store(compensation + i, tl.sqrt(tl.where(ratio > least, ratio, least)), mask=inside)
    tl.store(variances + 2 * i, across2 + low_pass, mask=inside)
    tl.store(variances + 2 * i + 1, down2 + low_pass, mask=inside)


@triton.jit
def _spread_kernel(cotangents, inputs, slopes, count, low_pass, least, block: tl.constexpr):
    """Gradients of M, as those of Jacobians and log-scales, and of the rotation's columns."""
    for_conics, for_compensation = cotangents
    jacobians, log_scales, quaternions = inputs
    for_m = slopes
    i = tl.program_id(0) * block + tl.arange(0, block)
    inside = i < count
    w, x, y, z, _ = _unit(quaternions, i, inside)
    _, a0, d0 = _columns(jacobians, log_scales, w, x, y, z, i, inside, 0)
    _, a1, d1 = _columns(jacobians, log_scales, w, x, y, z, i, inside, 1)
    _, a2, d2 = _columns(jacobians, log_scales, w, x, y, z, i, inside, 2)
    across2, down2, mixed, sharp = _moments(a0, a1, a2, d0, d1, d2)
    g0 = tl.load(for_conics + 3 * i, mask=inside, other=0.0)
    g1 = tl.load(for_conics + 3 * i + 1, mask=inside, other=0.0)
    g2 = tl.load(for_conics + 3 * i + 2, mask=inside, other=0.0)
    inverse = 1.0 / (sharp + low_pass * (across2 + down2 + low_pass))
    for_determinant = -(g0 * (down2 + low_pass) - g1 * mixed + g2 * (across2 + low_pass)) * inverse * inverse
    ratio = sharp * inverse
    gain = tl.load(for_compensation + i, mask=inside, other=0.0) * 0.5 / tl.sqrt(tl.maximum(ratio, least)) * inverse
    gain = tl.where(ratio > least, gain, 0.0)
    for_sharp = for_determinant + gain * (1.0 - ratio)
    for_determinant -= gain * ratio
    # of |m1 x m2|^2 it is 2 m2 x (m1 x m2), written so that needles keep their digits
    c0 = a1 * d2 - a2 * d1
    c1 = a2 * d0 - a0 * d2
    c2 = a0 * d1 - a1 * d0
    across = 2.0 * (g2 * inverse + low_pass * for_determinant)
    down = 2.0 * (g0 * inverse + low_pass * for_determinant)
    other = -g1 * inverse
    sharpen = 2.0 * for_sharp
    tl.store(for_m + 6 * i, across * a0 + other * d0 + sharpen * (d1 * c2 - d2 * c1), mask=inside)
    tl.store(for_m + 6 * i + 1, across * a1 + other * d1 + sharpen * (d2 * c0 - d0 * c2), mask=inside)
    tl.store(for_m + 6 * i + 2, across * a2 + other * d2 + sharpen * (d0 * c1 - d1 * c0), mask=inside)
    tl.store(for_m + 6 * i + 3, down * d0 + other * a0 + sharpen * (c1 * a2 - c2 * a1), mask=inside)
    tl.store(for_m + 6 * i + 4, down * d1 + other * a1 + sharpen * (c2 * a0 - c0 * a2), mask=inside)
    tl.store(for_m + 6 * i + 5, down * d2 + other * a2 + sharpen * (c0 * a1 - c1 * a0), mask=inside)


def footprints(
    jacobians: Tensor, log_scales: Tensor, quaternions: Tensor, low_pass: float, least: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `onefield.kernels.gaussian_footprints`."""
    count = len(log_scales)
    inputs = tuple(tensor.detach().contiguous() for tensor in (jacobians, log_scales, quaternions))
    results = tuple(log_scales.new_empty(shape) for shape in ((count, 3), (count,), (count, 2)))
    if count:
        with on_device(log_scales.device):
            _footprints_kernel[(triton.cdiv(count, BLOCK),)](inputs, results, count, low_pass, least**2, BLOCK)
    return results


def footprints_backward(
    for_conics: Tensor,
    for_compensation: Tensor,
    jacobians: Tensor,
    log_scales: Tensor,
    quaternions: Tensor,
    low_pass: float,
    least: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of Jacobians, log-scales and quaternions: that of ``J R S`` by the kernel, the products by PyTorch."""
    from onefield.kernels.gaussian_footprints import rotations

    count = len(log_scales)
    cotangents = tuple(tensor.detach().contiguous() for tensor in (for_conics, for_compensation))
    inputs = tuple(tensor.detach().contiguous() for tensor in (jacobians, log_scales, quaternions))
    for_m = torch.zeros_like(inputs[0])
    if count:
        with on_device(log_scales.device):
            _spread_kernel[(triton.cdiv(count, BLOCK),)](cotangents, inputs, for_m, count, low_pass, least**2, BLOCK)
    with torch.enable_grad():
        leaves = [tensor.requires_grad_(True) for tensor in inputs]
        product = leaves[0] @ rotations(leaves[2]) * leaves[1].exp()[:, None]
        slopes = torch.autograd.grad(product, leaves, for_m)
    # those that are not seen may be infinite
    unseen = (cotangents[0] == 0).all(1) & (cotangents[1] == 0)
    return tuple(torch.where(unseen.reshape(-1, *[1] * (slope.dim() - 1)), 0.0, slope) for slope in slopes)
