"""Hash-grid kernels against plain PyTorch indexing and nerfstudio's, taken in turn in one process.

    python benchmarks/hash_grid.py [--points 131072] [--repeats 10] [--slow-repeats 2] [--cases 6]

Plain PyTorch is the reference of the same operation: index, weigh and sum, differentiated by autograd. The peer is
nerfstudio's `HashEncoding` on its own PyTorch path, where nerfstudio is installed. All see the same float32 inputs,
uniform over the unit cube (the worst case for caches; samples along rays are kinder), and the same gradient of the
features. The least of the repeats counts, because other work on the machine only adds. Points get no gradient except in
the last column: ``eikonal`` is forward, gradient by the points, and the backward of its square to the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onefield.fields.encodings import HashGridEncoding
from onefield.kernels import use

# Levels, features, logarithm of the table's size.
CASES = [(16, 2, 19), (8, 4, 15), (8, 4, 16), (8, 4, 17), (8, 4, 19), (16, 2, 15)]
BASE, FINEST = 16, 2048


@dataclass(frozen=True)
class Rival:
    """One implementation: a module, the kernels that it runs on, and how often it is timed."""

    name: str
    encoding: nn.Module
    mode: str
    repeats: int


def forward(encoding: nn.Module, points: Tensor, cotangents: Tensor) -> None:
    with torch.no_grad():
        encoding(points)


def train(encoding: nn.Module, points: Tensor, cotangents: Tensor) -> None:
    encoding.zero_grad(set_to_none=True)
    encoding(points).backward(cotangents)


def eikonal(encoding: nn.Module, points: Tensor, cotangents: Tensor) -> None:
    encoding.zero_grad(set_to_none=True)
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(encoding(points), points, cotangents, create_graph=True)
    slope.square().sum().backward()


COLUMNS = (("forward", forward), ("forward + backward", train), ("eikonal", eikonal))


def rivals(levels: int, features: int, log2: int, repeats: int, slow_repeats: int) -> list[Rival]:
    torch.manual_seed(0)
    ours = HashGridEncoding(3, levels, features, log2, BASE, FINEST)
    found = [Rival("kernels", ours, "fast", repeats), Rival("PyTorch", ours, "reference", slow_repeats)]
    if importlib.util.find_spec("nerfstudio") is not None:
        from nerfstudio.field_components.encodings import HashEncoding

        theirs = HashEncoding(levels, BASE, FINEST, log2, features, implementation="torch")
        found.append(Rival("nerfstudio", theirs, "fast", slow_repeats))
    return found


def least_times(work: Callable, contenders: list[Rival], *arguments: Tensor) -> dict[str, tuple[float, float]]:
    """Milliseconds of wall and of processor time of each rival's fastest call, in turn, after one call to warm up."""
    times: dict[str, list[tuple[float, float]]] = {rival.name: [] for rival in contenders}
    for turn in range(max(rival.repeats for rival in contenders) + 1):
        for rival in contenders:
            if turn > rival.repeats:
                continue
            with use(rival.mode):
                start = time.perf_counter(), time.process_time()
                work(rival.encoding, *arguments)
                taken = time.perf_counter() - start[0], time.process_time() - start[1]
            times[rival.name].append((1e3 * taken[0], 1e3 * taken[1]))
    return {name: tuple(map(min, zip(*(taken[1:] or taken), strict=True))) for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=2**17)
    parser.add_argument("--repeats", type=int, default=10, help="timed calls of the kernels")
    parser.add_argument("--slow-repeats", type=int, default=2, help="timed calls of the others")
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many of the tables")
    parser.add_argument("--columns", type=int, default=len(COLUMNS), help="how many of the tasks")
    chosen = parser.parse_args()
    print(
        f"{chosen.points} points, {torch.get_num_threads()} threads; milliseconds of wall time (processor time), ratio"
    )
    for levels, features, log2 in CASES[: chosen.cases]:
        contenders = rivals(levels, features, log2, chosen.repeats, chosen.slow_repeats)
        points, cotangents = torch.rand(chosen.points, 3), torch.randn(chosen.points, levels * features)
        for title, work in COLUMNS[: chosen.columns]:
            taken = least_times(work, contenders, points, cotangents)
            ours = taken["kernels"][0]
            cells = [f"{name} {wall:.1f} ({cpu:.1f}) {wall / ours:.1f}x" for name, (wall, cpu) in taken.items()]
            print(f"{levels} x {features}, 2^{log2} | {title:18} | " + " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
