"""A motion of Gaussians as options of a command."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.gaussian_frames import moved_gaussians
from onefield.types import Gaussians


@dataclass(frozen=True)
class Motion:
    """Scaling, then turning, then shifting; colours turn along.

    Attributes:
        scale: enlarge by this factor about the origin.
        rotate: degrees about the axes x, then y, then z, through the origin.
        move: shift along x, y, z, in the units of the scaled set.
    """

    scale: float = 1.0
    rotate: tuple[float, float, float] = (0.0, 0.0, 0.0)
    move: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not (self.scale > 0 and math.isfinite(self.scale)):
            raise UsageError(f"--scale takes a number above 0, got {self.scale}.")
        if not all(map(math.isfinite, (*self.rotate, *self.move))):
            raise UsageError(f"--rotate and --move take finite numbers, got {self.rotate} and {self.move}.")

    def applied(self, gaussians: Gaussians) -> Gaussians:
        """The set after the motion; one that stands still comes back as it is."""
        if self == AS_IT_STANDS:
            return gaussians
        translation = torch.tensor(self.move, dtype=torch.float64)
        return moved_gaussians(gaussians, self.scale, rotation_about_axes(self.rotate), translation)


def rotation_about_axes(degrees: tuple[float, float, float]) -> Float[Tensor, "3 3"]:
    """The rotation about x, then about y, then about z, all of them fixed, right-handed axes; float64."""
    rotation = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(map(math.radians, degrees)):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3, dtype=torch.float64)
        turn[one, one] = turn[other, other] = math.cos(angle)
        turn[other, one], turn[one, other] = math.sin(angle), -math.sin(angle)
        rotation = turn @ rotation
    return rotation


AS_IT_STANDS = Motion()
