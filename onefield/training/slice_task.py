"""What any field learns solids from slices by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from onefield.data.slice_samples import SliceSamples
from onefield.data.slices import Slices


@dataclass(frozen=True)
class SliceTask:
    """A solid to learn, and for how long.

    Attributes:
        samples: points on the planes of the slices.
        generator: of all that is drawn.
        share_done: the share of the training that is done, by the steps taken.
        observe: is told share, steps and loss.
    """

    slices: Slices
    samples: SliceSamples
    generator: torch.Generator
    share_done: Callable[[int], float]
    observe: Callable[[float, int, float], None] = lambda *_: None
