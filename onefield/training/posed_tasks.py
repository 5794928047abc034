"""What is shown of a known signal in each task of a comparison; the answer is held against the signal itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from onefield.data.signals import Signal, signal_of
from onefield.errors import DataError, UsageError, nearest_name
from onefield.training.tasks import Task, task_named
from onefield.training.tasks.super_resolution import block_means

POSED_TASKS = ("fit", "denoise", "inpaint", "super-resolve", "tomography")
# Deviation of noise in parts of the signal's range.
_NOISE = 0.1
# Part of the samples that inpainting shows.
_KNOWN = 0.5
# Samples along an axis for each one that super-resolution shows.
SUPER_RESOLUTION = 4
# Directions from which tomography sees a slice.
_VIEWS = 60


def posed(signal: Signal, name: str, seed: int) -> tuple[Signal, Task | None]:
    """What is shown, and the task to fit it by; none for the signal as it is.

    Raises:
        UsageError: an unknown task.
        DataError: a signal that the task can't be posed of.
    """
    if name not in POSED_TASKS:
        raise UsageError(f"Unknown task '{name}': {nearest_name(name, POSED_TASKS)}.")
    if name == "fit":
        return signal, None
    generator = torch.Generator().manual_seed(seed)
    if name == "tomography":
        return _sinogram(signal), task_named(name)
    if name == "super-resolve":
        coarse = replace(signal, values=block_means(signal.values, SUPER_RESOLUTION))
        return coarse, task_named(name, {"factor": SUPER_RESOLUTION})
    if name == "denoise":
        noise = torch.randn(signal.values.shape, generator=generator)
        return replace(signal, values=signal.values + _NOISE * signal.value_range * noise), task_named(name)
    hidden = torch.rand(signal.shape, generator=generator) >= _KNOWN
    hidden.view(-1)[0] = False  # something is known of the smallest signal
    return replace(signal, values=signal.values.masked_fill(hidden[..., None], math.nan)), task_named(name)


def _sinogram(signal: Signal) -> Signal:
    from skimage.transform import radon

    rows, columns = signal.shape if signal.kind == "image" else (0, 1)
    y, x = np.mgrid[:rows, :columns] - (columns - 1) / 2
    outside = torch.from_numpy(x**2 + y**2 > (columns / 2) ** 2)
    if rows != columns or signal.channels != 1 or bool((signal.values[outside] != 0).any()):
        raise DataError(
            f"Tomography is posed of square pictures of one channel that are 0 outside their disc, not of this "
            f"{signal.description}."
        )
    angles = np.arange(_VIEWS) * (180.0 / _VIEWS)
    shadows = radon(signal.values[..., 0].double().numpy(), theta=angles, circle=True)
    return signal_of(np.ascontiguousarray(shadows.T), "image")
