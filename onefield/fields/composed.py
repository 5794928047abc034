"""Encoding, network and heads put together: the field of most methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.field import Field, combinations_of
from onefield.fields.heads.head import Head
from onefield.fields.networks.factorised import FactorisedNetwork
from onefield.fields.networks.network import Network
from onefield.types import Bounds, Sample


@final
class ComposedField(Field):
    """Points go through ``domain.to_unit``, the encoding, the network, and one head a quantity.

    Provides what its heads provide, and ``features``: the network's output (the encoding's without a network). Each
    head reads its own channels of the features: density and distance channel 0, colour the channels from 1 on, values
    all of them. Only the heads that were asked for are evaluated, so a query for density alone never pays for colour.
    """

    def __init__(self, domain: Bounds, encoding: Encoding, network: Network | None, heads: Sequence[Head]) -> None:
        """Joins the parts.

        Args:
            domain: the box of the field, world units.
            encoding: of points in the unit cube.
            network: None gives the heads the encoding's output.
            heads: at most one a quantity.

        Raises:
            UsageError: parts that do not fit together.
        """
        super().__init__()
        if encoding.input_dimension != domain.dimension:
            raise UsageError(
                f"The encoding takes {encoding.input_dimension}-D points, but the domain has {domain.dimension} axes."
            )
        if network is not None and network.input_dimension != encoding.output_dimension:
            raise UsageError(
                f"The encoding gives {encoding.output_dimension} features, but the network takes "
                f"{network.input_dimension}."
            )
        names = [head.provides for head in heads]
        if len(set(names)) < len(names):
            raise UsageError(f"A field needs at most one head a quantity, got {', '.join(names)}.")
        for head in heads:
            head.check((encoding if network is None else network).output_dimension, domain.dimension)
        self.domain = domain
        self.encoding = encoding
        self.network = network
        self.heads = nn.ModuleDict({head.provides: head for head in heads})
        self.provides = frozenset(names) | {"features"}
        self.needs_directions = frozenset(head.provides for head in heads if head.needs_directions)

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        features = self.encoding(self.domain.to_unit(points))
        if self.network is not None:
            features = self.network(self.network.to_own_type(features))
        answers = {name: head(features, directions, points) for name, head in self.heads.items() if name in want}
        if "features" in want:
            answers["features"] = features
        return Sample(**answers)

    @property
    def separable(self) -> bool:
        """Where the network is a product of networks of single coordinates."""
        return isinstance(self.network, FactorisedNetwork) and isinstance(self.encoding, IdentityEncoding)

    def _evaluate_grid(self, coordinates: list[Float[Tensor, "_"]], want: frozenset[str]) -> Sample:
        if not self.separable:
            return super()._evaluate_grid(coordinates, want)
        columns = []
        for axis, places in enumerate(coordinates):
            low, side = self.domain.minimum[axis], self.domain.extent[axis]
            columns.append(self.network.to_own_type(self.encoding((places[:, None] - low) / side)[:, 0]))
        features = self.network.on_grid(columns).flatten(0, -2)
        points = combinations_of(coordinates)
        answers = {name: head(features, None, points) for name, head in self.heads.items() if name in want}
        if "features" in want:
            answers["features"] = features
        return Sample(**answers)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The encoding's parameters under its own group's name, all others under ``network``; no group is empty."""
        encoding = list(self.encoding.parameters())
        known = {id(parameter) for parameter in encoding}
        groups: dict[str, list[nn.Parameter]] = {self.encoding.parameter_group: encoding}
        groups.setdefault("network", []).extend(p for p in self.parameters() if id(p) not in known)
        return {name: parameters for name, parameters in groups.items() if parameters}
