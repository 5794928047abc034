"""Sines and cosines of the coordinates."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.encodings.levelled import LevelledEncoding


class FourierEncoding(LevelledEncoding):
    """Positional encoding: ``sin(2^k pi x), cos(2^k pi x)`` of each coordinate for k = 0 ... frequencies - 1.

    With x in [0, 1] the lowest frequency makes half a turn across the cube, so that opposite faces differ. Output: the
    centred coordinates ``2 x - 1`` if asked for, then all sines (frequency after frequency), then all cosines. Each
    octave is a level. Source: Mildenhall et al., "NeRF", ECCV 2020, equation 4.

    Args:
        dimension: coordinates of a point.
        frequencies: number of octaves.
        include_input: whether the centred coordinates come first.

    Raises:
        UsageError: fewer than 1 frequency.
    """

    octaves: Tensor

    def __init__(self, dimension: int = 3, frequencies: int = 10, include_input: bool = True) -> None:
        super().__init__()
        if frequencies < 1:
            raise UsageError(f"FourierEncoding needs frequencies of at least 1, got {frequencies}.")
        self.include_input = include_input
        self.input_dimension = dimension
        self.output_dimension = dimension * (2 * frequencies + int(include_input))
        self.register_buffer("octaves", math.pi * 2.0 ** torch.arange(frequencies), persistent=False)
        self.active_levels = frequencies

    @property
    def level_count(self) -> int:
        return len(self.octaves)

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Sines and cosines of points anywhere."""
        phases = (points[:, None, :] * self.octaves.to(points.dtype)[:, None]).flatten(1)
        parts = [phases.sin(), phases.cos()]
        if self.active_levels < self.level_count:
            weights = self.level_weights().to(points).repeat_interleave(self.input_dimension)
            parts = [weights * part for part in parts]
        if self.include_input:
            parts.insert(0, 2 * points - 1)
        return torch.cat(parts, dim=-1)


class GaussianFourierEncoding(LevelledEncoding):
    """Random Fourier features: ``sin(2 pi B x), cos(2 pi B x)`` with B drawn once from a normal distribution.

    Source: Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains",
    NeurIPS 2020. B is saved with the parameters but not trained. A level is one frequency, the lowest first.

    Args:
        dimension: coordinates of a point.
        features: numbers of output, even: half sines, half cosines.
        scale: standard deviation of B, in turns across the unit cube; larger follows finer detail.
        seed: chooses B.

    Raises:
        UsageError: ``features`` is odd or below 2, or ``scale`` is not positive.
    """

    frequencies: Tensor

    def __init__(self, dimension: int = 3, features: int = 256, scale: float = 10.0, seed: int = 0) -> None:
        super().__init__()
        if features < 2 or features % 2:
            raise UsageError(f"GaussianFourierEncoding needs an even number of features, got {features}.")
        if scale <= 0:
            raise UsageError(f"GaussianFourierEncoding needs a scale above 0, got {scale}.")
        self.input_dimension = dimension
        self.output_dimension = features
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer(
            "frequencies", scale * torch.randn(features // 2, dimension, generator=generator, device=generator.device)
        )
        self.active_levels = features // 2

    @property
    def level_count(self) -> int:
        return len(self.frequencies)

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Sines and cosines of points anywhere."""
        phases = 2 * math.pi * (points @ self.frequencies.to(points.dtype).T)
        waves = torch.cat([phases.sin(), phases.cos()], dim=-1)
        if self.active_levels == self.level_count:
            return waves
        ranks = torch.linalg.vector_norm(self.frequencies, dim=-1).argsort().argsort()
        return waves * self.level_weights().to(points)[ranks].repeat(2)
