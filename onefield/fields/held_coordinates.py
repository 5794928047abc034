"""A field of many coordinates where some of them are held."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.types import Bounds, Sample


class HeldCoordinates(Field):
    """A field over the first axes of another, whose last coordinates stay where they are.

    So a field over space and a code is one over space for each code. The code is saved with the field and not trained.
    """

    held: Tensor

    def __init__(self, field: Field, held: Float[Tensor, "k"]) -> None:
        """Wraps a field.

        Args:
            held: its last coordinates.

        Raises:
            UsageError: as many coordinates as the field has, or more.
        """
        super().__init__()
        free = field.domain.dimension - len(held)
        if free < 1:
            raise UsageError(
                f"A field on {field.domain.dimension} axes can't have {len(held)} of them held; leave one free."
            )
        self.field = field
        self.domain = Bounds(field.domain.minimum[:free], field.domain.maximum[:free])
        self.provides = field.provides
        self.needs_directions = field.needs_directions
        self.register_buffer("held", held.detach().clone())

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        whole = torch.cat([points, self.held.to(points).expand(len(points), -1)], dim=-1)
        return self.field.query(whole, directions=directions, time=time, want=want)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the field."""
        return self.field.parameter_groups()
