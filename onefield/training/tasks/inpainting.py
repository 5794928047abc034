"""Samples that are missing, from those around them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.data.signals import Signal
from onefield.errors import DataError
from onefield.fields.field import Field
from onefield.training.fit_samples import SignalSamples
from onefield.training.recipes import target_of
from onefield.training.tasks.task import Problem, SignalLike, Task, signal_from, truth_for
from onefield.training.variation import field_variation

# Weight of the total variation over unknown samples, relative to the squared error in half ranges: enough to decide
# where no sample does, too little to bend the samples beside.
_VARIATION = 0.01


class FilledSamples:
    """Known samples, and little variation where they are not."""

    def __init__(self, signal: Signal, generator: torch.Generator) -> None:
        target = target_of(signal)
        self._samples = SignalSamples(signal, target, generator)
        self._signal, self._scale, self._generator = signal, target.scale, generator
        self._open = open_cells(signal)

    def loss(self, field: Field, batch: int) -> Float[Tensor, ""]:
        """Of so many known samples, and of a quarter as many places without any."""
        error = self._samples.loss(field, batch)
        if len(self._open) == 0:
            return error
        variation = field_variation(field, self._signal, self._open, self._scale, self._generator, max(1, batch // 4))
        return error + _VARIATION * variation


def open_cells(signal: Signal) -> Tensor:
    """Flat indices of samples of which an unknown channel, or one of the next sample along an axis, leaves open how
    they differ from their neighbours."""
    unknown = ~torch.isfinite(signal.values).all(-1)
    found = unknown.clone()
    for axis, side in enumerate(unknown.shape):
        found.narrow(axis, 0, side - 1).logical_or_(unknown.narrow(axis, 1, side - 1))
    return torch.nonzero(found.flatten()).flatten()


def unknown_samples(signal: Signal) -> Tensor:
    """Flat indices of samples with an unknown channel."""
    return torch.nonzero(~torch.isfinite(signal.values.reshape(-1, signal.channels)).all(-1)).flatten()


@dataclass(frozen=True)
class Inpainting(Task):
    """What belongs where a signal is NaN, or where a mask says so.

    Attributes:
        mask: of the signal's size; where it is above half of its range, samples are unknown. None takes NaN alone.
        truth: the whole signal, to score the answer where the samples are unknown.
    """

    mask: SignalLike | None = None
    truth: SignalLike | None = None
    name = "inpaint"

    def problem(self, signal: Signal, generator: torch.Generator) -> Problem:
        """The task for any signal on a grid.

        Raises:
            DataError: nothing is unknown, nothing is known, or mask or truth have another shape.
        """
        values = signal.values
        if self.mask is not None:
            values = torch.where(mask_for(self.mask, signal.shape)[..., None], torch.nan, values)
        if bool(torch.isnan(values).all()):
            raise DataError("The mask leaves no sample, so nothing is known; cover less of the signal.")
        holed = replace(signal, values=values)
        unknown = unknown_samples(holed)
        if len(unknown) == 0:
            raise DataError("No sample is unknown, so there is nothing to fill in; give a mask, or NaN in the signal.")
        truth = truth_for(self.truth, signal.shape, signal.channels)
        evidence = FilledSamples(holed, generator)
        return Problem(
            holed, signal.shape, evidence, _linearly_filled(holed), truth, signal.value_range, counted=unknown
        )


def mask_for(mask: SignalLike, shape: tuple[int, ...]) -> Bool[Tensor, "*axes"]:
    """Where a mask is above half of what it is at most.

    Raises:
        DataError: another shape than the signal's.
    """
    if isinstance(mask, np.ndarray | Tensor) and mask.dtype in (bool, np.bool_, torch.bool):
        mask = np.asarray(mask, dtype=np.uint8) * 255
    values = signal_from(mask).values
    if tuple(values.shape[:-1]) != tuple(shape):
        raise DataError(
            f"The mask has shape {tuple(values.shape[:-1])}, but the signal has {tuple(shape)}; give one of its size."
        )
    # alpha is no part of what a mask says
    said = values[..., :3].amax(-1) if values.shape[-1] != 2 else values[..., 0]
    return said > 0.5 * max(said.max().item(), 0.0)


def _linearly_filled(signal: Signal) -> Float[Tensor, "*axes c"]:
    """Linear between known samples, the nearest of them outside their hull."""
    from scipy.interpolate import griddata

    flat = signal.values.reshape(-1, signal.channels)
    known, unknown = signal.known(), unknown_samples(signal)
    places, asked = signal.points(known).double().numpy(), signal.points(unknown).double().numpy()
    numbers = flat[known].double().numpy()
    found = griddata(places, numbers, asked, method="nearest")
    # a triangulation needs more points than axes, not all on a line
    if places.shape[1] == 2 and all(len(np.unique(column)) > 1 for column in places.T):
        linear = griddata(places, numbers, asked, method="linear")
        found = np.where(np.isfinite(linear), linear, found)
    filled = flat.clone()
    filled[unknown] = torch.from_numpy(found.reshape(len(unknown), -1)).float()
    return filled.reshape(signal.values.shape)
