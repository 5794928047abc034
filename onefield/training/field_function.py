"""A field as a function of its parameters, for gradients of steps and of single points."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call

from onefield.fields.field import Field

Weights = dict[str, Tensor]
"""Values for the parameters of a field, by their names in it."""


class _Values(nn.Module):
    def __init__(self, field: Field, quantity: str) -> None:
        super().__init__()
        self.field = field
        self.quantity = quantity

    def forward(self, points: Tensor) -> Tensor:
        return getattr(self.field.query(points, want=(self.quantity,)), self.quantity)


def field_function(field: Field, quantity: str = "value") -> Callable[[Weights, Tensor], Tensor]:
    """What a field answers at points, with other weights in the place of its own."""
    values = _Values(field, quantity)
    return lambda weights, points: functional_call(
        values, {f"field.{name}": weight for name, weight in weights.items()}, (points,)
    )


def weights_of(field: Field) -> Weights:
    """The parameters that are trained, without gradient."""
    return {name: parameter.detach() for name, parameter in field.named_parameters() if parameter.requires_grad}
