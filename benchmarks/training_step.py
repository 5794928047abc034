"""Where the time of one training step goes, and what the machine's limit for it is.

    python benchmarks/training_step.py SCENE [--method ngp] [--downscale 1] [--warm 300] [--steps 20]
    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/training_step.py SCENE

Trains ``--warm`` steps, so that empty space is known, then measures. The limit of an operation is the larger of its
arithmetic at the rate of the machine's fastest matrix product and of its bytes at the rate of a copy that fits into the
last-level cache, or of one that doesn't where the operation is larger; the rates are measured first. An operation reads
each input and writes each output once; a hash grid reads all rows that it interpolates, its gradient reads and writes
them after writing zeros, and Adam reads four arrays and writes three. The limit of a step is the sum: no operation
overlaps another. "Rest" is Python, autograd and launching. Two threads are timed by the wall clock, on an idle machine;
one thread is timed by the processor's, which other work on the machine disturbs little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onefield.configs.runs import configure
from onefield.data.batches import RayBatches
from onefield.training.loop import take_step
from onefield.training.state import TrainingState

# Arrays of a copy that stays in the last-level cache, and of one that doesn't, in bytes.
CACHED, UNCACHED = 2**22, 2**28
# Rows and columns of the product by which the rate of arithmetic is measured.
PRODUCT = (2**15, 256)
# Words that Adam moves for each parameter: value, gradient and two moments in, value and moments out.
ADAM_WORDS = 7
PARTS = {
    "hash grid": ("hash_grid",),
    "hash grid, gradient": ("hash_grid_table_gradient", "hash_grid_point_gradient"),
    "products": ("mm", "addmm"),
    "Adam": ("adam_step",),
    "marching": ("march",),
    "compositing": ("composite", "composite_backward", "rendering_weights", "distortion", "distortion_backward"),
}
OTHERS = "elementwise, copies, sums"


def clock() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


@dataclass
class Work:
    """Arithmetic and bytes of a part of a step, the seconds that it took, and the least that it could take."""

    flops: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0
    least: float = 0.0


@dataclass(frozen=True)
class Machine:
    """Measured rates: floating-point operations and bytes a second."""

    products: float
    cache: float
    memory: float

    def least_seconds(self, flops: float, size: float) -> float:
        return max(flops / self.products, size / (self.cache if size <= 2 * CACHED else self.memory))


def part_of(name: str) -> str:
    """The part that an operation belongs to."""
    for part, names in PARTS.items():
        if name in names:
            return part
    return OTHERS


def fastest(work: Callable[[], object], repeats: int = 10) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def measure_machine() -> Machine:
    rows, width = PRODUCT
    rates = []
    for kind in (torch.float32, torch.bfloat16):
        a, b = torch.randn(rows, width).to(kind), torch.randn(width, width).to(kind)
        rates.append(2 * rows * width**2 / fastest(lambda a=a, b=b: a @ b))
    copies = []
    for size in (CACHED, UNCACHED):
        source = torch.zeros(size // 4)
        target = torch.empty_like(source)
        copies.append(2 * size / fastest(lambda s=source, t=target: t.copy_(s)))
    return Machine(max(rates), *copies)


class Counting(TorchDispatchMode):
    """Adds up what each operation computes and moves."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        self.parts: dict[str, Work] = defaultdict(Work)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        start = clock()
        answer = func(*args, **(kwargs or {}))
        taken = clock() - start
        if not func.is_view:
            name = func._schema.name.split("::")[-1]
            flops, size = self.count(name, args, answer)
            work = self.parts[part_of(name)]
            work.seconds += taken
            work.flops += flops
            work.bytes += size
            work.least += self.machine.least_seconds(flops, size)
        return answer

    def count(self, name: str, args: tuple, answer: object) -> tuple[float, float]:
        moved = sum(map(bytes_of, tensors((args, answer))))
        if name in ("mm", "addmm"):
            left, right = args[-2:]
            return 2.0 * left.shape[0] * left.shape[1] * right.shape[1], moved
        if name == "hash_grid":
            points, _, table, resolutions, _ = args
            return 0.0, bytes_of(points) + bytes_of(answer) + rows_of(points, resolutions) * bytes_of(table[0])
        if name == "hash_grid_table_gradient":
            points, _, cotangents, resolutions, _ = args
            rows = rows_of(points, resolutions) * bytes_of(answer[0])
            return 0.0, bytes_of(points) + bytes_of(cotangents) + bytes_of(answer) + 2 * rows
        if name == "adam_step":
            return 0.0, ADAM_WORDS * bytes_of(args[0])
        return 0.0, moved


def tensors(tree: object) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def rows_of(points: Tensor, resolutions: list[int]) -> int:
    return points.shape[0] * len(resolutions) * 2 ** points.shape[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--method", default="ngp")
    parser.add_argument("--downscale", type=int, default=1)
    parser.add_argument("--warm", type=int, default=300)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    config = configure(arguments.scene, arguments.method, downscale=arguments.downscale)
    scene = config.load_scene()
    state = TrainingState.begin(config.method.build(scene), RayBatches(scene, scene.train_indices, seed=0))
    for _ in range(arguments.warm):
        take_step(state)
    machine = measure_machine()
    seconds = []
    for _ in range(arguments.steps):
        start = clock()
        result = take_step(state)
        seconds.append(clock() - start)
    with Counting(machine) as counted:
        for _ in range(arguments.steps):
            take_step(state)
    report(machine, statistics.median(seconds), counted.parts, arguments.steps)
    print(json.dumps({"rays": result.rays, "samples": result.samples}))


def report(machine: Machine, step: float, parts: dict[str, Work], steps: int) -> None:
    threads = torch.get_num_threads()
    print(
        f"machine, {threads} thread{'s' * (threads > 1)}: products {machine.products / 1e9:.0f} GFLOP/s, copies "
        f"{machine.cache / 1e9:.0f} GB/s in the cache, {machine.memory / 1e9:.0f} GB/s beyond"
    )
    print(f"{'a step':26} {'ms':>7} {'GFLOP':>7} {'MB':>7} {'limit':>7}")
    for part in (*PARTS, OTHERS):
        work = parts.get(part, Work())
        figures = (1e3 * work.seconds, work.flops / 1e9, work.bytes / 1e6, 1e3 * work.least)
        print(f"{part:26} " + " ".join(f"{figure / steps:7.2f}" for figure in figures))
    rest = step - sum(work.seconds for work in parts.values()) / steps
    limit = sum(work.least for work in parts.values()) / steps
    print(f"{'rest':26} {1e3 * rest:7.2f}")
    print(f"{'all':26} {1e3 * step:7.2f} {'':7} {'':7} {1e3 * limit:7.2f}, {limit / step:.0%} of the time")


if __name__ == "__main__":
    main()
