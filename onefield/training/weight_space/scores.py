"""How well models of weights do on fields that they did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import UsageError
from onefield.training.field_dataset import FieldDataset, with_weights
from onefield.training.fitted import Fitted
from onefield.training.seeds import cpu_generator

# One field in so many is held out.
_HELD = 4
LEAST_FIELDS = 2 * _HELD
# Places at which fields are compared.
_PLACES = 2**10


def held_out(dataset: FieldDataset, seed: int = 0) -> tuple[Int[Tensor, "n"], Int[Tensor, "m"]]:
    """Rows to learn from, and a quarter of each label's rows to test with.

    Raises:
        UsageError: fewer than 8 fields.
    """
    if len(dataset) < LEAST_FIELDS:
        raise UsageError(
            f"A model of weights needs {LEAST_FIELDS} fields or more, a quarter of them to be tested with, got "
            f"{len(dataset)}; fit more signals."
        )
    generator = cpu_generator(seed)
    known, held, turn = [], [], 0
    for label in sorted(set(dataset.labels)):
        rows = torch.tensor([row for row, each in enumerate(dataset.labels) if each == label])
        # counted on from label to label, so that small ones have their turn
        for row in rows[torch.randperm(len(rows), generator=generator)].tolist():
            turn += 1
            (held if turn % _HELD == 0 else known).append(row)
    return torch.tensor(known), torch.tensor(held)


def answers(start: Fitted, rows: Float[Tensor, "n p"], seed: int = 0) -> Float[Tensor, "n q"]:
    """What fields with these weights say at 1,024 places of the domain, relative to half the range of the start."""
    domain = start.target.domain
    places = torch.rand(_PLACES, domain.dimension, generator=torch.Generator().manual_seed(seed))
    points = domain.from_unit(places)
    return torch.stack([with_weights(start, row)(points).flatten() for row in rows]) / start.target.scale


@dataclass(frozen=True)
class Likeness:
    """How fields that were drawn compare with as many real ones, by the distance of what they answer.

    Attributes:
        nearest_neighbour: share of all whose nearest other one is of their own side (1-NNA, Lopez-Paz and Oquab 2017);
            0.5 where the two can't be told apart, 1 where they are two things.
        coverage: share of the real ones that are the nearest of one that was drawn (Achlioptas et al. 2018).
        distance: root mean square one of a real one to the nearest that was drawn, in the mean.
    """

    nearest_neighbour: float
    coverage: float
    distance: float


def likeness(drawn: Float[Tensor, "n q"], real: Float[Tensor, "m q"]) -> Likeness:
    """Compares two sets of `answers`."""
    both = torch.cat([drawn, real])
    gaps = torch.cdist(both, both) / both.shape[1] ** 0.5
    count = len(drawn)
    side = torch.arange(len(both)) < count
    nearest = gaps.clone().fill_diagonal_(torch.inf).argmin(1)
    across = gaps[:count, count:]
    return Likeness(
        (side[nearest] == side).float().mean().item(),
        len(across.argmin(1).unique()) / len(real),
        across.amin(0).mean().item(),
    )


def most_frequent(labels: Sequence[str]) -> float:
    """Share of the most frequent label: what is right without looking."""
    return max(labels.count(label) for label in set(labels)) / len(labels)
