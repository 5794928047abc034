"""Finding a field that obeys equations at points, by nonlinear least squares over its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from onefield.errors import DivergedError, UsageError
from onefield.fields.field import Field
from onefield.training.seeds import cpu_generator

# A field's values at one point, and what a law says of it there.
PointFunction = Callable[[Float[Tensor, "d"]], Float[Tensor, "c"]]
# More parameters make a step of the method (their square in memory, their cube in time) too dear.
MOST_PARAMETERS = 4000
# Levenberg-Marquardt: the first damping, relative to the diagonal, how it changes, and where it gives up.
_DAMPING, _EASED, _RAISED, _HIGHEST = 1e-3, 0.2, 8.0, 1e6
_LEAST_DAMPING = 1e-10
_FLOOR = 1e-8
# Points whose derivatives by all parameters are held at once.
_CHUNK = 256


@dataclass(frozen=True)
class Condition:
    """An equation that should hold at points.

    Attributes:
        points: draws some, ``n d``; asked again for each iteration.
        residual: of a function at one point, any number of values, all 0 where the equation holds.
        weight: factor on the residuals.
    """

    points: Callable[[torch.Generator], Float[Tensor, "n d"]]
    residual: Callable[[PointFunction, Float[Tensor, "d"]], Float[Tensor, "k"]]
    weight: float = 1.0


def slope(function: PointFunction, point: Float[Tensor, "d"]) -> Float[Tensor, "c d"]:
    """First derivatives of a function at a point."""
    return jacrev(function)(point)


def curvature(function: PointFunction, point: Float[Tensor, "d"]) -> Float[Tensor, "c d d"]:
    """Second derivatives of a function at a point."""
    return jacrev(jacrev(function))(point)


class _Asked(nn.Module):
    """A field's values at one point."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def forward(self, point: Float[Tensor, "d"]) -> Float[Tensor, "c"]:
        return self.field.query(point[None], want=("value",)).value[0]


def as_function(field: Field) -> PointFunction:
    """A field of values as it stands: later training does not change what this answers."""
    asked = _Asked(field)
    kept = {name: tensor.detach().clone() for name, tensor in asked.state_dict().items()}
    return lambda point: functional_call(asked, kept, (point,))


def solve(
    field: Field, conditions: list[Condition], *, iterations: int = 30, tolerance: float = 0.0, seed: int = 0
) -> float:
    """Changes a field's parameters until it obeys equations at random points, by Levenberg-Marquardt.

    A network of some thousand parameters has so much to say about so many points that its least squares are solved
    exactly, step by step, where stochastic descent would take ten thousand small ones.

    Args:
        field: answers ``value`` by plain tensor operations (networks of coordinates; no grids), best in double
            precision; changed in place.
        conditions: that should hold at once; their squares are averaged over points and added.
        iterations: each of which draws new points.
        tolerance: stop where the root mean square of all residuals is below this.
        seed: of the points.

    Returns:
        The root mean square of all residuals, at the last points.

    Raises:
        UsageError: more parameters than the method can bear, or no condition.
        DivergedError: residuals that are not finite.
    """
    asked = _Asked(field)
    names = [name for name, parameter in asked.named_parameters() if parameter.requires_grad]
    parameters = {name: dict(asked.named_parameters())[name].detach().clone() for name in names}
    count = sum(tensor.numel() for tensor in parameters.values())
    if not conditions or not 0 < count <= MOST_PARAMETERS:
        raise UsageError(
            f"Solving equations takes conditions, and a field of at most {MOST_PARAMETERS} parameters, got "
            f"{len(conditions)} and {count}; take a narrower network."
        )
    generator = cpu_generator(seed)
    damping, reached = _DAMPING, float("inf")
    for _ in range(iterations):
        placed = [(each, each.points(generator)) for each in conditions]
        jacobian, residuals = _linearised(asked, parameters, placed)
        reached = residuals.square().sum().sqrt().item()
        if not torch.isfinite(jacobian).all() or reached != reached:
            raise DivergedError("The equations' residuals are no longer finite; take shorter steps or other weights.")
        if reached <= tolerance:
            break
        normal, right = jacobian.T @ jacobian, jacobian.T @ residuals
        while damping < _HIGHEST:
            moved = _moved(parameters, normal, right, damping)
            if moved is not None and _sum_of_squares(asked, moved, placed) < reached**2:
                parameters, damping = moved, max(damping * _EASED, _LEAST_DAMPING)
                break
            damping *= _RAISED
        else:
            damping = _DAMPING
    with torch.no_grad():
        for name, parameter in asked.named_parameters():
            if name in parameters:
                parameter.copy_(parameters[name])
    return reached


Placed = list[tuple[Condition, Float[Tensor, "n d"]]]


def _residuals_at(asked: _Asked, condition: Condition) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    def residual(parameters: dict[str, Tensor], point: Tensor) -> Tensor:
        return condition.residual(lambda place: functional_call(asked, parameters, (place,)), point)

    return residual


def _linearised(asked: _Asked, parameters: dict[str, Tensor], placed: Placed) -> tuple[Tensor, Tensor]:
    """Derivatives of all residuals by all parameters, and the residuals, so scaled that squares add up to means."""
    rows, values = [], []
    for condition, points in placed:
        residual = _residuals_at(asked, condition)
        factor = condition.weight / len(points) ** 0.5
        both = vmap(jacrev(lambda p, x, r=residual: (r(p, x),) * 2, has_aux=True), (None, 0), chunk_size=_CHUNK)
        derivatives, answer = both(parameters, points)
        columns = [derivatives[name].reshape(answer.numel(), -1) for name in parameters]
        rows.append(factor * torch.cat(columns, dim=1))
        values.append(factor * answer.flatten())
    return torch.cat(rows).detach(), torch.cat(values).detach()


@torch.no_grad()
def _sum_of_squares(asked: _Asked, parameters: dict[str, Tensor], placed: Placed) -> float:
    total = 0.0
    for condition, points in placed:
        answer = vmap(_residuals_at(asked, condition), (None, 0))(parameters, points)
        total += condition.weight**2 * answer.square().sum().item() / len(points)
    return total


def _moved(parameters: dict[str, Tensor], normal: Tensor, right: Tensor, damping: float) -> dict[str, Tensor] | None:
    """The parameters after a damped Gauss-Newton step; None where the system has no solution."""
    # by each parameter's own scale (Marquardt); one that nothing depends on stays where it is
    diagonal = normal.diagonal()
    floor = _FLOOR * diagonal.max()
    factor, failed = torch.linalg.cholesky_ex(normal + torch.diag(damping * (diagonal + floor)))
    if bool(failed):
        return None
    change = torch.cholesky_solve(right[:, None], factor)[:, 0]
    parts = change.split([tensor.numel() for tensor in parameters.values()])
    return {
        name: tensor - part.reshape(tensor.shape)
        for (name, tensor), part in zip(parameters.items(), parts, strict=True)
    }
