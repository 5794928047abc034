"""Derivatives of a field's quantities in space."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError, nearest_name
from onefield.fields.field import Field

_METHODS = ("autograd", "finite", "analytic")
# Default step of finite differences as a part of the domain's longest side: near the cube root of float32's relative
# precision (5e-3), where rounding and truncation balance, but fine enough for a 1024^3 grid.
_RELATIVE_STEP = 1e-3


@runtime_checkable
class HasGradient(Protocol):
    """A field that knows its gradient in closed form."""

    def gradient(self, points: Float[Tensor, "n d"], quantity: str) -> Tensor:
        """``n d`` for scalar quantities, ``n c d`` for vectors; differentiable."""


def spatial_gradient(
    field: Field,
    points: Float[Tensor, "*b d"],
    quantity: str,
    method: str = "autograd",
    *,
    step: float | None = None,
    create_graph: bool = False,
    directions: Float[Tensor, "*b 3"] | None = None,
) -> Tensor:
    """Derivative of a quantity with respect to world coordinates.

    Args:
        field: any field that provides the quantity.
        points: where.
        quantity: its name in `Sample`.
        method: ``"autograd"`` (exact for the function as implemented), ``"finite"`` (central differences: the slope
            over ``2 step``, which also reaches neighbouring cells of a grid), or ``"analytic"`` (`HasGradient`).
        step: of finite differences, world units; None takes a thousandth of the domain's longest side.
        create_graph: whether the result can be differentiated again, for losses on gradients.
        directions: for quantities that depend on them.

    Returns:
        ``*b d`` for scalars, ``*b c d`` for vectors; per world unit.

    Raises:
        UsageError: an unknown method, points that the field can't be asked at, a step that is not positive, or no
            closed form.
    """
    if method not in _METHODS:
        raise UsageError(f"Unknown gradient method '{method}': {nearest_name(method, _METHODS)}.")
    field.check_points(points)
    batch, dimension = points.shape[:-1], points.shape[-1]
    flat = points.reshape(-1, dimension)
    looking = None if directions is None else directions.reshape(-1, directions.shape[-1])
    if method == "analytic":
        if not isinstance(field, HasGradient):
            raise UsageError(f"{type(field).__name__} has no gradient in closed form; use method 'autograd'.")
        gradient = field.gradient(flat, quantity)
    elif method == "finite":
        span = _RELATIVE_STEP * max(field.domain.extent) if step is None else step
        if span <= 0:
            raise UsageError(f"Finite differences need a positive step, got {step}.")
        with torch.set_grad_enabled(create_graph and torch.is_grad_enabled()):
            gradient = _finite(field, flat, quantity, span, looking)
    else:
        gradient = _autograd(field, flat, quantity, create_graph, looking)
    return gradient.reshape(*batch, *gradient.shape[1:])


def spatial_laplacian(
    field: Field, points: Float[Tensor, "*b d"], quantity: str, *, create_graph: bool = False
) -> Tensor:
    """Sum of a quantity's second derivatives along the axes of the world, by automatic differentiation.

    It is exact for the function as implemented: 0 wherever that is linear between the vertices of a grid.

    Args:
        field: any field that provides the quantity, without a dependence on directions.
        points: where.
        quantity: its name in `Sample`.
        create_graph: whether the result can be differentiated again, for losses on it.

    Returns:
        ``*b`` for scalars, ``*b c`` for vectors; per squared world unit.
    """
    field.check_points(points)
    batch, dimension = points.shape[:-1], points.shape[-1]
    with torch.enable_grad():
        flat = points.reshape(-1, dimension).detach().requires_grad_(True)
        slopes = spatial_gradient(field, flat, quantity, create_graph=True)
        channels = slopes[:, None] if slopes.ndim == 2 else slopes
        curvatures = torch.zeros_like(channels[..., 0])
        for channel in range(channels.shape[1]):
            for axis in range(dimension):
                slope = channels[:, channel, axis].sum()
                if not slope.requires_grad:
                    continue
                (row,) = torch.autograd.grad(
                    slope, flat, create_graph=create_graph, retain_graph=True, allow_unused=True
                )
                if row is not None:
                    along = torch.zeros_like(curvatures)
                    along[:, channel] = row[:, axis]
                    curvatures = curvatures + along
    answer = curvatures if create_graph else curvatures.detach()
    return answer[:, 0].reshape(batch) if slopes.ndim == 2 else answer.reshape(*batch, -1)


def closest_point_normals(
    field: Field, points: Float[Tensor, "*b 3"], method: str = "autograd", *, step: float | None = None
) -> Float[Tensor, "*b 3"]:
    """Unit normals, of either sign, of the surface that a field's closest points lie on.

    Across the surface the closest point stays, so that the Jacobian is singular there in the normal's direction: the
    singular vector of its least value (Venkatesh et al., "Deep implicit surface point prediction networks" (2021),
    section 3). The gradient of the unsigned distance has no direction on the surface itself.

    Args:
        field: provides ``closest_point``.
        points: on the surface or near it.
        method, step: as `spatial_gradient` takes them.

    Returns:
        Without a gradient.
    """
    jacobian = spatial_gradient(field, points, "closest_point", method, step=step).detach().double()
    return torch.linalg.eigh(jacobian.transpose(-1, -2) @ jacobian)[1][..., 0].to(points)


def _finite(field: Field, points: Tensor, quantity: str, step: float, directions: Tensor | None) -> Tensor:
    count, dimension = points.shape
    offsets = step * torch.eye(dimension, dtype=points.dtype, device=points.device)
    shifted = torch.stack([points[:, None] + offsets, points[:, None] - offsets])
    looking = None if directions is None else directions[None, :, None].expand(2, count, dimension, -1)
    answer = getattr(field.query(shifted, directions=looking, want=(quantity,)), quantity)
    slope = (answer[0] - answer[1]) / (2 * step)
    # vectors: the axis of differentiation goes last
    return slope.movedim(1, -1)


def _autograd(field: Field, points: Tensor, quantity: str, create_graph: bool, directions: Tensor | None) -> Tensor:
    with torch.enable_grad():
        places = points if create_graph and points.requires_grad else points.detach().requires_grad_(True)
        answer = getattr(field.query(places, directions=directions, want=(quantity,)), quantity)
        if not answer.requires_grad:
            return answer.new_zeros((*answer.shape, points.shape[-1]))
        channels = [answer] if answer.ndim == 1 else list(answer.unbind(-1))
        slopes = []
        for index, channel in enumerate(channels):
            keep = create_graph or index + 1 < len(channels)
            (slope,) = torch.autograd.grad(
                channel.sum(), places, create_graph=create_graph, retain_graph=keep, allow_unused=True
            )
            slopes.append(torch.zeros_like(places) if slope is None else slope)
    return slopes[0] if answer.ndim == 1 else torch.stack(slopes, dim=1)
