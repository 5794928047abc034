"""Where equations are to hold: in a box, on its walls, on curves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.types import Bounds

Draw = Callable[[torch.Generator], Float[Tensor, "n d"]]


def inside(domain: Bounds, count: int) -> Draw:
    """Evenly at random in a box."""
    return lambda generator: _scaled(torch.rand(count, domain.dimension, generator=generator), domain)


def wall(domain: Bounds, axis: int, upper: bool, count: int) -> Draw:
    """Evenly at random on one wall of a box, the one across an axis at its lower or upper end."""

    def draw(generator: torch.Generator) -> Tensor:
        points = torch.rand(count, domain.dimension, generator=generator)
        points[:, axis] = float(upper)
        return _scaled(points, domain)

    return draw


def border(domain: Bounds, count: int) -> Draw:
    """On all walls of a box, about ``count`` in all, as many on each."""
    walls = [(axis, upper) for axis in range(domain.dimension) for upper in (False, True)]
    draws = [wall(domain, axis, upper, -(-count // len(walls))) for axis, upper in walls]
    return lambda generator: torch.cat([draw(generator) for draw in draws])


def among(points: Float[Tensor, "m d"], count: int) -> Draw:
    """Some of given points, each as likely."""
    return lambda generator: points[torch.randint(len(points), (count,), generator=generator)]


def _scaled(unit: Tensor, domain: Bounds) -> Tensor:
    # where an equation holds is a matter of the field's precision, which is double
    return domain.from_unit(unit.double())
