"""New fields from a collection: a diffusion transformer over their weights (HyperDiffusion, Erkoc et al. 2023).

Weights are noised in T steps, and a transformer, whose tokens are neurons (bias and incoming weights of each), learns
to say what they were (x0-prediction, squared errors). Samples are drawn by DDIM (Song et al. 2021, eq. 12).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.training.seeds import cpu_generator
from onefield.training.weight_space.layers import Layout, layer_sizes, layers_of, rows_of, tensor_scales
from onefield.training.weight_space.learning import Sitting, digest, learn

STEPS = 500
# Betas of Ho et al. 2020, section 4, for 1,000 steps; fewer steps take larger ones.
_FIRST_BETA, _LAST_BETA, _THEIR_STEPS = 1e-4, 0.02, 1000
_RATE = 1e-3
# Parts of a tensor below which its variation is float32 rounding.
_ROUNDING = 1e-5
_LONGEST_PERIOD = 10_000.0


@dataclass(frozen=True)
class Schedule:
    """How much of a signal is left after each step of noising.

    Attributes:
        kept: the product of ``1 - beta`` up to each step, from nearly 1 to nearly 0.
    """

    kept: Float[Tensor, "T"]

    @staticmethod
    def linear(steps: int = STEPS) -> Schedule:
        """Betas that rise evenly."""
        stretch = _THEIR_STEPS / steps
        betas = torch.linspace(_FIRST_BETA * stretch, min(_LAST_BETA * stretch, 1.0), steps, dtype=torch.float64)
        return Schedule((1 - betas).cumprod(0).float())

    def noised(
        self, x: Float[Tensor, "n p"], step: Int[Tensor, "n"], noise: Float[Tensor, "n p"]
    ) -> Float[Tensor, "n p"]:
        """Drawn from the law of x after so many steps (from 0): mean ``sqrt(kept) x``, variance ``1 - kept``."""
        kept = self.kept[step, None]
        return kept.sqrt() * x + (1 - kept).sqrt() * noise

    def earlier(
        self, noisy: Float[Tensor, "n p"], x: Float[Tensor, "n p"], step: int, before: int
    ) -> Float[Tensor, "n p"]:
        """From one step to an earlier one, given what x is believed to be; -1 is x itself."""
        if before < 0:
            return x
        kept = self.kept[step]
        noise = (noisy - kept.sqrt() * x) / (1 - kept).sqrt()
        return self.kept[before].sqrt() * x + (1 - self.kept[before]).sqrt() * noise


class WeightTransformer(nn.Module):
    """Noised rows of weights to what they were; a token a neuron."""

    def __init__(self, layout: Layout, width: int = 64, blocks: int = 3, heads: int = 4) -> None:
        """Makes the network.

        Args:
            layout: of the rows, as in `FieldDataset.layout`.
            width: of a token.
            blocks, heads: of the transformer.

        Raises:
            UsageError: rows of no plain layers.
        """
        super().__init__()
        sizes = layer_sizes(layout)
        self.layout = layout
        self.take = nn.ModuleList(nn.Linear(inputs + 1, width) for inputs in sizes[:-1])
        self.give = nn.ModuleList(nn.Linear(width, inputs + 1) for inputs in sizes[:-1])
        self.places = nn.Parameter(0.02 * torch.randn(sum(sizes[1:]), width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        block = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, blocks, nn.LayerNorm(width), enable_nested_tensor=False)
        self.width = width

    def forward(self, noisy: Float[Tensor, "n p"], step: Int[Tensor, "n"]) -> Float[Tensor, "n p"]:
        """The rows without their noise, as far as can be said."""
        layers = layers_of(noisy, self.layout)
        tokens = [take(torch.cat([w, b[..., None]], -1)) for take, (w, b) in zip(self.take, layers, strict=True)]
        mixed = self.blocks(torch.cat(tokens, 1) + self.places + self.time(self._clock(step))[:, None])
        parts = mixed.split([token.shape[1] for token in tokens], 1)
        given = [give(part) for give, part in zip(self.give, parts, strict=True)]
        return rows_of([(each[..., :-1], each[..., -1]) for each in given], self.layout)

    def _clock(self, step: Int[Tensor, "n"]) -> Float[Tensor, "n width"]:
        """Sines and cosines of the step, as of places in a text (Vaswani et al. 2017, section 3.5)."""
        half = self.width // 2
        rates = torch.exp(-math.log(_LONGEST_PERIOD) * torch.arange(half, device=step.device) / half)
        angles = step[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], -1)


@dataclass(frozen=True)
class WeightDiffusion:
    """A trained model of the weights of a collection of fields.

    Attributes:
        network: of rows less the mean, over the scales.
        mean, scales: of the collection; a scale for each tensor.
        schedule: of the noise.
    """

    network: WeightTransformer
    mean: Float[Tensor, "p"]
    scales: Float[Tensor, "p"]
    schedule: Schedule

    @torch.no_grad()
    def sample(self, count: int, *, steps: int = 50, seed: int = 0) -> Float[Tensor, "n p"]:
        """New rows of weights, for `FieldDataset.fitted`.

        Args:
            count: how many.
            steps: of sampling, at most those of the schedule.
            seed: of the noise that they begin with.
        """
        generator = cpu_generator(seed)
        noisy = torch.randn(count, len(self.mean), generator=generator)
        last = len(self.schedule.kept) - 1
        stations = [*torch.linspace(last, 0, min(steps, last + 1)).round().int().tolist(), -1]
        for step, before in pairwise(stations):
            believed = self.network(noisy, torch.full((count,), step))
            noisy = self.schedule.earlier(noisy, believed, step, before)
        return noisy * self.scales + self.mean


def learn_diffusion(
    weights: Float[Tensor, "n p"],
    layout: Layout,
    *,
    steps: int = 2000,
    batch: int = 32,
    width: int = 64,
    blocks: int = 3,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
    sitting: Sitting | None = None,
) -> WeightDiffusion | None:
    """Learns the law of a collection's weights.

    Args:
        weights, layout: as in `FieldDataset`; fields should have a common start.
        steps: of Adam, the rate falling to 0 by half a cosine.
        batch: fields a step.
        width, blocks: of the transformer.
        seed: of all random numbers.
        observe: is told, ten times, the loss.
        sitting: where it is kept when it is stopped; None does not stop.

    Returns:
        The model; None if it was stopped.

    Raises:
        UsageError: rows of no plain layers, or fewer than two.
    """
    if len(weights) < 2:
        raise UsageError(f"A law of weights needs at least 2 fields to be learned from, got {len(weights)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WeightTransformer(layout, width, blocks)
    schedule, mean = Schedule.linear(), weights.mean(0)
    # tensors that all fields share up to rounding stay as they are
    scales = torch.maximum(tensor_scales(weights - mean, layout), _ROUNDING * tensor_scales(weights, layout))
    scales = torch.where(scales > 0, scales, 1.0)
    rows = (weights - mean) / scales

    def loss(generator: torch.Generator) -> Tensor:
        x = rows[torch.randint(len(rows), (batch,), generator=generator)]
        step = torch.randint(len(schedule.kept), (batch,), generator=generator)
        noisy = schedule.noised(x, step, torch.randn(x.shape, generator=generator))
        return (network(noisy, step) - x).square().mean()

    settings = {"batch": batch, "width": width, "blocks": blocks, "fields": digest(weights)}
    done = learn(network, loss, rate=_RATE, steps=steps, seed=seed, settings=settings, observe=observe, sitting=sitting)
    return WeightDiffusion(network, mean, scales, schedule) if done else None
