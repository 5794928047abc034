"""Configuration of Gaussians in levels: how many there are, what they start from, and at which rates they learn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from onefield.configs.gaussians import camera_extent, scene_domain, start_points
from onefield.data.scene import Scene
from onefield.errors import DataError, UsageError
from onefield.fields.gaussian_hierarchy import CHILDREN, GaussianHierarchy
from onefield.training.method import Strategy
from onefield.training.optimizer import GroupRate
from onefield.types import Bounds, Gaussians

# Above this share of the cameras' extent a Gaussian is large (Kerbl et al. (2023), as in GSGAN).
_DENSE = 0.01


@dataclass(frozen=True)
class HierarchySet:
    """Gaussians in levels below a few roots, as many at the end as at the start (GSGAN's parameterisation).

    Attributes:
        points: PLY file that the roots are drawn from, in the dataset's coordinates; None takes the scene's own points,
            or random ones.
        roots: Gaussians of the first level; each further level has four times as many.
        levels: of Gaussians, all of which are drawn.
        first_opacity: that all start with.
        place_rate: of places within the parents' boxes, which reach from -1 to 1 before the hyperbolic tangent.
        scale_rate, rotation_rate, opacity_rate, color_rate: of the differences from the parents.
        final_rate: share of the rate of places that is left at the end.
    """

    kind: ClassVar[str] = "gaussian-hierarchy"
    points: str | None = None
    roots: int = 256
    levels: int = 4
    first_opacity: float = 0.1
    place_rate: float = 2e-2
    scale_rate: float = 2e-2
    rotation_rate: float = 1e-3
    opacity_rate: float = 0.05
    color_rate: float = 2e-2
    final_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.roots < 2 or self.levels < 1:
            raise UsageError(
                f"field.roots must be at least 2 and field.levels at least 1, got {self.roots} and {self.levels}."
            )
        if not 0 < self.first_opacity < 1:
            raise UsageError(f"field.first_opacity must lie between 0 and 1, got {self.first_opacity}.")
        for name in ("place_rate", "scale_rate", "rotation_rate", "opacity_rate", "color_rate", "final_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"field.{name} must be positive, got {getattr(self, name)}.")

    @property
    def count(self) -> int:
        """Gaussians of all levels."""
        return self.roots * (CHILDREN**self.levels - 1) // (CHILDREN - 1)

    def build(self, bounded: bool, extent: float) -> GaussianHierarchy:
        """A hierarchy below roots without meaning: for what asks about sizes, or loads the values."""
        count = self.roots
        roots = Gaussians(
            torch.zeros(count, 3),
            torch.zeros(count, 3),
            torch.ones(count, 4),
            torch.zeros(count),
            (torch.zeros(count, 1, 3),),
        )
        return GaussianHierarchy(Bounds.cube(1.0 if bounded else extent), roots, self.levels)

    def started(self, scene: Scene) -> GaussianHierarchy:
        """The hierarchy that training starts from.

        Raises:
            DataError: the file of points can't be read, or there are fewer points than roots.
        """
        cloud = start_points(scene, self.points, self.roots, self.roots)
        if len(cloud.points) < self.roots:
            raise DataError(
                f"A hierarchy of {self.roots} roots needs as many points, but there are {len(cloud.points)}; lower "
                "field.roots, or give other points (field.points)."
            )
        dense = _DENSE * camera_extent(scene)
        return GaussianHierarchy.from_points(scene_domain(scene), cloud, self.levels, self.first_opacity, dense)

    def rates(self, scene: Scene) -> dict[str, GroupRate]:
        """Learning rates of the groups of parameters."""
        del scene
        rates = {
            "scales": self.scale_rate,
            "rotations": self.rotation_rate,
            "opacities": self.opacity_rate,
            "colors": self.color_rate,
        }
        constant = {name: GroupRate(rate, final=1.0) for name, rate in rates.items()}
        return constant | {"means": GroupRate(self.place_rate, final=self.final_rate)}

    def strategies(self, scene: Scene) -> tuple[Strategy, ...]:
        """None: how many there are is settled."""
        del scene
        return ()
