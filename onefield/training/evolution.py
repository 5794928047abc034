"""Teaching a field of place and time a shape and how it moves on.

Source: Novello et al., "Neural implicit surface evolution" (2023): the first moment is taught by distances, all others
by the law of motion alone. Two things are done differently. The moments taught reach further into the future as
training goes on, for what comes later follows from what was before. And a shape that becomes another one is there when
the time is over.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.signals import Shape
from onefield.errors import DivergedError, UsageError
from onefield.fields.evolving import AtTime, EvolvingField
from onefield.losses.level_set import mean_curvature_residual, morphing_residual, transport_residual
from onefield.meshing.level_sets import extract_mesh
from onefield.training.fit_samples import shape_samples
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.seeds import cpu_generator
from onefield.types import Mesh

STEPS = 1000
# Of all steps the first teach the shape as it stands; the moments taught reach the end after this share of the others.
_STILL, _REACHED = 0.4, 0.6
_BATCH = 2**11
_RATE, _FINAL_RATE, _WARMUP = 1e-3, 0.02, 20
# Samples with known distances, of which each step draws some; distances below this part of half a side weigh alike.
_POOL, _NEAR = 2**17, 0.02
# Weight of the law against the distances, both in halves of the domain's side and in durations.
_LAW = 1.0
_REPORTS = 20


@dataclass(frozen=True)
class Slopes:
    """What a law looks at, in world units and units of time.

    Attributes:
        points, times: where and when.
        distances: of the field.
        rates, gradients: derivatives by time and place.
        hessians: second derivatives by place, where the law needs them.
    """

    points: Float[Tensor, "n 3"]
    times: Float[Tensor, "n"]
    distances: Float[Tensor, "n"]
    rates: Float[Tensor, "n"]
    gradients: Float[Tensor, "n 3"]
    hessians: Float[Tensor, "n 3 3"] | None


class Law(ABC):
    """How level sets move.

    Attributes:
        bends: it needs second derivatives.
    """

    bends: bool = False

    @abstractmethod
    def residual(self, slopes: Slopes) -> Float[Tensor, "n"]:
        """By how much the law is broken at each point, world units a unit of time."""


@dataclass(frozen=True)
class Transport(Law):
    """Carried along.

    Attributes:
        velocity: of points and times, world units a unit of time.
    """

    velocity: Callable[[Float[Tensor, "n 3"], Float[Tensor, "n"]], Float[Tensor, "n 3"]]

    def residual(self, slopes: Slopes) -> Float[Tensor, "n"]:
        return transport_residual(slopes.rates, slopes.gradients, self.velocity(slopes.points, slopes.times))


@dataclass(frozen=True)
class MeanCurvature(Law):
    """Shrinking by the mean curvature, which smooths.

    Attributes:
        strength: squared world units a unit of time: a ball's squared radius falls by four times this.
    """

    strength: float
    bends = True

    def residual(self, slopes: Slopes) -> Float[Tensor, "n"]:
        return mean_curvature_residual(slopes.rates, slopes.gradients, slopes.hessians, self.strength)


@dataclass(frozen=True)
class Morphing(Law):
    """Towards another shape.

    Attributes:
        target: that shape, closed.
        duration: until it is reached.
    """

    target: Shape
    duration: float = 1.0

    def residual(self, slopes: Slopes) -> Float[Tensor, "n"]:
        wanted = self.target.distance(slopes.points.detach())
        left = self.duration - slopes.times
        reach = self.target.scale / 2
        residual = morphing_residual(slopes.rates, slopes.gradients, slopes.distances, wanted, left, reach)
        return residual / self.duration


def translation(velocity: tuple[float, float, float]) -> Transport:
    """At one velocity everywhere, world units a unit of time."""
    return Transport(lambda points, times: points.new_tensor(velocity).expand_as(points))


def rotation(axis: tuple[float, float, float], rate: float, center: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Transport:
    """About an axis through the centre, right-handed, radians a unit of time.

    Raises:
        UsageError: the axis has no direction.
    """
    unit = _unit(axis)
    return Transport(lambda points, times: rate * _spun(points - points.new_tensor(center), unit))


def twist(axis: tuple[float, float, float], rate: float, center: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Transport:
    """About an axis through the centre, faster with the height above it: radians a unit of time and world unit.

    Raises:
        UsageError: the axis has no direction.
    """
    unit = _unit(axis)

    def velocity(points: Tensor, times: Tensor) -> Tensor:
        arms = points - points.new_tensor(center)
        return rate * (arms @ unit.to(points))[:, None] * _spun(arms, unit)

    return Transport(velocity)


def _unit(axis: tuple[float, float, float]) -> Float[Tensor, "3"]:
    length = math.hypot(*axis)
    if not (math.isfinite(length) and length > 0):
        raise UsageError(f"An axis needs a direction, got {axis}.")
    return torch.tensor(axis) / length


def _spun(arms: Float[Tensor, "n 3"], unit: Float[Tensor, "3"]) -> Float[Tensor, "n 3"]:
    return torch.linalg.cross(unit.to(arms).expand_as(arms), arms)


@dataclass(frozen=True)
class Evolution:
    """A shape that moves.

    Attributes:
        field: answers ``distance`` at points and times.
        metrics: ``residual``, the root mean square of how far the law is broken (halves of the domain's side a
            duration), ``start_error``, the mean error of distances near the first surface in parts of the domain's
            side, ``steps``, ``seconds``.
    """

    field: EvolvingField
    metrics: dict[str, float]

    def mesh_at(self, moment: float, resolution: int = 128) -> Mesh:
        """The surface at a time in ``[0, duration]``.

        Raises:
            DataError: it is gone by then.
        """
        return extract_mesh(AtTime(self.field, moment), resolution=resolution)


def evolve(
    shape: Shape,
    law: Law,
    field: EvolvingField | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
) -> Evolution:
    """Teaches a field a shape and its motion.

    Args:
        shape: closed.
        law: of the motion.
        field: to train, on a cube that holds all of the motion and for its duration; None makes one on the shape's
            domain, for 1 unit of time.
        steps: of training.
        seed: of all random numbers.
        observe: is told, some twenty times, how far the training is.

    Raises:
        UsageError: a number of steps that is not positive.
        DivergedError: the loss is no longer finite.
    """
    if steps < 1:
        raise UsageError(f"An evolution needs a positive number of steps, got {steps}.")
    generator = cpu_generator(seed)
    if field is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            field = EvolvingField(shape.domain)
    taught = _Teaching(shape, law, field, generator)
    names = dict(field.named_parameters())
    optimizer = Adam(names, dict.fromkeys(names, "network"), {"network": GroupRate(_RATE)})
    began = time.perf_counter()
    for step in range(steps):
        share = step / steps
        optimizer.zero_gradients()
        loss = taught.loss(share)
        loss.backward()
        if not bool(torch.isfinite(loss)):
            raise DivergedError(f"The evolution lost all finite values at step {step}; take a slower motion.")
        fall = _FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * share)) / 2
        optimizer.step(min(1.0, (step + 1) / _WARMUP) * fall)
        if observe is not None and step % max(1, steps // _REPORTS) == 0:
            observe(f"{share:4.0%}  step {step}  loss {loss.item():.3g}")
    facts = {"steps": float(steps), "seconds": time.perf_counter() - began}
    return Evolution(field, taught.metrics() | facts)


class _Teaching:
    """Batches of the first moment, and of the law for all others."""

    def __init__(self, shape: Shape, law: Law, field: EvolvingField, generator: torch.Generator) -> None:
        self._law, self._field, self._generator = law, field, generator
        self._half = max(field.domain.extent) / 2
        near = shape_samples(shape, _POOL, generator)
        anywhere = field.domain.from_unit(torch.rand(_POOL // 4, 3, generator=generator))
        self._points = torch.cat([near, anywhere])
        self._distances = shape.distance(self._points)

    def loss(self, share: float) -> Tensor:
        """Of one batch, after this share of the training."""
        picked = torch.randint(len(self._points), (_BATCH,), generator=self._generator)
        truth = self._distances[picked]
        wrong = (self._asked(self._points[picked], torch.zeros(_BATCH)) - truth) / self._half
        start = (wrong.square() / (truth.abs() / self._half + _NEAR)).mean()
        if share <= _STILL:
            return start
        reach = min(1.0, (share - _STILL) / ((1 - _STILL) * _REACHED))
        return start + _LAW * self._broken(reach)

    def _asked(self, points: Tensor, times: Tensor) -> Tensor:
        return self._field.query(points, time=times, want=("distance",)).distance

    def _broken(self, reach: float) -> Tensor:
        """Mean square of how far the law is broken up to a share of the duration, in halves of a side a duration."""
        points = self._field.domain.from_unit(torch.rand(_BATCH, 3, generator=self._generator))
        times = reach * self._field.duration * torch.rand(_BATCH, generator=self._generator)
        residual = self._law.residual(self._slopes(points, times))
        return (residual * (self._field.duration / self._half)).square().mean()

    def _slopes(self, points: Tensor, times: Tensor) -> Slopes:
        points, times = points.requires_grad_(True), times.requires_grad_(True)
        distances = self._asked(points, times)
        gradients, rates = torch.autograd.grad(distances.sum(), (points, times), create_graph=True)
        hessians = None
        if self._law.bends:
            rows = [torch.autograd.grad(part.sum(), points, create_graph=True)[0] for part in gradients.unbind(1)]
            hessians = torch.stack(rows, dim=1)
        return Slopes(points, times, distances, rates, gradients, hessians)

    def metrics(self) -> dict[str, float]:
        """Those of `Evolution`."""
        residual = self._broken(1.0).sqrt().item()
        near = self._distances.abs() < _NEAR * self._half
        with torch.no_grad():
            found = self._asked(self._points[near], torch.zeros(int(near.sum())))
        error = (found - self._distances[near]).abs().mean().item() / (2 * self._half)
        return {"residual": residual, "start_error": error}
