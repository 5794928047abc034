"""First weights that keep the variance of a network's activations, whatever the activation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.networks.activated import ActivatedNetwork

# Nodes of the trapezoidal rule, and how many deviations it reaches to either side: beyond, a normal density is below
# float64's precision. A rule of equal steps follows fast sines, which Gauss and Hermite's does not.
_NODES, _REACH = 20_001, 9.0


def mean_square(activation: Callable[[Tensor], Tensor], deviation: float) -> float:
    """``E[activation(z)^2]`` for normal z of mean 0 and this deviation, by quadrature in float64."""
    places = torch.linspace(-_REACH, _REACH, _NODES, dtype=torch.float64)
    density = torch.exp(-places.square() / 2) / math.sqrt(2 * math.pi)
    step = 2 * _REACH / (_NODES - 1)
    return float((activation(deviation * places).square() * density).sum() * step)


def sampled_mean_square(activation: Callable[[Tensor], Tensor], deviation: float, samples: int, seed: int) -> float:
    """The same by Monte Carlo, for activations with kinks that a rule of equal steps may meet badly."""
    drawn = torch.from_numpy(np.random.default_rng(seed).standard_normal(samples))
    return float(activation(deviation * drawn).square().mean())


def backward_ratio(activation: Callable[[Tensor], Tensor], deviation: float) -> float:
    """``deviation^2 E[activation'(z)^2] / E[activation(z)^2]``: 1 keeps the variance of gradients over layers."""

    def slope(values: Tensor) -> Tensor:
        values = values.clone().requires_grad_()
        return torch.autograd.grad(activation(values).sum(), values)[0]

    return deviation**2 * mean_square(slope, deviation) / mean_square(activation, deviation)


@torch.no_grad()
def keep_variance(
    network: ActivatedNetwork, deviation: float, input_square: float = 1 / 3, samples: int | None = None
) -> None:
    """Draws a network's weights anew so that every layer's ``W x`` has this deviation; biases become 0.

    Weights are uniform in ``+-gain sqrt(3 / inputs)`` with ``gain^2 = deviation^2 / E[x^2]`` of what the layer sees
    (Koneputugodage et al., "VI3NR: variance-informed initialization for implicit neural representations", CVPR 2025,
    section 4).

    Args:
        network: any of the activated networks; changed in place.
        deviation: wanted of ``W x``, without the layer's factor.
        input_square: mean square of the network's inputs; 1/3 where they are uniform in [-1, 1].
        samples: of the activation, by Monte Carlo; None integrates.

    Raises:
        UsageError: a deviation or number of samples that is not positive, or an activation that answers 0 everywhere
            about it.
    """
    if samples is not None and samples < 1:
        raise UsageError(f"keep_variance needs at least 1 sample, got {samples}.")
    if not deviation > 0:
        raise UsageError(f"keep_variance needs a deviation above 0, got {deviation}.")
    seen = input_square
    for layer, weight in enumerate(network.weights):
        if not seen > 0:
            raise UsageError(f"{type(network).__name__} answers 0 at a deviation of {deviation}; take another.")
        bound = deviation * math.sqrt(3 / (seen * weight.shape[1]))
        weight.uniform_(-bound, bound)
        network.biases[layer].zero_()
        if layer < len(network.factors):
            argument = deviation * network.factors[layer]
            if samples is None:
                seen = mean_square(network.activate, argument)
            else:
                seen = sampled_mean_square(network.activate, argument, samples, seed=0)
