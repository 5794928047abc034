"""What a field is, read off its weights: a graph network over neurons and their connections.

Neurons are nodes with their bias, weights are edges (Kofinas et al. 2024, "Graph neural networks for learning
equivariant representations of neural networks"; Lim et al. 2024, "Graph metanetworks"). Hidden neurons of a layer are
told apart by nothing but their numbers, so that states of nodes and edges follow any reordering of them, and the answer
is the same. Inputs and outputs have embeddings of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.weight_space.layers import Layout, layer_sizes, layers_of

_RATE = 3e-3
# Adam's as in the paper of Kingma and Ba; tables of features want others.
_BETA2, _EPSILON = 0.999, 1e-8  # keeps the quotient finite where a gradient is 0


class _Round(nn.Module):
    """One exchange between all neurons and their connections."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.edge, self.source, self.target = (nn.Linear(width, width) for _ in range(3))
        self.edge_out = nn.Linear(width, width)
        self.node = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, nodes: list[Tensor], edges: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        fresh = []
        for edge, (before, after) in zip(edges, pairwise(nodes), strict=True):
            mixed = self.edge(edge) + self.source(before)[:, None] + self.target(after)[:, :, None]
            fresh.append(edge + self.edge_out(functional.silu(mixed)))
        moved = []
        for layer, node in enumerate(nodes):
            none = torch.zeros_like(node)
            incoming = fresh[layer - 1].mean(2) if layer > 0 else none
            outgoing = fresh[layer].mean(1) if layer < len(fresh) else none
            moved.append(node + self.node(torch.cat([node, incoming, outgoing], -1)))
        return moved, fresh


class WeightGraphNetwork(nn.Module):
    """Rows of weights to numbers; the same for all orders of hidden neurons."""

    def __init__(self, layout: Layout, outputs: int, width: int = 16, rounds: int = 2) -> None:
        """Makes the network.

        Args:
            layout: of the rows, as in `FieldDataset.layout`.
            outputs: numbers of the answer.
            width: numbers of the state of a node or an edge.
            rounds: exchanges along the connections.

        Raises:
            UsageError: rows of no plain layers, or sizes that are not positive.
        """
        super().__init__()
        if min(outputs, width, rounds) < 1:
            raise UsageError(f"A graph network needs positive sizes, got {outputs}, {width} and {rounds}.")
        sizes = layer_sizes(layout)
        self.layout = layout
        self.bias_in, self.weight_in = nn.Linear(2, width), nn.Linear(2, width)
        # one for all neurons of a hidden layer, one for each input and output
        kinds = (sizes[0], *[1] * (len(sizes) - 2), sizes[-1])
        self.places = nn.ParameterList(nn.Parameter(torch.randn(count, width)) for count in kinds)
        self.kinds = nn.ParameterList(nn.Parameter(torch.randn(width)) for _ in sizes[1:])
        self.rounds = nn.ModuleList(_Round(width) for _ in range(rounds))
        self.read = nn.Sequential(nn.Linear(len(sizes) * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, outputs))

    def forward(self, weights: Float[Tensor, "n p"]) -> Float[Tensor, "n outputs"]:
        """Answers from rows, each tensor of which should have numbers near 1 (`learn_from_weights` sees to that)."""
        nodes, _ = self.states(weights)
        return self.read(torch.cat([node.mean(1) for node in nodes], -1))

    def states(self, weights: Float[Tensor, "n p"]) -> tuple[list[Tensor], list[Tensor]]:
        """States of all nodes ``n neurons width`` and edges ``n outputs inputs width``, layer by layer."""
        layers = layers_of(weights, self.layout)
        inputs = weights.new_zeros(len(weights), layers[0][0].shape[2])
        biases = [inputs, *(bias for _, bias in layers)]
        nodes = [self.bias_in(_powers(bias)) + place for bias, place in zip(biases, self.places, strict=True)]
        edges = [self.weight_in(_powers(w)) + kind for (w, _), kind in zip(layers, self.kinds, strict=True)]
        for each in self.rounds:
            nodes, edges = each(nodes, edges)
        return nodes, edges


def _powers(numbers: Tensor) -> Tensor:
    """Numbers and their squares, since means over neurons lose the signs."""
    return torch.stack([numbers, numbers.square()], -1)


@dataclass(frozen=True)
class WeightPredictor:
    """A trained graph network.

    Attributes:
        network: of rows whose tensors are scaled.
        scales: by which each number of a row is divided, one for each tensor.
        offset, spread: of the targets; 0 and 1 for classes.
    """

    network: WeightGraphNetwork
    scales: Float[Tensor, "p"]
    offset: float
    spread: float

    @torch.no_grad()
    def __call__(self, weights: Float[Tensor, "n p"]) -> Float[Tensor, "n outputs"]:
        """Logits of classes, or the one number that was learned, such as PSNR in dB, of each field."""
        return self.network(weights / self.scales) * self.spread + self.offset


def learn_from_weights(
    weights: Float[Tensor, "n p"],
    layout: Layout,
    targets: Int[Tensor, "n"] | Float[Tensor, "n"],
    *,
    steps: int = 300,
    batch: int = 32,
    width: int = 16,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
) -> WeightPredictor:
    """Learns what fields are from their weights.

    Args:
        weights, layout: as in `FieldDataset`.
        targets: whole numbers from 0 are classes (learned by cross entropy), others a quality (by squared errors).
        steps: of Adam, the rate falling to 0 by half a cosine.
        batch: fields a step.
        width: of the graph network.
        seed: of all random numbers.
        observe: is told, ten times, the loss.

    Raises:
        UsageError: rows of no plain layers, or another number of targets than of rows.
    """
    if len(weights) != len(targets) or len(weights) == 0:
        raise UsageError(f"{len(weights)} rows of weights need as many targets, got {len(targets)}.")
    classes = not targets.is_floating_point()
    outputs = int(targets.max()) + 1 if classes else 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WeightGraphNetwork(layout, outputs, width)
    scales = tensor_scales(weights, layout)
    scales = torch.where(scales > 0, scales, 1.0)
    offset, spread = (0.0, 1.0) if classes else (targets.mean().item(), targets.std(correction=0).item() or 1.0)
    parameters = dict(network.named_parameters())
    optimizer = Adam(
        parameters, dict.fromkeys(parameters, "network"), {"network": GroupRate(_RATE)}, beta2=_BETA2, epsilon=_EPSILON
    )
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        picked = torch.randint(len(weights), (min(batch, len(weights)),), generator=generator)
        answer = network(weights[picked] / scales)
        if classes:
            loss = functional.cross_entropy(answer, targets[picked])
        else:
            loss = (answer[:, 0] - (targets[picked] - offset) / spread).square().mean()
        optimizer.zero_gradients()
        loss.backward()
        optimizer.step((1 + math.cos(math.pi * step / steps)) / 2)
        if observe is not None and step % max(1, steps // 10) == 0:
            observe(f"step {step}  loss {loss.item():.4g}")
    return WeightPredictor(network, scales, offset, spread)


def tensor_scales(weights: Float[Tensor, "n p"], layout: Layout) -> Float[Tensor, "p"]:
    """Root mean square of each tensor over all rows, once for each of its numbers: blind to the order of neurons."""
    parts = weights.split([torch.Size(shape).numel() for _, shape in layout], dim=1)
    sizes = [part.square().mean().sqrt() for part in parts]
    return torch.cat([size.expand(part.shape[1]) for size, part in zip(sizes, parts, strict=True)])
