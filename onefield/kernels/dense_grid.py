"""Dense feature grid of any dimension: contract and PyTorch reference.

A grid ``[n_1, ..., n_d, features]`` has its first axis along the first coordinate and its first and last vertices on
the borders of the unit cube. ``linear`` joins two vertices an axis. ``cubic`` joins four by cubic convolution with
a = -1/2 (Keys, "Cubic convolution interpolation for digital image processing", 1981; the same as a Catmull-Rom spline);
the vertex missing beyond a border is continued linearly from the two at the border, so that linear functions are exact
up to it.

As with the hash grid, three operations close under differentiation: ``directions`` of None means the interpolation
weights, otherwise their derivative along each point's direction. Values and first derivatives have kernels for their
own derivatives; a third derivative with respect to points raises (``use("reference")`` has all orders).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from onefield.errors import UsageError, nearest_name
from onefield.kernels.dispatch import Operation

INTERPOLATIONS = ("linear", "cubic")


def taps_of(interpolation: str) -> int:
    """Vertices that meet along one axis: 2 or 4.

    Raises:
        UsageError: there is no such interpolation.
    """
    if interpolation not in INTERPOLATIONS:
        raise UsageError(f"Unknown interpolation '{interpolation}': {nearest_name(interpolation, INTERPOLATIONS)}.")
    return 2 if interpolation == "linear" else 4


def _linear_taps(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    one = torch.ones_like(t)
    zero = torch.zeros_like(t)
    return torch.stack([1 - t, t], -1), torch.stack([-one, one], -1), torch.stack([zero, zero], -1)


def _cubic_taps(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    weights = [
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    ]
    slopes = [((4 - 3 * t) * t - 1) / 2, (9 * t - 10) * t / 2, ((8 - 9 * t) * t + 1) / 2, (3 * t - 2) * t / 2]
    curves = [2 - 3 * t, 9 * t - 5, 4 - 9 * t, 3 * t - 1]
    return torch.stack(weights, -1), torch.stack(slopes, -1), torch.stack(curves, -1)


def _fold_borders(factors: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """Replaces the vertex beyond a border by twice the border vertex less its inner neighbour."""
    first, second, third, last = factors.unbind(-1)
    lower = torch.where(below, first, 0)
    upper = torch.where(above, last, 0)
    return torch.stack([first - lower, second + 2 * lower - upper, third - lower + 2 * upper, last - upper], dim=-1)


def _axis_taps(x: Tensor, vertices: int, interpolation: str) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Vertex numbers ``n taps`` and their weights with first and second derivative by the coordinate."""
    cells = vertices - 1
    position = x.clamp(0, 1) * cells
    lower = position.detach().floor().clamp(max=cells - 1)
    fraction = position - lower
    lower = lower.long()[:, None]
    if interpolation == "linear":
        indices = lower + torch.arange(2, device=x.device)
        orders = _linear_taps(fraction)
    else:
        indices = (lower + torch.arange(-1, 3, device=x.device)).clamp(0, cells)
        below, above = lower[:, 0] == 0, lower[:, 0] == cells - 1
        orders = tuple(_fold_borders(order, below, above) for order in _cubic_taps(fraction))
    slope = (cells * ((x >= 0) & (x <= 1)).to(x.dtype))[:, None]
    weights, slopes, curves = orders
    return indices, (weights, slopes * slope, curves * slope * slope)


def _corners(points: Tensor, shape: Sequence[int], interpolation: str) -> tuple[Tensor, list[list[Tensor]]]:
    """Rows ``n corners`` of the flattened grid, and for each axis the factors ``n corners`` of order 0, 1, 2."""
    dimension = points.shape[1]
    taps = taps_of(interpolation)
    choices = torch.tensor(list(product(range(taps), repeat=dimension)), device=points.device)
    rows = torch.zeros(points.shape[0], choices.shape[0], dtype=torch.long, device=points.device)
    factors = []
    for axis in range(dimension):
        indices, orders = _axis_taps(points[:, axis], shape[axis], interpolation)
        rows = rows * shape[axis] + indices[:, choices[:, axis]]
        factors.append([order[:, choices[:, axis]] for order in orders])
    return rows, factors


def _mixed(factors: list[list[Tensor]], *axes: int) -> Tensor:
    """Product over axes of the factor, differentiated once for each time that the axis is named."""
    weight = torch.ones_like(factors[0][0])
    for axis, orders in enumerate(factors):
        weight = weight * orders[axes.count(axis)]
    return weight


def _weights(factors: list[list[Tensor]], directions: Tensor | None) -> Tensor:
    if directions is None:
        return _mixed(factors)
    return sum(_mixed(factors, axis) * directions[:, axis, None] for axis in range(len(factors)))


def _gradient_weights(factors: list[list[Tensor]], directions: Tensor | None, axis: int) -> Tensor:
    if directions is None:
        return _mixed(factors, axis)
    return sum(_mixed(factors, axis, other) * directions[:, other, None] for other in range(len(factors)))


def _features_reference(points: Tensor, directions: Tensor | None, grid: Tensor, interpolation: str) -> Tensor:
    rows, factors = _corners(points, grid.shape[:-1], interpolation)
    weights = _weights(factors, directions)
    return (grid.flatten(0, -2)[rows] * weights[..., None]).sum(1)


def _grid_gradient_reference(
    points: Tensor, directions: Tensor | None, cotangents: Tensor, shape: Sequence[int], interpolation: str
) -> Tensor:
    rows, factors = _corners(points, shape, interpolation)
    weights = _weights(factors, directions)
    features = cotangents.shape[1]
    pushed = (weights[..., None] * cotangents[:, None, :]).reshape(-1, features)
    flat = cotangents.new_zeros(torch.Size(shape).numel(), features).index_add(0, rows.reshape(-1), pushed)
    return flat.reshape(*shape, features)


def _point_gradient_reference(
    points: Tensor, directions: Tensor | None, grid: Tensor, cotangents: Tensor, interpolation: str
) -> Tensor:
    rows, factors = _corners(points, grid.shape[:-1], interpolation)
    strengths = (grid.flatten(0, -2)[rows] * cotangents[:, None, :]).sum(-1)
    axes = range(points.shape[1])
    return torch.stack([(_gradient_weights(factors, directions, k) * strengths).sum(-1) for k in axes], dim=-1)


dense_grid = Operation(
    name="dense_grid",
    schema="(Tensor points, Tensor? directions, Tensor grid, str interpolation) -> Tensor",
    reference=_features_reference,
    fake=lambda points, directions, grid, interpolation: grid.new_empty(points.shape[0], grid.shape[-1]),
    cpu="onefield.kernels.cpu.dense_grid:features",
    cuda="onefield.kernels.cuda.dense_grid:features",
)
"""Interpolated features ``n features``; with directions, their derivative along these."""

dense_grid_gradient = Operation(
    name="dense_grid_gradient",
    schema="(Tensor points, Tensor? directions, Tensor cotangents, int[] shape, str interpolation) -> Tensor",
    reference=_grid_gradient_reference,
    fake=lambda points, directions, cotangents, shape, interpolation: cotangents.new_empty(*shape, cotangents.shape[1]),
    cpu="onefield.kernels.cpu.dense_grid:grid_gradient",
    cuda="onefield.kernels.cuda.dense_grid:grid_gradient",
)
"""Gradient ``*shape features`` of ``sum(dense_grid * cotangents)`` with respect to the grid: its transpose."""

dense_grid_point_gradient = Operation(
    name="dense_grid_point_gradient",
    schema="(Tensor points, Tensor? directions, Tensor grid, Tensor cotangents, str interpolation) -> Tensor",
    reference=_point_gradient_reference,
    fake=lambda points, directions, grid, cotangents, interpolation: torch.empty_like(points),
    cpu="onefield.kernels.cpu.dense_grid:point_gradient",
    cuda="onefield.kernels.cuda.dense_grid:point_gradient",
)
"""Gradient ``n d`` of ``sum(dense_grid * cotangents)`` with respect to the points (0 along clamped coordinates)."""


def _features_context(ctx, inputs: tuple, output: Tensor) -> None:
    points, directions, grid, ctx.interpolation = inputs
    ctx.save_for_backward(points, directions, grid)


def _features_backward(ctx, cotangents: Tensor) -> tuple:
    points, directions, grid = ctx.saved_tensors
    mode = ctx.interpolation
    for_points = for_directions = for_grid = None
    if ctx.needs_input_grad[0]:
        for_points = dense_grid_point_gradient(points, directions, grid, cotangents, mode)
    if ctx.needs_input_grad[1]:
        for_directions = dense_grid_point_gradient(points, None, grid, cotangents, mode)
    if ctx.needs_input_grad[2]:
        for_grid = dense_grid_gradient(points, directions, cotangents, grid.shape[:-1], mode)
    return for_points, for_directions, for_grid, None


def _grid_gradient_context(ctx, inputs: tuple, output: Tensor) -> None:
    points, directions, cotangents, _, ctx.interpolation = inputs
    ctx.save_for_backward(points, directions, cotangents)


def _grid_gradient_backward(ctx, grid: Tensor) -> tuple:
    points, directions, cotangents = ctx.saved_tensors
    mode = ctx.interpolation
    for_points = for_directions = for_cotangents = None
    if ctx.needs_input_grad[0]:
        for_points = dense_grid_point_gradient(points, directions, grid, cotangents, mode)
    if ctx.needs_input_grad[1]:
        for_directions = dense_grid_point_gradient(points, None, grid, cotangents, mode)
    if ctx.needs_input_grad[2]:
        for_cotangents = dense_grid(points, directions, grid, mode)
    return for_points, for_directions, for_cotangents, None, None


def _point_gradient_context(ctx, inputs: tuple, output: Tensor) -> None:
    points, directions, grid, cotangents, ctx.interpolation = inputs
    ctx.save_for_backward(points, directions, grid, cotangents)


def _point_gradient_backward(ctx, along: Tensor) -> tuple:
    points, directions, grid, cotangents = ctx.saved_tensors
    mode = ctx.interpolation
    if directions is not None:
        raise NotImplementedError(
            "The dense grid's kernels stop at second derivatives; run under onefield.kernels.use('reference')."
        )
    for_points = for_grid = for_cotangents = None
    if ctx.needs_input_grad[0]:
        for_points = dense_grid_point_gradient(points, along, grid, cotangents, mode)
    if ctx.needs_input_grad[2]:
        for_grid = dense_grid_gradient(points, along, cotangents, grid.shape[:-1], mode)
    if ctx.needs_input_grad[3]:
        for_cotangents = dense_grid(points, along, grid, mode)
    return for_points, None, for_grid, for_cotangents, None


dense_grid.register_autograd(_features_backward, _features_context)
dense_grid_gradient.register_autograd(_grid_gradient_backward, _grid_gradient_context)
dense_grid_point_gradient.register_autograd(_point_gradient_backward, _point_gradient_context)
