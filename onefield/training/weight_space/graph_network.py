"""What a field is, read off its weights: a graph network over neurons and their connections.

Neurons are nodes with their bias, weights are edges (Kofinas et al. 2024, "Graph neural networks for learning
equivariant representations of neural networks"; Lim et al. 2024, "Graph metanetworks"). Hidden neurons of a layer are
told apart by nothing but their numbers, so that states of nodes and edges follow any reordering of them, and the answer
is the same. Inputs and outputs have embeddings of their own. Fields with a common start are told by how far each number
is from there, beside where it started: a reordering is then one of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError
from onefield.training.weight_space.layers import Layout, layer_sizes, layers_of, tensor_scales
from onefield.training.weight_space.learning import Sitting, digest, learn

_RATE = 3e-3
# Deviation of what is added to scaled ways from a common start in training, lest few fields be learned by heart.
_NOISE = 0.5
# Numbers that hardly move, in parts of their tensor's deviation, tell nothing by moving a little more.
_LEAST_DEVIATION = 0.1


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

    def __init__(self, layout: Layout, outputs: int, width: int = 16, rounds: int = 2, kinds: int = 1) -> None:
        """Makes the network.

        Args:
            layout: of the rows, as in `FieldDataset.layout`.
            outputs: numbers of the answer.
            width: numbers of the state of a node or an edge.
            rounds: exchanges along the connections.
            kinds: how many rows tell of one field, such as 2 for its distance from a start, and the start.

        Raises:
            UsageError: rows of no plain layers, or sizes that are not positive.
        """
        super().__init__()
        if min(outputs, width, rounds) < 1:
            raise UsageError(f"A graph network needs positive sizes, got {outputs}, {width} and {rounds}.")
        sizes = layer_sizes(layout)
        self.layout = layout
        self.bias_in, self.weight_in = nn.Linear(2 * kinds, width), nn.Linear(2 * kinds, width)
        # one for all neurons of a hidden layer, one for each input and output
        apart = (sizes[0], *[1] * (len(sizes) - 2), sizes[-1])
        self.places = nn.ParameterList(nn.Parameter(torch.randn(count, width)) for count in apart)
        self.kinds = nn.ParameterList(nn.Parameter(torch.randn(width)) for _ in sizes[1:])
        self.rounds = nn.ModuleList(_Round(width) for _ in range(rounds))
        self.read = nn.Sequential(nn.Linear(len(sizes) * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, outputs))

    def forward(self, *rows: Float[Tensor, "n p"]) -> Float[Tensor, "n outputs"]:
        """Answers from rows of each kind, each tensor of which should have numbers near 1 (`learn_from_weights` sees to
        that)."""
        nodes, _ = self.states(*rows)
        return self.read(torch.cat([node.mean(1) for node in nodes], -1))

    def states(self, *rows: Float[Tensor, "n p"]) -> tuple[list[Tensor], list[Tensor]]:
        """States of all nodes ``n neurons width`` and edges ``n outputs inputs width``, layer by layer."""
        kinds = [layers_of(each, self.layout) for each in rows]
        layers = [tuple(_powers(*parts) for parts in zip(*layer, strict=True)) for layer in zip(*kinds, strict=True)]
        first = layers[0][0]
        inputs = first.new_zeros(len(first), first.shape[2], first.shape[3])
        biases = [inputs, *(bias for _, bias in layers)]
        nodes = [self.bias_in(bias) + place for bias, place in zip(biases, self.places, strict=True)]
        edges = [self.weight_in(weight) + kind for (weight, _), kind in zip(layers, self.kinds, strict=True)]
        for each in self.rounds:
            nodes, edges = each(nodes, edges)
        return nodes, edges


def _powers(*numbers: Tensor) -> Tensor:
    """Numbers and their squares, since means over neurons lose the signs."""
    return torch.stack([power for each in numbers for power in (each, each.square())], -1)


@dataclass(frozen=True)
class WeightPredictor:
    """A trained graph network.

    Attributes:
        network: of rows whose tensors are scaled.
        scales: by which each number of a row, less that of the start, is divided: one for each tensor, and with a
            start, which tells numbers apart, one for each number.
        offset, spread: of the targets; 0 and 1 for classes.
        start: the common start of the fields, None for fields without one.
    """

    network: WeightGraphNetwork
    scales: Float[Tensor, "p"]
    offset: float
    spread: float
    start: Float[Tensor, "p"] | None = None

    @torch.no_grad()
    def __call__(self, weights: Float[Tensor, "n p"]) -> Float[Tensor, "n outputs"]:
        """Logits of classes, or the one number that was learned, such as PSNR in dB, of each field."""
        return self.network(*self.rows(weights)) * self.spread + self.offset

    def rows(self, weights: Float[Tensor, "n p"]) -> list[Float[Tensor, "n p"]]:
        """What the network is told of fields."""
        if self.start is None:
            return [weights / self.scales]
        start = self.start / filled_scales(self.start[None], self.network.layout)
        return [(weights - self.start) / self.scales, start.expand_as(weights)]


def learn_from_weights(
    weights: Float[Tensor, "n p"],
    layout: Layout,
    targets: Int[Tensor, "n"] | Float[Tensor, "n"],
    *,
    start: Float[Tensor, "p"] | None = None,
    steps: int = 300,
    batch: int = 32,
    width: int = 16,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
    sitting: Sitting | None = None,
) -> WeightPredictor | None:
    """Learns what fields are from their weights.

    Args:
        weights, layout: as in `FieldDataset`.
        targets: whole numbers from 0 are classes (learned by cross entropy), others a quality (by squared errors).
        start: the row of the common start, where the fields have one.
        steps: of Adam, the rate falling to 0 by half a cosine.
        batch: fields a step.
        width: of the graph network.
        seed: of all random numbers.
        observe: is told, ten times, the loss.
        sitting: where it is kept when it is stopped; None does not stop.

    Returns:
        The predictor; None if it was stopped.

    Raises:
        UsageError: rows of no plain layers, or another number of targets than of rows.
    """
    if len(weights) != len(targets) or len(weights) == 0:
        raise UsageError(f"{len(weights)} rows of weights need as many targets, got {len(targets)}.")
    classes = not targets.is_floating_point()
    outputs = int(targets.max()) + 1 if classes else 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WeightGraphNetwork(layout, outputs, width, kinds=1 if start is None else 2)
    scales = filled_scales(weights, layout) if start is None else _scales_from(start, weights, layout)
    offset, spread = (0.0, 1.0) if classes else (targets.mean().item(), targets.std(correction=0).item() or 1.0)
    predictor = WeightPredictor(network, scales, offset, spread, start)

    def loss(generator: torch.Generator) -> Tensor:
        picked = torch.randint(len(weights), (min(batch, len(weights)),), generator=generator)
        rows = predictor.rows(weights[picked])
        if start is not None:
            rows[0] = rows[0] + _NOISE * torch.randn(rows[0].shape, generator=generator)
        answer = network(*rows)
        if classes:
            return functional.cross_entropy(answer, targets[picked])
        return (answer[:, 0] - (targets[picked] - offset) / spread).square().mean()

    settings = {"batch": batch, "width": width, "fields": digest(weights), "targets": digest(targets)}
    done = learn(network, loss, rate=_RATE, steps=steps, seed=seed, settings=settings, observe=observe, sitting=sitting)
    return predictor if done else None


def _scales_from(start: Float[Tensor, "p"], weights: Float[Tensor, "n p"], layout: Layout) -> Float[Tensor, "p"]:
    """Deviation of each number's way from the start, and no less than a share of its tensor's."""
    ways = weights - start
    return torch.maximum(ways.std(0, correction=0), _LEAST_DEVIATION * filled_scales(ways, layout))


def filled_scales(weights: Float[Tensor, "n p"], layout: Layout) -> Float[Tensor, "p"]:
    """`tensor_scales`, 1 for tensors of zeros."""
    scales = tensor_scales(weights, layout)
    return torch.where(scales > 0, scales, 1.0)
