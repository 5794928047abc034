"""Hash-grid kernels against plain PyTorch indexing, taken in turn in one process.

    python benchmarks/hash_grid.py [--points 131072] [--repeats 10] [--slow-repeats 2]

The rival is the reference of the same operation: index, weigh and sum with PyTorch, differentiated by autograd. Both
see the same float32 inputs, uniform over the unit cube (the worst case for caches; samples along rays are kinder). The
least time of the repeats counts, because other work on the machine only adds. Points get no gradient except in the last
columns: ``eikonal`` is forward, gradient by the points, and the backward of its square to the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from onefield.fields.encodings import HashGridEncoding
from onefield.kernels import use

CASES = [(16, 2, 19), (8, 4, 15), (8, 4, 16), (8, 4, 17), (8, 4, 19), (16, 2, 15)]
MODES = ("fast", "reference")


def forward(encoding: HashGridEncoding, points: torch.Tensor) -> None:
    with torch.no_grad():
        encoding(points)


def train(encoding: HashGridEncoding, points: torch.Tensor) -> None:
    encoding.table.grad = None
    encoding(points).square().sum().backward()


def eikonal(encoding: HashGridEncoding, points: torch.Tensor) -> None:
    encoding.table.grad = None
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(encoding(points).square().sum(), points, create_graph=True)
    slope.square().sum().backward()


def least_times(work: Callable, repeats: dict[str, int], *arguments) -> dict[str, float]:
    """Milliseconds of the fastest call in each mode, modes in turn, after one call to warm up."""
    times = {mode: [] for mode in MODES}
    for turn in range(max(repeats.values()) + 1):
        for mode in MODES:
            if turn <= repeats[mode]:
                with use(mode):
                    start = time.perf_counter()
                    work(*arguments)
                times[mode].append(1e3 * (time.perf_counter() - start))
    return {mode: min(taken[1:] or taken) for mode, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=2**17)
    parser.add_argument("--repeats", type=int, default=10, help="timed calls of the kernels")
    parser.add_argument("--slow-repeats", type=int, default=2, help="timed calls of plain PyTorch")
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many rows of the table")
    chosen = parser.parse_args()
    repeats = {"fast": chosen.repeats, "reference": chosen.slow_repeats}
    print(f"{chosen.points} points, {torch.get_num_threads()} threads; milliseconds: kernel, PyTorch, ratio")
    print("levels x features, log2 table | forward               | forward + backward      | eikonal")
    for levels, features, log2 in CASES[: chosen.cases]:
        torch.manual_seed(0)
        encoding = HashGridEncoding(levels=levels, features=features, log2_table_size=log2)
        points = torch.rand(chosen.points, 3)
        cells = []
        for work in (forward, train, eikonal):
            taken = least_times(work, repeats, encoding, points)
            cells.append(
                f"{taken['fast']:6.1f} {taken['reference']:8.1f} {taken['reference'] / taken['fast']:5.1f}x"
            )
        print(f"{levels:6} x {features}, 2^{log2:<17} | " + " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
