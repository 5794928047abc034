"""Multiresolution hash grid: contract and PyTorch reference.

Source: Müller et al., "Instant Neural Graphics Primitives with a Multiresolution Hash Encoding", SIGGRAPH 2022,
sections 3 and 4. Level l has ``N_l`` cells along each axis and a vertex at each cell corner, the cube's border
included. A level whose ``(N_l + 1)^d`` vertices fit into ``2^log2_table_size`` entries stores them all (first
coordinate fastest); a finer level finds the entry of vertex v at ``(v_0 p_0 xor v_1 p_1 xor ...) mod
2^log2_table_size`` in 32-bit unsigned arithmetic.

Three operations close under differentiation. Each takes optional ``directions``: without them it uses the interpolation
weights, with them the weights' derivative along each point's direction. So the backward of each is made of the others,
twice over; a third derivative with respect to points has no kernel and raises (``use("reference")`` has all orders).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.dispatch import Operation

# The factor of each axis: 1 keeps neighbours along the first axis in one cache line (paper, section 3); the others are
# large primes without a pattern in common, so that axes do not cancel.
PRIMES = (1, 2654435761, 805459861, 3674653429)
_WORD = 0xFFFFFFFF
# Levels begin at a multiple of this many entries: whole cache lines of 64 bytes for two float32 features and more.
_ALIGNMENT = 8


@dataclass(frozen=True)
class HashGridLayout:
    """Where each level of a hash grid lies in its one flat table.

    Attributes:
        dimension: number of coordinates of a point, 1 to 4.
        resolutions: N_l, cells along each axis, one a level.
        log2_table_size: logarithm of the most entries that a level may have.
        offsets: first entry of each level.
        sizes: entries of each level.
        hashed: whether each level is hashed (or else stores every vertex).
        entries: rows of the table.
    """

    dimension: int
    resolutions: tuple[int, ...]
    log2_table_size: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    hashed: tuple[bool, ...]
    entries: int

    @property
    def levels(self) -> int:
        return len(self.resolutions)

    @staticmethod
    @lru_cache(maxsize=64)
    def plan(dimension: int, resolutions: tuple[int, ...], log2_table_size: int) -> HashGridLayout:
        """Lays the levels out one after another.

        Raises:
            UsageError: the dimension is not 1 to 4, or the table cannot be addressed with 32-bit integers.
        """
        if not 1 <= dimension <= len(PRIMES):
            raise UsageError(f"A hash grid takes points of 1 to {len(PRIMES)} coordinates, got {dimension}.")
        capacity = 2**log2_table_size
        offsets, sizes, hashed = [], [], []
        entries = 0
        for cells in resolutions:
            vertices = (cells + 1) ** dimension
            dense = -(-vertices // _ALIGNMENT) * _ALIGNMENT
            hashed.append(vertices > capacity)
            offsets.append(entries)
            sizes.append(capacity if vertices > capacity else dense)
            entries += sizes[-1]
        if entries >= 2**31:
            raise UsageError(
                f"A hash grid of {len(resolutions)} levels with log2_table_size {log2_table_size} needs {entries} "
                f"entries, more than 2^31; lower log2_table_size."
            )
        return HashGridLayout(
            dimension, resolutions, log2_table_size, tuple(offsets), tuple(sizes), tuple(hashed), entries
        )


def geometric_resolutions(levels: int, base: int, finest: int) -> tuple[int, ...]:
    """Cells along each axis from ``base`` to ``finest`` in geometric progression, rounded (paper, equation 2 and 3)."""
    if levels == 1:
        return (base,)
    growth = (finest / base) ** (1 / (levels - 1))
    return tuple(round(base * growth**level) for level in range(levels))


def _layout(points: Tensor, resolutions: Sequence[int], log2_table_size: int) -> HashGridLayout:
    return HashGridLayout.plan(points.shape[1], tuple(resolutions), log2_table_size)


def _corner_factors(points: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices ``n C d`` around each point, the weight's factor on each axis ``n C d``, and that factor's slope."""
    dimension = points.shape[1]
    corners = torch.arange(2**dimension, device=points.device)
    upper = ((corners[:, None] >> torch.arange(dimension, device=points.device)) & 1).bool()
    position = points.clamp(0, 1) * cells
    lower = position.detach().floor().clamp(max=cells - 1)
    fraction = (position - lower)[:, None, :]
    inside = ((points >= 0) & (points <= 1))[:, None, :]
    factors = torch.where(upper, fraction, 1 - fraction)
    slopes = torch.where(upper, cells, -cells).to(points.dtype) * inside
    return lower.long()[:, None, :] + upper, factors, slopes


def corner_indices(points: Float[Tensor, "n d"], layout: HashGridLayout, level: int) -> Int[Tensor, "n corners"]:
    """Table rows of the ``2^d`` vertices around each point; bit k of a corner's number: upper side of axis k."""
    vertices, _, _ = _corner_factors(points, layout.resolutions[level])
    return _rows(vertices, layout, level)


def _rows(vertices: Tensor, layout: HashGridLayout, level: int) -> Tensor:
    index = torch.zeros_like(vertices[..., 0])
    for axis in range(layout.dimension):
        if layout.hashed[level]:
            index = index ^ ((vertices[..., axis] * PRIMES[axis]) & _WORD)
        else:
            index = index + vertices[..., axis] * (layout.resolutions[level] + 1) ** axis
    if layout.hashed[level]:
        index = index & (layout.sizes[level] - 1)
    return index + layout.offsets[level]


def _product_without(factors: Tensor, *axes: int) -> Tensor:
    product = torch.ones_like(factors[..., 0])
    for axis in range(factors.shape[-1]):
        if axis not in axes:
            product = product * factors[..., axis]
    return product


def _gradient_weights(factors: Tensor, slopes: Tensor, directions: Tensor | None) -> Tensor:
    """Derivatives ``n C d`` of each weight (or of its derivative along ``directions``) with respect to the point."""
    axes = range(factors.shape[-1])
    if directions is None:
        return torch.stack([slopes[..., k] * _product_without(factors, k) for k in axes], dim=-1)
    columns = []
    for k in axes:
        column = torch.zeros_like(factors[..., 0])
        for j in axes:
            if j != k:
                mixed = slopes[..., k] * slopes[..., j] * _product_without(factors, k, j)
                column = column + mixed * directions[:, None, j]
        columns.append(column)
    return torch.stack(columns, dim=-1)


def _weights(factors: Tensor, slopes: Tensor, directions: Tensor | None) -> Tensor:
    if directions is None:
        return _product_without(factors)
    return (_gradient_weights(factors, slopes, None) * directions[:, None, :]).sum(-1)


def _features_reference(
    points: Tensor, directions: Tensor | None, table: Tensor, resolutions: Sequence[int], log2_table_size: int
) -> Tensor:
    layout = _layout(points, resolutions, log2_table_size)
    answers = []
    for level, cells in enumerate(layout.resolutions):
        vertices, factors, slopes = _corner_factors(points, cells)
        weights = _weights(factors, slopes, directions)
        answers.append((table[_rows(vertices, layout, level)] * weights[..., None]).sum(1))
    return torch.cat(answers, dim=-1)


def _table_gradient_reference(
    points: Tensor, directions: Tensor | None, cotangents: Tensor, resolutions: Sequence[int], log2_table_size: int
) -> Tensor:
    layout = _layout(points, resolutions, log2_table_size)
    features = cotangents.shape[1] // layout.levels
    gradient = cotangents.new_zeros(layout.entries, features)
    for level, cells in enumerate(layout.resolutions):
        vertices, factors, slopes = _corner_factors(points, cells)
        weights = _weights(factors, slopes, directions)
        pushed = weights[..., None] * cotangents[:, None, level * features : (level + 1) * features]
        rows = _rows(vertices, layout, level).reshape(-1)
        gradient = gradient.index_add(0, rows, pushed.reshape(-1, features))
    return gradient


def _point_gradient_reference(
    points: Tensor,
    directions: Tensor | None,
    table: Tensor,
    cotangents: Tensor,
    resolutions: Sequence[int],
    log2_table_size: int,
) -> Tensor:
    layout = _layout(points, resolutions, log2_table_size)
    features = table.shape[1]
    gradient = torch.zeros_like(points)
    for level, cells in enumerate(layout.resolutions):
        vertices, factors, slopes = _corner_factors(points, cells)
        weights = _gradient_weights(factors, slopes, directions)
        local = cotangents[:, None, level * features : (level + 1) * features]
        strength = (table[_rows(vertices, layout, level)] * local).sum(-1)
        gradient = gradient + (weights * strength[..., None]).sum(1)
    return gradient


hash_grid = Operation(
    name="hash_grid",
    schema="(Tensor points, Tensor? directions, Tensor table, int[] resolutions, int log2_table_size) -> Tensor",
    reference=_features_reference,
    fake=lambda points, directions, table, resolutions, log2_table_size: table.new_empty(
        points.shape[0], len(resolutions) * table.shape[1]
    ),
    cpu="onefield.kernels.cpu.hash_grid:features",
    cuda="onefield.kernels.cuda.hash_grid:features",
)
"""Interpolated features ``n (levels features)``, level after level; with directions, their derivative along these."""

hash_grid_table_gradient = Operation(
    name="hash_grid_table_gradient",
    schema="(Tensor points, Tensor? directions, Tensor cotangents, int[] resolutions, int log2_table_size) -> Tensor",
    reference=_table_gradient_reference,
    fake=lambda points, directions, cotangents, resolutions, log2_table_size: cotangents.new_empty(
        _layout(points, resolutions, log2_table_size).entries, cotangents.shape[1] // len(resolutions)
    ),
    cpu="onefield.kernels.cpu.hash_grid:table_gradient",
    cuda="onefield.kernels.cuda.hash_grid:table_gradient",
)
"""Gradient ``entries features`` of ``sum(hash_grid * cotangents)`` with respect to the table: its transpose."""

hash_grid_point_gradient = Operation(
    name="hash_grid_point_gradient",
    schema="(Tensor points, Tensor? directions, Tensor table, Tensor cotangents, int[] resolutions, "
    "int log2_table_size) -> Tensor",
    reference=_point_gradient_reference,
    fake=lambda points, directions, table, cotangents, resolutions, log2_table_size: torch.empty_like(points),
    cpu="onefield.kernels.cpu.hash_grid:point_gradient",
    cuda="onefield.kernels.cuda.hash_grid:point_gradient",
)
"""Gradient ``n d`` of ``sum(hash_grid * cotangents)`` with respect to the points (0 along clamped coordinates)."""


def _features_context(ctx, inputs: tuple, output: Tensor) -> None:
    points, directions, table, ctx.resolutions, ctx.log2_table_size = inputs
    ctx.save_for_backward(points, directions, table)


def _features_backward(ctx, cotangents: Tensor) -> tuple:
    points, directions, table = ctx.saved_tensors
    plan = (ctx.resolutions, ctx.log2_table_size)
    for_points = for_directions = for_table = None
    if ctx.needs_input_grad[0]:
        for_points = hash_grid_point_gradient(points, directions, table, cotangents, *plan)
    if ctx.needs_input_grad[1]:
        for_directions = hash_grid_point_gradient(points, None, table, cotangents, *plan)
    if ctx.needs_input_grad[2]:
        for_table = hash_grid_table_gradient(points, directions, cotangents, *plan)
    return for_points, for_directions, for_table, None, None


def _table_gradient_context(ctx, inputs: tuple, output: Tensor) -> None:
    points, directions, cotangents, ctx.resolutions, ctx.log2_table_size = inputs
    ctx.save_for_backward(points, directions, cotangents)


def _table_gradient_backward(ctx, table: Tensor) -> tuple:
    points, directions, cotangents = ctx.saved_tensors
    plan = (ctx.resolutions, ctx.log2_table_size)
    for_points = for_directions = for_cotangents = None
    if ctx.needs_input_grad[0]:
        for_points = hash_grid_point_gradient(points, directions, table, cotangents, *plan)
    if ctx.needs_input_grad[1]:
        for_directions = hash_grid_point_gradient(points, None, table, cotangents, *plan)
    if ctx.needs_input_grad[2]:
        for_cotangents = hash_grid(points, directions, table, *plan)
    return for_points, for_directions, for_cotangents, None, None


def _point_gradient_context(ctx, inputs: tuple, output: Tensor) -> None:
    points, directions, table, cotangents, ctx.resolutions, ctx.log2_table_size = inputs
    ctx.save_for_backward(points, directions, table, cotangents)


def _point_gradient_backward(ctx, along: Tensor) -> tuple:
    points, directions, table, cotangents = ctx.saved_tensors
    plan = (ctx.resolutions, ctx.log2_table_size)
    if directions is not None:
        raise NotImplementedError(
            "The hash grid's kernels stop at second derivatives; run under onefield.kernels.use('reference')."
        )
    for_points = for_table = for_cotangents = None
    if ctx.needs_input_grad[0]:
        for_points = hash_grid_point_gradient(points, along, table, cotangents, *plan)
    if ctx.needs_input_grad[2]:
        for_table = hash_grid_table_gradient(points, along, cotangents, *plan)
    if ctx.needs_input_grad[3]:
        for_cotangents = hash_grid(points, along, table, *plan)
    return for_points, None, for_table, for_cotangents, None, None


hash_grid.register_autograd(_features_backward, _features_context)
hash_grid_table_gradient.register_autograd(_table_gradient_backward, _table_gradient_context)
hash_grid_point_gradient.register_autograd(_point_gradient_backward, _point_gradient_context)
