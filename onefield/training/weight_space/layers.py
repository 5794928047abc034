"""Rows of weights as the layers of a network, and back."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import UsageError

Layout = tuple[tuple[str, tuple[int, ...]], ...]
Layer = tuple[Float[Tensor, "n outputs inputs"], Float[Tensor, "n outputs"]]
_WEIGHT, _BIAS = ".weights.", ".biases."


def layer_sizes(layout: Layout) -> tuple[int, ...]:
    """Neurons of each layer, inputs first.

    Args:
        layout: names and shapes, as in `FieldDataset.layout`.

    Raises:
        UsageError: other than the weights and biases of layers one after the other, such as a grid's.
    """
    shapes = dict(layout)
    matrices = [shape for name, shape in layout if _WEIGHT in name]
    chained = all(len(shape) == 2 for shape in matrices) and len(layout) == 2 * len(matrices) > 0
    for name, shape in layout:
        if _WEIGHT in name:
            chained = chained and shapes.get(name.replace(_WEIGHT, _BIAS)) == shape[:1]
    chained = chained and all(a[0] == b[1] for a, b in pairwise(matrices))
    if not chained:
        raise UsageError("Models of weights take networks of plain layers, such as 'siren', 'finer' or 'gaussian'.")
    return (matrices[0][1], *(shape[0] for shape in matrices))


def layers_of(weights: Float[Tensor, "n p"], layout: Layout) -> list[Layer]:
    """Matrices and biases of all layers, from the inputs on."""
    layer_sizes(layout)
    tensors, start = {}, 0
    for name, shape in layout:
        count = torch.Size(shape).numel()
        tensors[name] = weights[:, start : start + count].reshape(-1, *shape)
        start += count
    return [(tensors[name], tensors[name.replace(_WEIGHT, _BIAS)]) for name, _ in layout if _WEIGHT in name]


def rows_of(layers: list[Layer], layout: Layout) -> Float[Tensor, "n p"]:
    """The rows that `layers_of` would take apart so."""
    matrices, biases = iter(layers), iter(layers)
    parts = [next(matrices)[0] if _WEIGHT in name else next(biases)[1] for name, _ in layout]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def permuted(
    weights: Float[Tensor, "n p"], layout: Layout, orders: Mapping[int, Int[Tensor, "neurons"]]
) -> Float[Tensor, "n p"]:
    """The same networks with their hidden neurons in other orders, which changes no answer.

    Args:
        orders: of a hidden layer, counted from 1, the old place of each new neuron.
    """
    layers = layers_of(weights, layout)
    for place, order in orders.items():
        matrix, bias = layers[place - 1]
        layers[place - 1] = matrix[:, order], bias[:, order]
        following, others = layers[place]
        layers[place] = following[:, :, order], others
    return rows_of(layers, layout)


def tensor_scales(weights: Float[Tensor, "n p"], layout: Layout) -> Float[Tensor, "p"]:
    """Root mean square of each tensor over all rows, once for each of its numbers: blind to the order of neurons."""
    parts = weights.split([torch.Size(shape).numel() for _, shape in layout], dim=1)
    sizes = [part.square().mean().sqrt() for part in parts]
    return torch.cat([size.expand(part.shape[1]) for size, part in zip(sizes, parts, strict=True)])
