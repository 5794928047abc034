"""OReX: a network that says in or out, learned from points on planes (Sawdayee, Vaxman and Bermano 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from onefield.data.slice_samples import WIDTHS
from onefield.data.slices import Slices
from onefield.errors import DivergedError
from onefield.fields.field import Field
from onefield.losses.occupancy import excess_slope, refined_cross_entropy
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.slice_task import SliceTask

# Share of the peak rate that is left at the end.
_FINAL_RATE = 0.02
_WARMUP_STEPS = 50
# Of a batch: points around the box, which are outside, and of the others those spread evenly over the planes.
_AROUND, _EVEN = 0.125, 0.4
# Widths about the contours that are drawn from at once, the narrowest so far and those before it.
_WIDTHS_AT_ONCE = 3
# Of a batch: points whose slope is looked at, each of which costs as much as four others.
_SLOPE_SHARE = 0.25


@dataclass(frozen=True)
class OrexSettings:
    """How the network learns; lengths are in half the longest side of the box.

    Attributes:
        rate: peak of Adam's.
        batch: points a step.
        slope_limit: of the logits; 0 lets them rise as they like.
        slope_weight: of the mean excess over the limit.
        narrowing: whether narrower and narrower widths about the contours join while training goes on; without, all
            widths are drawn from at all times.
    """

    rate: float = 5e-3
    batch: int = 4096
    slope_limit: float = 40.0
    slope_weight: float = 1e-2
    narrowing: bool = True


def train_orex(field: Field, task: SliceTask, settings: OrexSettings) -> int:
    """Trains a field with occupancy whose features are the logits after every turn, the last one first, in place.

    Returns:
        Steps that were taken.

    Raises:
        DivergedError: the loss is not finite.
    """
    slices, samples, generator = task.slices, task.samples, task.generator
    parameters = dict(field.named_parameters())
    optimizer = Adam(parameters, dict.fromkeys(parameters, "network"), {"network": GroupRate(settings.rate)})
    half = max(slices.bounds.extent) / 2
    even = torch.nonzero(samples.rank == 0)[:, 0]
    near = [torch.nonzero(samples.rank == rank)[:, 0] for rank in range(1, len(WIDTHS) + 1)]
    step = 0
    while True:
        share = task.share_done(step)
        if share >= 1 and step > 0:
            return step
        index = _drawn(even, near, settings, share, generator)
        around = _around(slices, int(settings.batch * _AROUND), generator)
        points = torch.cat([samples.points[index], around])
        inside = torch.cat([samples.inside[index], torch.zeros(len(around), dtype=torch.bool)])
        optimizer.zero_gradients()
        loss = refined_cross_entropy(field.query(points, want=("features",)).features, inside)
        if settings.slope_limit:
            picked = torch.randperm(len(points), generator=generator)[: int(settings.batch * _SLOPE_SHARE)]
            gradients = half * _gradients(field, points[picked])
            loss = loss + settings.slope_weight * excess_slope(gradients, settings.slope_limit)
        loss.backward()
        if not torch.isfinite(loss):
            raise DivergedError(f"The network lost all finite values at step {step}; take --field grid.")
        warm = min(1.0, (step + 1) / _WARMUP_STEPS)
        optimizer.step(warm * (_FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * min(share, 1))) / 2))
        step += 1
        task.observe(share, step, loss.item())


def _gradients(field: Field, points: Tensor) -> Tensor:
    """Of the final logit, per world unit; can be differentiated again."""
    points = points.detach().requires_grad_()
    logits = field.query(points, want=("features",)).features[:, 0]
    (gradients,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
    return gradients


def _drawn(
    even: Tensor, near: list[Tensor], settings: OrexSettings, share: float, generator: torch.Generator
) -> Tensor:
    """Indices of a batch of samples on planes, without the points around the box."""
    count = settings.batch - int(settings.batch * _AROUND)
    pools = [pool for pool in near if len(pool)]
    if settings.narrowing and pools:
        newest = min(len(pools), 1 + int(share * len(pools)))
        pools = pools[max(0, newest - _WIDTHS_AT_ONCE) : newest]
    evenly = int(count * _EVEN) if pools else count
    picked = [even[torch.randint(len(even), (evenly,), generator=generator)]]
    for number, pool in enumerate(pools):
        wanted = (count - evenly) // len(pools) + (number < (count - evenly) % len(pools))
        picked.append(pool[torch.randint(len(pool), (wanted,), generator=generator)])
    return torch.cat(picked)


def _around(slices: Slices, count: int, generator: torch.Generator) -> Tensor:
    """Points on the sides of the slices' box, where the solid ends at the latest."""
    unit = torch.rand(count, 3, generator=generator)
    axis = torch.randint(3, (count, 1), generator=generator)
    end = torch.randint(2, (count, 1), generator=generator).to(unit.dtype)
    return slices.bounds.from_unit(unit.scatter(1, axis, end))
