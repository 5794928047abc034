"""Fits whose first wavelets lie where the signal changes most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.field import Field
from onefield.fields.networks.band_split import BandSplitNetwork
from onefield.training.fit_methods.fit_method import FitMethod, FitParts
from onefield.training.recipes import Target

# torch.multinomial takes no more; of a larger signal so many samples at random say as much.
_MOST_DRAWN_FROM = 2**24


@dataclass(frozen=True)
class SingularPlaces(FitMethod):
    """First wavelets at the signal's singularities (Roddenberry et al. 2024), such as the edges of a picture.

    Places are drawn among the samples by the length of the signal's gradient. A signal without one, a constant, leaves
    the wavelets where they are.
    """

    name: ClassVar[str] = "singularities"

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """Moves the wavelets.

        Raises:
            UsageError: a signal without samples, or a field without wavelets that can be moved.
        """
        del target
        samples = self.samples_of(signal)
        composed = [module for module in field.modules() if isinstance(module, ComposedField)]
        movable = [each for each in composed if isinstance(each.network, BandSplitNetwork)]
        if not movable:
            raise UsageError(
                f"The method '{self.name}' moves the wavelets of 'band-split', which this field lacks; take that one, "
                "or leave the method out."
            )
        strength = gradient_length(samples).flatten()
        for each in movable:
            places = _drawn(strength, len(each.network.band.biases[0][0]), generator)
            if len(places) > 0:
                each.network.centre_on(each.encoding(each.domain.to_unit(samples.points(places))))
        return FitParts()


def gradient_length(signal: Signal) -> Float[Tensor, "*axes"]:
    """Length of the gradient by central differences over the samples, of all channels; 0 beside unknown samples."""
    squares = torch.zeros(signal.shape)
    for axis, side in enumerate(signal.shape):
        if side > 1:
            squares += torch.gradient(signal.values, dim=axis)[0].square().sum(-1)
    return squares.sqrt().nan_to_num(0.0)


def _drawn(strength: Float[Tensor, "n"], count: int, generator: torch.Generator) -> Int[Tensor, "k"]:
    """Flat indices of different samples, the more likely the stronger; fewer where fewer have any strength."""
    changing = torch.nonzero(strength)[:, 0]
    if len(changing) > _MOST_DRAWN_FROM:
        changing = changing[torch.randint(len(changing), (_MOST_DRAWN_FROM,), generator=generator)]
    if len(changing) <= count:
        return changing
    return changing[torch.multinomial(strength[changing], count, generator=generator)]
