"""Casting rays through Gaussians: processor time, forward and with gradients, beside the PyTorch reference.

Gaussians lie on a ball, as a trained set does, and rays come from all around. Run with one thread, for figures that
others on the machine stretch least: NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/gaussian_rays.py
[--gaussians 20000] [--rays 10000] [--lobes 7]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from onefield.fields.gaussians import GaussianField
from onefield.fields.lobes import first_lobes
from onefield.kernels.dispatch import use
from onefield.renderers.gaussian_rays import GaussianRayRenderer
from onefield.types import Bounds, Gaussians, Rays

RADIUS, DISTANCE = 0.6, 3.0
# The reference compares every sample with every Gaussian: a share of the rays and Gaussians is all it can take.
REFERENCE_SHARE = 100


def ball(count: int, lobes: int, generator: torch.Generator, *, degree: int = 2) -> GaussianField:
    """Gaussians as large as their distance to neighbours, each about half opaque."""
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    size = RADIUS * math.sqrt(4 * math.pi / count) / 2
    return GaussianField(
        Bounds.cube(1.0),
        Gaussians(
            RADIUS * normals + size * torch.randn(count, 3, generator=generator),
            math.log(size) + 0.4 * torch.randn(count, 3, generator=generator),
            torch.randn(count, 4, generator=generator),
            torch.zeros(count),
            tuple(0.1 * torch.randn(count, 2 * band + 1, 3, generator=generator) for band in range(degree + 1)),
            first_lobes(count, lobes) if lobes else None,
        ),
    )


def rays_at(count: int, generator: torch.Generator) -> Rays:
    """From all around, at places about the middle."""
    origins = DISTANCE * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    aims = 0.4 * torch.randn(count, 3, generator=generator)
    return Rays(origins, torch.nn.functional.normalize(aims - origins, dim=-1))


def processor_milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Least of several calls, after one that compiles."""
    call()
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return 1000 * min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussians", type=int, default=20_000)
    parser.add_argument("--rays", type=int, default=10_000)
    parser.add_argument("--lobes", type=int, default=7)
    arguments = parser.parse_args()
    renderer = GaussianRayRenderer()
    table = Table(title="processor milliseconds")
    for column in ("Gaussians", "rays", "samples a ray", "mode", "forward", "forward + backward"):
        table.add_column(column)
    few = arguments.gaussians // REFERENCE_SHARE, arguments.rays // REFERENCE_SHARE
    for mode, (count, rays) in (
        ("fast", (arguments.gaussians, arguments.rays)), ("fast", few), ("reference", few)
    ):  # fmt: skip
        generator = torch.Generator().manual_seed(0)
        field, lit = ball(count, arguments.lobes, generator), rays_at(rays, generator)

        def forward(field: GaussianField = field, lit: Rays = lit) -> int:
            with torch.no_grad():
                return renderer.render(field, lit).looks

        def both(field: GaussianField = field, lit: Rays = lit) -> None:
            renderer.render(field, lit).color.square().sum().backward()

        with use(mode):
            looks = forward() / rays
            times = (processor_milliseconds(call, 3 if mode == "fast" else 1) for call in (forward, both))
            table.add_row(str(count), str(rays), f"{looks:.1f}", mode, *(f"{taken:.1f}" for taken in times))
    Console().print(table)


if __name__ == "__main__":
    main()
