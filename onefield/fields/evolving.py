"""A signed distance that changes with time, and what it is at one moment."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.networks.siren import Siren
from onefield.types import Bounds, Sample


class EvolvingField(Field):
    """Level sets of a sine network of place and time (Novello et al., "Neural implicit surface evolution" (2023)).

    Its surface is where ``distance`` is 0, negative inside. It starts without change: the network's weights of time are
    0, and they stay so while only the first moment is taught, whose coordinate is 0, too.
    """

    provides = frozenset({"distance"})

    def __init__(
        self, domain: Bounds, duration: float = 1.0, width: int = 128, hidden_layers: int = 2, w0: float = 15.0
    ) -> None:
        """Makes an untrained field.

        Args:
            domain: a cube, world units.
            duration: of the evolution, which begins at time 0; any unit.
            width, hidden_layers, w0: of the `Siren`.

        Raises:
            UsageError: a domain that is not three-dimensional, or a duration that is not positive.
        """
        super().__init__()
        if domain.dimension != 3 or duration <= 0:
            raise UsageError(
                f"An evolving field needs a 3-D domain and a positive duration, got {domain.dimension} axes and "
                f"{duration}."
            )
        self.domain = domain
        self.duration = duration
        self.network = Siren(4, 1, width, hidden_layers, w0, output_gain=0.1)
        with torch.no_grad():
            self.network.weights[0][:, 3] = 0

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        moment = points.new_zeros(len(points)) if time is None else time.to(points) / self.duration
        inputs = torch.cat([2 * self.domain.to_unit(points) - 1, moment[:, None]], dim=1)
        return Sample(distance=max(self.domain.extent) / 2 * self.network(self.network.to_own_type(inputs))[:, 0])


class AtTime(Field):
    """A field that changes with time, at one moment."""

    def __init__(self, field: Field, time: float) -> None:
        """Wraps a field.

        Args:
            time: at which it is asked, whatever time a query names.
        """
        super().__init__()
        self.field = field
        self.time = time
        self.domain = field.domain
        self.provides = field.provides
        self.needs_directions = field.needs_directions

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        moments = points.new_full((len(points),), self.time)
        return self.field.query(points, directions=directions, time=moments, want=want)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the field."""
        return self.field.parameter_groups()
