"""The one interface of every representation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError, nearest_name
from onefield.types import QUANTITIES, Bounds, Sample


def combinations_of(coordinates: Sequence[Float[Tensor, "_"]]) -> Float[Tensor, "n d"]:
    """Points of a grid from the coordinates along its axes, the last axis running fastest."""
    return torch.stack(torch.meshgrid(*coordinates, indexing="ij"), dim=-1).reshape(-1, len(coordinates))


class Field(nn.Module, ABC):
    """Maps points (and, where it matters, directions and time) to named quantities.

    Attributes:
        domain: where the field is defined, in world units.
        provides: the quantities of `Sample` that it can answer.
        needs_directions: the quantities that depend on the viewing direction.
    """

    domain: Bounds
    provides: frozenset[str]
    needs_directions: frozenset[str] = frozenset()

    @final
    def query(
        self,
        points: Float[Tensor, "*b d"],
        *,
        directions: Float[Tensor, "*b 3"] | None = None,
        time: Float[Tensor, "*b"] | None = None,
        want: Iterable[str] | None = None,
    ) -> Sample:
        """Answers the wanted quantities at world points.

        Args:
            points: world coordinates.
            directions: unit vectors along which each point is looked at (from the eye to the point).
            time: one time a point, for fields that move.
            want: names of quantities; None asks for everything that the field provides.

        Raises:
            UsageError: points that are no real numbers or of another dimension, directions or times that are not one a
                point, an unknown or missing quantity, or directions missing where they matter.
        """
        wanted = self.provides if want is None else frozenset(want)
        self._check(points, directions, wanted)
        self._check_beside(points, directions, time)
        batch = points.shape[:-1]
        flat = self._evaluate(
            points.reshape(-1, points.shape[-1]),
            None if directions is None else directions.reshape(-1, directions.shape[-1]),
            None if time is None else time.reshape(-1),
            wanted,
        )
        return flat if len(batch) == 1 else flat.reshape_batch(batch)

    @final
    def query_grid(self, coordinates: Sequence[Float[Tensor, "_"]], *, want: Iterable[str] | None = None) -> Sample:
        """Answers at all combinations of coordinates, as `query` would; where the field is `separable`, much faster.

        Args:
            coordinates: world coordinates along each axis, x first.
            want: as `query`.

        Raises:
            UsageError: as `query`, which quantities that depend on directions need.
        """
        shape = tuple(len(axis) for axis in coordinates)
        wanted = self.provides if want is None else frozenset(want)
        self._check(coordinates[0].new_zeros(0, len(shape)), None, wanted)
        return self._evaluate_grid(list(coordinates), wanted).reshape_batch(shape)

    @property
    def separable(self) -> bool:
        """Whether a grid of points costs about as much as the sum of its sides, rather than their product."""
        return False

    def _evaluate_grid(self, coordinates: list[Float[Tensor, "_"]], want: frozenset[str]) -> Sample:
        """Answers for all combinations in one flat batch, the last axis running fastest."""
        return self._evaluate(combinations_of(coordinates), None, None, want)

    @abstractmethod
    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        """Answers for one flat batch; arguments were checked."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the rate at which they should learn: ``encoding``, ``network``, ... (each parameter once)."""
        return {"network": list(self.parameters())}

    @final
    def check_points(self, points: Float[Tensor, "*b d"]) -> None:
        """Says at once whether the field can be asked at points.

        Raises:
            UsageError: they are no tensor of real numbers, or of another dimension.
        """
        name = type(self).__name__
        if not isinstance(points, Tensor):
            raise UsageError(f"{name} takes points as a tensor, got {type(points).__name__}; use torch.as_tensor.")
        if points.shape[-1:] != (self.domain.dimension,):
            raise UsageError(
                f"{name} is defined on {self.domain.dimension}-D points, but was asked at points of shape "
                f"{tuple(points.shape)}."
            )
        if not points.is_floating_point():
            raise UsageError(
                f"{name} is defined on real points, but was asked at points of {points.dtype}; give them as floats."
            )

    def _check(self, points: Tensor, directions: Tensor | None, wanted: frozenset[str]) -> None:
        name = type(self).__name__
        self.check_points(points)
        for quantity in wanted - self.provides:
            if quantity not in QUANTITIES:
                raise UsageError(f"Unknown quantity '{quantity}': {nearest_name(quantity, QUANTITIES)}.")
            raise UsageError(f"{name} was asked for '{quantity}' but provides only {', '.join(sorted(self.provides))}.")
        if directions is None and wanted & self.needs_directions:
            missing = ", ".join(sorted(wanted & self.needs_directions))
            raise UsageError(f"{name} needs viewing directions for {missing}; pass directions=... of shape (..., 3).")

    def _check_beside(self, points: Tensor, directions: Tensor | None, time: Tensor | None) -> None:
        batch = tuple(points.shape[:-1])
        expected = {"directions": (directions, (*batch, 3)), "time": (time, batch)}
        for what, (given, shape) in expected.items():
            if given is not None and tuple(given.shape) != shape:
                raise UsageError(
                    f"{type(self).__name__} was asked at points of shape {tuple(points.shape)}, which need {what} of "
                    f"shape {shape}, got {tuple(given.shape)}."
                )
