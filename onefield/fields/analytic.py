"""Shapes known in closed form: exact signed distances, and the density, occupancy and colour that follow from them.

They are the truth that renderers, extractors and losses are held against.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.types import Bounds, Sample

# Radians a world unit of the colour pattern: under one period over the normalised scene, so smooth, and all distinct.
_WAVE_NUMBERS = (2.0, 3.0, 2.5)
_WAVE_PHASES = (0.0, 1.0, 2.0)
_QUANTITIES = frozenset({"distance", "occupancy", "density", "color"})


@dataclass(frozen=True)
class Material:
    """How a shape absorbs light.

    Attributes:
        density: deep inside, per world unit.
        softness: width of the surface, world units: occupancy is ``sigmoid(-distance / softness)``; 0 is a hard edge.
        color: RGB in [0, 1] everywhere; None paints ``0.5 + 0.5 sin(k x + phase)``, a wave along each axis.
    """

    density: float = 50.0
    softness: float = 0.0
    color: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.density < 0 or self.softness < 0:
            raise UsageError(f"A material needs density and softness >= 0, got {self.density} and {self.softness}.")

    def occupancy_at(self, distance: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        if self.softness == 0:
            return (distance < 0).to(distance.dtype)
        return torch.sigmoid(-distance / self.softness)

    def color_at(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        if self.color is not None:
            return points.new_tensor(self.color).expand(points.shape[0], 3)
        return 0.5 + 0.5 * torch.sin(points * points.new_tensor(_WAVE_NUMBERS) + points.new_tensor(_WAVE_PHASES))


class AnalyticField(Field):
    """A field without parameters over one signed distance."""

    provides = _QUANTITIES

    def __init__(self, material: Material, domain: Bounds | None) -> None:
        super().__init__()
        self.material = material
        self.domain = Bounds.cube(1.0) if domain is None else domain

    @abstractmethod
    def _distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Signed distance in world units, negative inside."""

    def _color(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return self.material.color_at(points)

    def _matter(self, points: Float[Tensor, "n 3"], distance: Float[Tensor, "n"]) -> tuple[Tensor, Tensor]:
        """Occupancy and density."""
        occupancy = self.material.occupancy_at(distance)
        return occupancy, occupancy * self.material.density

    @final
    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        distance = self._distance(points) if want - {"color"} else None
        occupancy = density = None
        if want & {"occupancy", "density"}:
            occupancy, density = self._matter(points, distance)
        return Sample(
            distance=distance if "distance" in want else None,
            occupancy=occupancy if "occupancy" in want else None,
            density=density if "density" in want else None,
            color=self._color(points) if "color" in want else None,
        )


@final
class SphereField(AnalyticField):
    """A ball: ``|x - center| - radius``."""

    def __init__(
        self,
        radius: float = 0.5,
        center: Sequence[float] = (0.0, 0.0, 0.0),
        material: Material = Material(),
        domain: Bounds | None = None,
    ) -> None:
        super().__init__(material, domain)
        self.radius = radius
        self.center = tuple(center)

    def _distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return (points - points.new_tensor(self.center)).norm(dim=-1) - self.radius

    def volume(self) -> float:
        """World units cubed."""
        return 4 / 3 * math.pi * self.radius**3

    def area(self) -> float:
        """World units squared."""
        return 4 * math.pi * self.radius**2


@final
class BoxField(AnalyticField):
    """An axis-aligned box, exact distance also beyond its edges and corners."""

    def __init__(
        self,
        half_extent: Sequence[float] = (0.5, 0.5, 0.5),
        center: Sequence[float] = (0.0, 0.0, 0.0),
        material: Material = Material(),
        domain: Bounds | None = None,
    ) -> None:
        super().__init__(material, domain)
        self.half_extent = tuple(half_extent)
        self.center = tuple(center)

    def _distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        beyond = (points - points.new_tensor(self.center)).abs() - points.new_tensor(self.half_extent)
        return beyond.clamp(min=0).norm(dim=-1) + beyond.max(dim=-1).values.clamp(max=0)

    def volume(self) -> float:
        """World units cubed."""
        return 8 * math.prod(self.half_extent)

    def area(self) -> float:
        """World units squared."""
        x, y, z = self.half_extent
        return 8 * (x * y + y * z + z * x)


@final
class TorusField(AnalyticField):
    """A ring around the z axis: a tube of radius ``minor`` about a circle of radius ``major > minor``."""

    def __init__(
        self,
        major: float = 0.5,
        minor: float = 0.2,
        center: Sequence[float] = (0.0, 0.0, 0.0),
        material: Material = Material(),
        domain: Bounds | None = None,
    ) -> None:
        if not 0 < minor < major:
            raise UsageError(f"A torus needs 0 < minor < major, got minor {minor} and major {major}.")
        super().__init__(material, domain)
        self.major = major
        self.minor = minor
        self.center = tuple(center)

    def _distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        local = points - points.new_tensor(self.center)
        ring = local[:, :2].norm(dim=-1) - self.major
        return torch.stack([ring, local[:, 2]], dim=-1).norm(dim=-1) - self.minor

    def volume(self) -> float:
        """World units cubed (Pappus)."""
        return 2 * math.pi**2 * self.major * self.minor**2

    def area(self) -> float:
        """World units squared (Pappus)."""
        return 4 * math.pi**2 * self.major * self.minor


@final
class MixtureField(AnalyticField):
    """The union of shapes, each with its own material.

    The distance is the least of the shapes' (exact outside, a bound inside). With ``smoothness`` it is the smooth
    minimum ``-s log sum exp(-d_i / s)``, at most ``s log n`` below, which rounds the joints. Density is the sum of the
    shapes', colour their density-weighted mean (that of the nearest shape where all are empty).
    """

    def __init__(self, shapes: Sequence[AnalyticField], smoothness: float = 0.0, domain: Bounds | None = None) -> None:
        if not shapes:
            raise UsageError("MixtureField needs at least one shape.")
        if smoothness < 0:
            raise UsageError(f"MixtureField needs smoothness >= 0, got {smoothness}.")
        super().__init__(shapes[0].material, domain)
        self.shapes = torch.nn.ModuleList(shapes)
        self.smoothness = smoothness

    def _each(self, points: Tensor, quantity: str) -> list[Tensor]:
        return [getattr(shape.query(points, want=(quantity,)), quantity) for shape in self.shapes]

    def _distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        distances = torch.stack(self._each(points, "distance"))
        if self.smoothness == 0:
            return distances.min(dim=0).values
        return -self.smoothness * torch.logsumexp(-distances / self.smoothness, dim=0)

    def _matter(self, points: Float[Tensor, "n 3"], distance: Float[Tensor, "n"]) -> tuple[Tensor, Tensor]:
        occupancy = torch.stack(self._each(points, "occupancy")).max(dim=0).values
        return occupancy, torch.stack(self._each(points, "density")).sum(dim=0)

    def _color(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        densities = torch.stack(self._each(points, "density"))
        distances = torch.stack(self._each(points, "distance"))
        nearest = torch.nn.functional.one_hot(distances.argmin(dim=0), len(self.shapes)).T
        total = densities.sum(dim=0)
        shares = torch.where(total > 0, densities / torch.where(total > 0, total, 1.0), nearest.to(total.dtype))
        return (shares[..., None] * torch.stack(self._each(points, "color"))).sum(dim=0)
