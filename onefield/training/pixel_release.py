"""When Gaussians of pixels may take shapes of their own."""

from __future__ import annotations

from torch import Tensor

from onefield.errors import DataError
from onefield.fields.field import Field
from onefield.fields.pixel_gaussians import PixelGaussians
from onefield.training.gaussian_editing import PREFIX
from onefield.training.method import Strategy
from onefield.training.optimizer import Adam


class PixelRelease(Strategy):
    """Keeps Gaussians as round and large as their pixels until a share of the run is over.

    CoherentGS does so for 15,000 of 20,000 steps. How many there are is settled at the start: nothing is cloned, split
    or dropped.
    """

    def __init__(self, share: float) -> None:
        """Args:
        share: of the run, from which on each has a shape and harmonics of its own.
        """
        self.share = share

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """See `Strategy`."""
        if progress >= self.share:
            _pixels(field).release()

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Takes as many pixels and matches as a checkpoint has; its photos need not be there any more."""
        pixels = _pixels(field)
        own = {name.removeprefix(PREFIX): tensor for name, tensor in saved.items() if name.startswith(PREFIX)}
        replaced = pixels.resize(own)
        parameters = dict(pixels.named_parameters())
        for name in replaced if optimizer is not None else ():
            optimizer.replace(PREFIX + name, parameters[name])


def _pixels(field: Field) -> PixelGaussians:
    if not isinstance(field, PixelGaussians):
        raise DataError(f"{type(field).__name__} is no set of Gaussians of pixels.")
    return field
