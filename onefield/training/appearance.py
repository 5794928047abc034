"""What differs from photo to photo though the scene does not: exposure, colour cast, development.

A model corrects rendered colours by a few numbers an image, so it works for every field and renderer. What moves with
place in the scene (shadows, weather) is beyond it.

**Gauge.** Brightening the scene and darkening all photos changes nothing. So the numbers' mean over the training images
is subtracted, and numbers of zero leave colours as they are: the scene itself has the mean look, which is also what new
views get.

Colours are corrected as stored (sRGB): under a power-law transfer curve a gain of light is a gain there too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from onefield.errors import UsageError, nearest_name
from onefield.fields.networks.mlp import Mlp
from onefield.losses.term import LossTerm

# Pull towards no correction, on the mean square of the numbers: breaks ties, and costs a 30 % gain less than 1e-4.
PRIOR_WEIGHT = 1e-3
CODE_SIZE = 8
_CODE_WIDTH = 32


class Appearance(nn.Module, ABC):
    """Corrects rendered colours by numbers of their own image.

    Attributes:
        numbers: how many an image has.
        background_stays: the photos have alpha, so that what lies behind is no part of them and is not corrected.
    """

    def __init__(self, views: int, trained: Int[Tensor, "T"], numbers: int, background_stays: bool) -> None:
        """Starts without any correction.

        Args:
            views: images of the scene.
            trained: those that are learned from; the others keep the mean look.
        """
        super().__init__()
        self.numbers = numbers
        self.background_stays = background_stays
        self.values = nn.Parameter(torch.zeros(views, numbers))
        takes_part = torch.zeros(views, 1)
        takes_part[trained] = 1.0
        self.register_buffer("takes_part", takes_part, persistent=False)

    @abstractmethod
    def corrected(
        self, colors: Float[Tensor, "R 3"], coverage: Float[Tensor, "R 1"], values: Float[Tensor, "R k"]
    ) -> Float[Tensor, "R 3"]:
        """Colours after correction.

        Args:
            colors: multiplied by ``coverage``.
            coverage: how much of the ray the colour stands for, in [0, 1].
            values: the numbers of each ray's image; zeros change nothing.
        """

    def corrections(self) -> Float[Tensor, "C k"]:
        """The numbers of each image, less their mean over the training images."""
        mean = (self.values * self.takes_part).sum(0) / self.takes_part.sum()
        return (self.values - mean) * self.takes_part

    def forward(
        self,
        colors: Float[Tensor, "R 3"],
        opacity: Float[Tensor, "R"],
        background: Float[Tensor, "R 3"],
        values: Float[Tensor, "R k"],
    ) -> Float[Tensor, "R 3"]:
        """Rendered colours as images with these numbers show them.

        Args:
            colors: composited over ``background``.
            opacity: of the rays.
        """
        if not self.background_stays:
            return self.corrected(colors, torch.ones_like(opacity)[:, None], values)
        behind = (1 - opacity)[:, None] * background
        return self.corrected(colors - behind, opacity[:, None], values) + behind

    def of_images(
        self,
        colors: Float[Tensor, "R 3"],
        opacity: Float[Tensor, "R"],
        background: Float[Tensor, "R 3"],
        camera_indices: Int[Tensor, "R"],
    ) -> Float[Tensor, "R 3"]:
        """`forward` with what was learned for the images that the rays belong to."""
        return self(colors, opacity, background, self.corrections().index_select(0, camera_indices))

    def prior(self) -> LossTerm:
        """The summand of the objective that holds the corrections near none."""
        return LossTerm("appearance_prior", PRIOR_WEIGHT, lambda evidence: self.corrections().square().mean())


class Exposure(Appearance):
    """A gain (as its logarithm) and an offset for each channel: six numbers an image."""

    def __init__(self, views: int, trained: Int[Tensor, "T"], background_stays: bool = False) -> None:
        super().__init__(views, trained, 6, background_stays)

    def corrected(
        self, colors: Float[Tensor, "R 3"], coverage: Float[Tensor, "R 1"], values: Float[Tensor, "R k"]
    ) -> Float[Tensor, "R 3"]:
        """See `Appearance`."""
        return colors * torch.exp(values[:, :3]) + coverage * values[:, 3:]


class Affine(Appearance):
    """A 3 x 4 matrix, which also mixes channels: twelve numbers an image, added to the identity."""

    def __init__(self, views: int, trained: Int[Tensor, "T"], background_stays: bool = False) -> None:
        super().__init__(views, trained, 12, background_stays)

    def corrected(
        self, colors: Float[Tensor, "R 3"], coverage: Float[Tensor, "R 1"], values: Float[Tensor, "R k"]
    ) -> Float[Tensor, "R 3"]:
        """See `Appearance`."""
        mixed = (values[:, :9].reshape(-1, 3, 3) * colors[:, None]).sum(-1)
        return colors + mixed + coverage * values[:, 9:]


class Code(Appearance):
    """A latent code an image and one small network of code and colour, less what it answers for the code zero.

    The idea of Martin-Brualla et al., "NeRF in the Wild" (2021), section 4.1, on rendered colours instead of inside the
    field: it bends tone curves, and knows nothing of places.
    """

    def __init__(self, views: int, trained: Int[Tensor, "T"], background_stays: bool = False) -> None:
        super().__init__(views, trained, CODE_SIZE, background_stays)
        self.network = Mlp(3 + CODE_SIZE, 3, _CODE_WIDTH, 1)

    def corrected(
        self, colors: Float[Tensor, "R 3"], coverage: Float[Tensor, "R 1"], values: Float[Tensor, "R k"]
    ) -> Float[Tensor, "R 3"]:
        """See `Appearance`."""
        change = self.network(torch.cat([colors, values], dim=-1))
        change = change - self.network(torch.cat([colors, torch.zeros_like(values)], dim=-1))
        return colors + coverage * change


APPEARANCES: dict[str, Callable[[int, Tensor, bool], Appearance]] = {
    "exposure": Exposure,
    "affine": Affine,
    "code": Code,
}
"""Every model by its name in configurations; a new one is added here."""


def build_appearance(name: str, views: int, trained: Int[Tensor, "T"], background_stays: bool) -> Appearance | None:
    """The model of that name; None for ``"none"``.

    Raises:
        UsageError: an unknown name.
    """
    if name == "none":
        return None
    if name not in APPEARANCES:
        raise UsageError(f"Unknown appearance '{name}': {nearest_name(name, ('none', *APPEARANCES))}.")
    return APPEARANCES[name](views, trained, background_stays)
