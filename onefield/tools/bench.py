"""``onefield bench``: how fast this machine runs the kernels of training, or how well fields hold signals."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Literal

import torch
import tyro
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.encodings import HashGridEncoding
from onefield.fields.networks.mlp import Mlp
from onefield.kernels import use
from onefield.kernels.adam import adam_step
from onefield.kernels.composite import composite
from onefield.tools.bench_signals import DEFAULTS, SignalBench
from onefield.tools.output import say, show
from onefield.training.optimizer import EPSILON

POINTS = 2**16
REPEATS = 5


def run_command(
    subject: Annotated[Literal["kernels", "signals"], tyro.conf.Positional] = "kernels",
    /,
    signals: Annotated[SignalBench, tyro.conf.arg(name="")] = DEFAULTS,
    json: bool = False,
) -> None:
    """Times the main kernels beside their plain PyTorch references, or compares fields on signals.

    Kernels run in turns with their references, and the ratio of the best times is reported. 'bench signals' fits every
    field to every signal at every number of parameters and writes tables and a page.

    Args:
        subject: kernels, or signals; the options but --json are those of signals.
        signals: what to compare.
        json: print the result as JSON.
    """
    if subject == "signals":
        signals.run(json)
        return
    if signals != DEFAULTS:
        raise UsageError("Kernels have no options but --json; write 'onefield bench signals' to compare fields.")
    _time_kernels(json)


def _time_kernels(json: bool) -> None:
    rows = {}
    for name, work in _works().items():
        say(f"timing {name}")
        fast, reference = _best_times(work)
        rows[name] = {"milliseconds": fast * 1e3, "reference_milliseconds": reference * 1e3, "ratio": reference / fast}
    lines = [f"{'forward and backward of ' + str(POINTS) + ' points':<40} {'kernel':>9} {'reference':>10} {'ratio':>7}"]
    for name, row in rows.items():
        lines.append(
            f"{name:<40} {row['milliseconds']:7.1f}ms {row['reference_milliseconds']:8.1f}ms {row['ratio']:6.1f}x"
        )
    show({"points": POINTS, "threads": torch.get_num_threads(), "kernels": rows}, json, lines)


def _best_times(work: Callable[[], None]) -> tuple[float, float]:
    fast, reference = [], []
    work()
    for _ in range(REPEATS):
        fast.append(_seconds(work))
        with use("reference"):
            reference.append(_seconds(work))
    return min(fast), min(reference)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _works() -> dict[str, Callable[[], None]]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    points = random(POINTS, 3)
    encoding = HashGridEncoding(3, levels=8, features=4, log2_table_size=17)
    network = Mlp(32, 16, 64, 1)
    densities, colors = (random(POINTS) * 20).requires_grad_(), random(POINTS, 3).requires_grad_()
    starts = (torch.arange(POINTS) % 32) / 32
    offsets = torch.arange(0, POINTS + 1, 32)
    table = [random(POINTS * 32) for _ in range(4)]

    def encode() -> None:
        encoding(points).sum().backward()

    def run_network() -> None:
        network(encoding(points).detach()).sum().backward()

    def composite_rays() -> None:
        composite(densities, colors, starts, starts + 1 / 32, offsets)[1].sum().backward()

    def update() -> None:
        adam_step(*table, 1e-2, 0.9, 0.99, EPSILON, 1, True)

    return {
        "hash grid (8 levels, 4 features)": encode,
        "hash grid and network (64 wide)": run_network,
        "compositing (32 samples a ray)": composite_rays,
        "Adam step": update,
    }
