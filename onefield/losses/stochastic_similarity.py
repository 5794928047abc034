"""Structural similarity of points that are thrown together at random."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.structural_similarity import C1, C2
from onefield.losses.term import Evidence, LossTerm

# Edge of a window and deviation of its weights, as published.
SIDE, _SIGMA = 4, 1.5
REPEATS = 10


def _window(side: int) -> tuple[float, ...]:
    offsets = [index - (side - 1) / 2 for index in range(side)]
    weights = [math.exp(-(down**2 + across**2) / (2 * _SIGMA**2)) for down in offsets for across in offsets]
    return tuple(weight / sum(weights) for weight in weights)


_WINDOW = _window(SIDE)


def stochastic_dissimilarity(
    prediction: Float[Tensor, "n c"],
    target: Float[Tensor, "n c"],
    generator: torch.Generator | None = None,
    value_range: float = 1.0,
    repeats: int = REPEATS,
) -> Float[Tensor, ""]:
    """One minus S3IM: the structural similarity of windows of 4 x 4 points that lie together by chance.

    The batch is shuffled and cut into windows, again and again; each window has the index of Wang et al. (2004) with
    Gaussian weights, and S3IM is their mean. Points that no window is full of are left out of that round. Source: Xie
    et al., "S3IM: Stochastic Structural SIMilarity and Its Unreasonable Effectiveness for Neural Fields", ICCV 2023.

    Args:
        generator: of the shuffling; None takes PyTorch's own.
        value_range: greatest less smallest possible value.
        repeats: how often the batch is shuffled.

    Raises:
        UsageError: fewer points than a window has.
    """
    count, channels = prediction.shape
    members = SIDE * SIDE
    if count < members:
        raise UsageError(f"S3IM compares windows of {members} points, but a batch has {count}; take more.")
    kept = count - count % members
    order = torch.cat([torch.randperm(count, generator=generator)[:kept] for _ in range(repeats)])
    windows = (values[order.to(values.device)].reshape(-1, members, channels) for values in (prediction, target))
    x, y = (window / value_range for window in windows)
    weights = prediction.new_tensor(_WINDOW)[:, None]
    mean_x, mean_y = (weights * x).sum(1), (weights * y).sum(1)
    variance_x = (weights * x * x).sum(1) - mean_x.square()
    variance_y = (weights * y * y).sum(1) - mean_y.square()
    covariance = (weights * x * y).sum(1) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return 1 - (likeness / ((mean_x.square() + mean_y.square() + C1) * (variance_x + variance_y + C2))).mean()


def stochastic_term(weight: float = 1.0) -> LossTerm:
    """`stochastic_dissimilarity` of prediction and target, on single rays as well as on pictures.

    Every step shuffles alike: rays are drawn at random already, and a run that goes on must come to the same numbers.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        return stochastic_dissimilarity(evidence.prediction, evidence.target, torch.Generator().manual_seed(0))

    return LossTerm("s3im", weight, evaluate)
