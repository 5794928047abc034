"""A problem with a known solution, and how near a field came to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.field import Field


@dataclass(frozen=True)
class Solved:
    """What came out.

    Attributes:
        field: the solution, or its last moment.
        metrics: ``error``, the root mean square difference from the solution in closed form, in parts of that one's
            own root mean square; what else the problem tells.
        picture: the field and the truth side by side, rows and columns; None for solutions along a line.
    """

    field: Field
    metrics: dict[str, float]
    picture: Float[Tensor, "h w"]


@dataclass(frozen=True)
class Study:
    """A problem that can be run.

    Attributes:
        name: for ``onefield solve``.
        meaning: what it is, for people.
        run: with a seed, and a function that is told how far it is.
    """

    name: str
    meaning: str
    run: Callable[[int, Callable[[str], None] | None], Solved]


@torch.no_grad()
def relative_error(found: Float[Tensor, "*b"], truth: Float[Tensor, "*b"]) -> float:
    """Root mean square of the difference, in parts of the truth's."""
    return ((found - truth).square().mean() / truth.square().mean()).sqrt().item()


def side_by_side(found: Float[Tensor, "h w"], truth: Float[Tensor, "h w"]) -> Float[Tensor, "h v"]:
    """Two pictures with a gap, both scaled by the truth to [0, 1]."""
    low, high = truth.min(), truth.max()
    gap = torch.ones(len(truth), max(1, truth.shape[1] // 16), dtype=truth.dtype)
    return torch.cat([(found - low) / (high - low), gap, (truth - low) / (high - low)], dim=1).clamp(0, 1)
