"""Splatting: a picture and its gradients beside the PyTorch reference, pictures a second, and how time grows.

Gaussians lie on a ball that fills the picture, as a trained set does, each as large as its distance to neighbours and
about half opaque, with harmonics of degree 3.

    python benchmarks/splatting.py [--gaussians 50000] [--side 400] [--primitive surfels] [--reference] [--growth]

Two threads are timed by the wall clock, on an idle machine; one thread (NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1) by the
processor's, which other work on the machine disturbs little. ``--reference`` runs the plain PyTorch reference once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from gaussian_rays import DISTANCE, RADIUS, ball
from rich.console import Console
from rich.table import Table

from onefield.cameras import Cameras
from onefield.fields.gaussians import GaussianField
from onefield.kernels.dispatch import use
from onefield.renderers.splat import PRIMITIVES, SplatRenderer

DEGREE = 3
# Share of the picture's side that the ball's diameter fills.
FILLED = 0.9
GROWING_GAUSSIANS = (1_000, 10_000, 100_000, 1_000_000)
GROWING_SIDES = (100, 200, 400, 800, 1600)


def camera(side: int) -> Cameras:
    pose = torch.eye(3, 4, dtype=torch.float64)[None].clone()
    pose[0, 2, 3] = -DISTANCE
    size = torch.tensor([side])
    return Cameras.pinhole(pose, FILLED * side / 2 * DISTANCE / RADIUS, (side / 2, side / 2), size, size)


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median of several calls, after one that compiles."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    if repeats > 1:
        call()
    taken = []
    for _ in range(repeats):
        started = clock()
        call()
        taken.append(clock() - started)
    return 1000 * float(torch.tensor(taken).median())


def both_ways(field: GaussianField, view: Cameras, primitive: str) -> None:
    renderer = SplatRenderer(primitive=primitive, depths=False)
    field.zero_grad()
    renderer.render(field, view.image_rays(0)).color.square().mean().backward()


def measured(count: int, side: int, mode: str, repeats: int, primitive: str) -> list[str]:
    field, view = ball(count, 0, torch.Generator().manual_seed(0), degree=DEGREE), camera(side)
    renderer = SplatRenderer(primitive=primitive)
    with use(mode):
        shown = milliseconds(lambda: renderer.render_image(field, view, 0), repeats)
        trained = milliseconds(lambda: both_ways(field, view, primitive), repeats)
    return [f"{count:,}", f"{side} x {side}", mode, f"{shown:.1f}", f"{1000 / shown:.1f}", f"{trained:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussians", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--primitive", choices=PRIMITIVES, default=PRIMITIVES[0])
    parser.add_argument("--reference", action="store_true", help="run the PyTorch reference once, too (minutes)")
    parser.add_argument("--growth", action="store_true", help="how time grows with Gaussians and with pixels")
    arguments = parser.parse_args()
    repeats, primitive = arguments.repeats, arguments.primitive
    table = Table(title=f"milliseconds, {torch.get_num_threads()} threads, {primitive}")
    for column in ("Gaussians", "picture", "mode", "picture with depth", "pictures a second", "colour and gradients"):
        table.add_column(column)
    table.add_row(*measured(arguments.gaussians, arguments.side, "fast", repeats, primitive))
    if arguments.reference:
        table.add_row(*measured(arguments.gaussians, arguments.side, "reference", 1, primitive))
    if arguments.growth:
        for count in GROWING_GAUSSIANS:
            table.add_row(*measured(count, arguments.side, "fast", repeats, primitive))
        for side in GROWING_SIDES:
            table.add_row(*measured(arguments.gaussians, side, "fast", repeats, primitive))
    Console().print(table)


if __name__ == "__main__":
    main()
