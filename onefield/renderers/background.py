"""What lies behind everything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.renderers.sampling.intervals import uniform
from onefield.types import Rays


class Background(nn.Module, ABC):
    """Gives each ray the colour that shows where its opacity is below 1.

    Attributes:
        name: for tables of results, which mean little without it.
    """

    name: str

    @abstractmethod
    def forward(self, rays: Rays, generator: torch.Generator | None = None) -> Float[Tensor, "R 3"]:
        """Colours in [0, 1].

        Args:
            generator: given in training; None asks for the colour to evaluate over.
        """

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the rate at which they should learn, as `Field.parameter_groups`."""
        parameters = list(self.parameters())
        return {"network": parameters} if parameters else {}


@final
class White(Background):
    """White, as NeRF's synthetic scenes are compared over."""

    name = "white"

    def forward(self, rays: Rays, generator: torch.Generator | None = None) -> Float[Tensor, "R 3"]:
        """See `Background`."""
        return torch.ones_like(rays.directions)


@final
class Black(Background):
    """Black: what isn't covered adds nothing."""

    name = "black"

    def forward(self, rays: Rays, generator: torch.Generator | None = None) -> Float[Tensor, "R 3"]:
        """See `Background`."""
        return torch.zeros_like(rays.directions)


@final
class Random(Background):
    """Another colour for every ray in training, so that no background can be learned; white in evaluation.

    Photos without alpha show no background at all, and then everything in them becomes opaque; pictures with alpha are
    composited over the same colours.
    """

    name = "white (random in training)"

    def forward(self, rays: Rays, generator: torch.Generator | None = None) -> Float[Tensor, "R 3"]:
        """See `Background`."""
        if generator is None:
            return torch.ones_like(rays.directions)
        return uniform(tuple(rays.directions.shape), rays.directions, generator)


@final
class Learned(Background):
    """A learned smooth colour of the direction: real spherical harmonics up to degree 2, through a sigmoid."""

    name = "learned"

    def __init__(self, degree: int = 2) -> None:
        """Makes a grey background.

        Args:
            degree: 0 (one colour) to 2.

        Raises:
            UsageError: another degree.
        """
        super().__init__()
        if not 0 <= degree <= 2:
            raise UsageError(f"A learned background takes degree 0, 1 or 2, got {degree}.")
        self.degree = degree
        self.coefficients = nn.Parameter(torch.zeros((degree + 1) ** 2, 3))

    def forward(self, rays: Rays, generator: torch.Generator | None = None) -> Float[Tensor, "R 3"]:
        """See `Background`."""
        x, y, z = rays.directions.unbind(-1)
        # up to constant factors, which the coefficients take up
        basis = [torch.ones_like(x), x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1]
        return torch.sigmoid(torch.stack(basis[: len(self.coefficients)], dim=-1) @ self.coefficients)


def composite_alpha(colors: Float[Tensor, "*b c"], background: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """RGB or RGBA (straight alpha) over a background: what a picture with alpha shows in front of it."""
    if colors.shape[-1] == 3:
        return colors
    return torch.lerp(background, colors[..., :3], colors[..., 3:])
