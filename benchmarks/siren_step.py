"""One training step of a SIREN on a 256 x 256 image (full batch, 3 hidden layers of 256), against plain PyTorch.

The plain formulation is the usual module: ``sin(w0 * Linear(x))``, a mean squared error, ``torch.optim.Adam``. Steps of
the two alternate, so that both see the same load of the machine; medians and their ratio are printed.

    python benchmarks/siren_step.py [--steps 20] [--side 256]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.siren import Siren
from onefield.training.optimizer import Adam, GroupRate
from onefield.types import Bounds

WIDTH, HIDDEN_LAYERS, W0 = 256, 3, 30.0
RATE = 1e-4


class PlainSiren(nn.Module):
    """The formulation found in most code."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [2, *[WIDTH] * (HIDDEN_LAYERS + 1)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(WIDTH, 1)

    def forward(self, points: Tensor) -> Tensor:
        for layer in self.layers:
            points = torch.sin(W0 * layer(points))
        return self.last(points)


def plain_step(points: Tensor, target: Tensor) -> Callable[[], None]:
    """A function that takes one step with PyTorch's own parts."""
    network = PlainSiren()
    optimizer = torch.optim.Adam(network.parameters(), RATE)

    def step() -> None:
        optimizer.zero_grad()
        (network(2 * points - 1) - target).square().mean().backward()
        optimizer.step()

    return step


def field_step(points: Tensor, target: Tensor) -> Callable[[], None]:
    """A function that takes one step with Onefield's."""
    field = ComposedField(
        Bounds((0.0, 0.0), (1.0, 1.0)), IdentityEncoding(2), Siren(2, 1, WIDTH, HIDDEN_LAYERS, W0), [ValueHead()]
    )
    parameters = dict(field.named_parameters())
    optimizer = Adam(parameters, dict.fromkeys(parameters, "network"), {"network": GroupRate(RATE)})

    def step() -> None:
        optimizer.zero_gradients()
        (field.query(points, want=("value",)).value - target).square().mean().backward()
        optimizer.step(1.0)

    return step


def main() -> None:
    """Prints the medians as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--side", type=int, default=256)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    points, target = torch.rand(chosen.side**2, 2), torch.rand(chosen.side**2, 1)
    steps = {"plain": plain_step(points, target), "onefield": field_step(points, target)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(chosen.steps):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in times.items()}
    pairs = [ours / plain for ours, plain in zip(times["onefield"], times["plain"], strict=True)]
    result = {
        "threads": torch.get_num_threads(),
        "plain_seconds": medians["plain"],
        "onefield_seconds": medians["onefield"],
        "ratio": statistics.median(pairs),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
