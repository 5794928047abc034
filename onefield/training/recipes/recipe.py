"""What a recipe says: how a representation fits a kind of signal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.field import Field
from onefield.fields.heads.distance import DistanceHead
from onefield.fields.heads.head import Head
from onefield.fields.heads.occupancy import OccupancyHead
from onefield.fields.heads.value import ValueHead
from onefield.types import Bounds

# Of a recipe's builder.
Options = dict[str, float]
# The representation of surfaces that may be open.
CLOSEST_POINT_NAME = "csp"
# What Open3D reconstructs from points.
POISSON_NAME = "poisson"


@dataclass(frozen=True)
class Recipe:
    """How to build and train a field for one signal.

    Attributes:
        field: name of the representation.
        options: of its builder; plain numbers, so that a saved fit can be built again.
        encoding_rate, network_rate: peak learning rates.
        final_rate: factor on the rates that they fall to, by half a cosine.
        batch: points a step.
        steps: of a run without a limit of time.
    """

    field: str
    options: dict[str, float]
    encoding_rate: float
    network_rate: float
    final_rate: float
    batch: int
    steps: int


@dataclass(frozen=True)
class Target:
    """What the field of a fit answers.

    Attributes:
        quantity: ``"value"``, ``"distance"``, ``"closest_point"`` or ``"occupancy"``.
        domain: of the signal.
        channels: of the value.
        offset, scale: of the value, distance or displacement, so that the network works near [-1, 1].
    """

    quantity: str
    domain: Bounds
    channels: int
    offset: float
    scale: float

    @classmethod
    def of(cls, facts: Mapping) -> Target:
        """As `dataclasses.asdict` told it."""
        box = facts["domain"]
        return cls(**{**facts, "domain": Bounds(tuple(box["minimum"]), tuple(box["maximum"]))})

    def head(self) -> Head:
        """The head that answers the quantity in the signal's unit."""
        if self.quantity == "value":
            return ValueHead(self.offset, self.scale)
        if self.quantity == "occupancy":
            return OccupancyHead()
        # a quarter of the domain's side: inside the shape's box, whatever the shape
        return DistanceHead(self.domain.extent[0] / 4, self.domain.center, self.scale)


def target_of(signal: Signal | Shape | Points, field: str = "auto") -> Target:
    """Quantity, domain and range of a signal, for a field of this name."""
    if isinstance(signal, Shape | Points):
        if field == CLOSEST_POINT_NAME:
            return Target("closest_point", signal.domain, 3, 0.0, signal.scale / 2)
        if isinstance(signal, Shape) and signal.quantity == "occupancy":
            return Target("occupancy", signal.domain, 1, 0.5, 0.5)
        return Target("distance", signal.domain, 1, 0.0, signal.scale / 2)
    known = signal.at(signal.known())
    low, high = known.min().item(), known.max().item()
    # a constant signal has no range; its offset says it all
    return Target("value", signal.domain, signal.channels, (low + high) / 2, (high - low) / 2 or 1.0)


def stretch_of(signal: Signal | Shape | Points) -> float:
    """By how much a signal's coordinates should exceed [-1, 1]: sounds hold many more periods than pictures do."""
    if isinstance(signal, Signal) and signal.kind == "audio":
        # with 30 radians for each unit, a hundredth of the sound's band, where most of its energy lies
        return max(1.0, 0.01 * signal.shape[0] / 30)
    return 1.0


def by_width(_options: dict[str, float], size: int) -> dict[str, float]:
    """Networks grow by the width of their layers."""
    return {"width": size}


@dataclass(frozen=True)
class Representation:
    """A way to write down signals.

    Attributes:
        name: for ``fit(field=...)``.
        build: an untrained field for a target, by a recipe's options.
        recipe: how it fits a signal; raises UsageError for a kind that it can't represent.
        band_option: the option that the frequencies of an untrained field are proportional to; None if there is none.
        sized: by a recipe's options and a whole number from 1, options of a field whose number of parameters grows
            with that number.
    """

    name: str
    build: Callable[[Target, dict[str, float]], Field]
    recipe: Callable[[Signal | Shape | Points], Recipe]
    band_option: str | None = None
    sized: Callable[[dict[str, float], int], dict[str, float]] = by_width
