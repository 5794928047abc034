"""Marching cubes beside scikit-image's, and the memory of an extraction.

Run: python benchmarks/marching_cubes.py [--resolution 256] [--large 512]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from skimage import measure

from onefield.fields.analytic import Material, TorusField
from onefield.kernels.marching_cubes import marching_cubes
from onefield.meshing.level_sets import extract
from onefield.meshing.report import report_mesh
from onefield.types import Mesh

REPEATS = 5
# Linux reports the peak in KiB, macOS in bytes.
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def field() -> TorusField:
    return TorusField(0.6, 0.25, material=Material(density=100.0, softness=0.01))


def volume(resolution: int) -> torch.Tensor:
    axis = torch.linspace(-1, 1, resolution + 1)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    return field().query(points, want=("distance",)).distance


def best_seconds(run: Callable[[], object]) -> float:
    """Least time of several runs: what the machine can do when nothing else disturbs it."""
    run()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def kernel_table(resolution: int) -> Table:
    values = volume(resolution)
    noise = torch.randn(65, 65, 65, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    table = Table(title=f"Marching cubes of a torus at {resolution}^3 and of noise at 64^3, {threads} threads")
    for column in ("what", "values", "ms", "faces", "closed and manifold"):
        table.add_column(column)
    for name, array in (("torus", values), ("noise", torch.nn.functional.pad(noise, (1,) * 6, value=1e3))):
        ours = best_seconds(lambda array=array: marching_cubes(array))
        theirs = best_seconds(lambda array=array: measure.marching_cubes(array.numpy(), 0.0))
        vertices, faces, _, _ = measure.marching_cubes(array.numpy(), 0.0)
        for what, seconds, mesh in (
            ("onefield", ours, Mesh(*marching_cubes(array))),
            ("scikit-image", theirs, Mesh(torch.tensor(vertices.copy()), torch.tensor(faces.copy()).long())),
        ):
            report = report_mesh(mesh)
            sound = "yes" if report.watertight and report.manifold else "no"
            table.add_row(what, name, f"{seconds * 1e3:.0f}", f"{report.faces:,}", sound)
    return table


def extraction(resolution: int, quantity: str) -> tuple[str, ...]:
    """One extraction; run in a process of its own, so that the peak is its own."""
    extract(field(), resolution=8, quantity=quantity)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
    started = time.perf_counter()
    found = extract(field(), resolution=resolution, quantity=quantity)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
    return (
        f"{resolution}^3",
        quantity,
        f"{seconds:.1f}",
        f"{len(found.mesh.faces):,}",
        f"{100 * found.evaluations / (resolution + 1) ** 3:.1f} %",
        f"{peak / 2**30:.2f}",
        f"{(peak - before) / 2**30:.2f}",
    )


def extraction_table(resolutions: list[int]) -> Table:
    table = Table(title="Extraction from a field")
    for column in ("grid", "quantity", "s", "faces", "corners asked", "peak memory GiB", "of it extraction"):
        table.add_column(column)
    for resolution in resolutions:
        for quantity in ("distance", "density"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                table.add_row(*pool.apply(extraction, (resolution, quantity)))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--large", type=int, default=512)
    arguments = parser.parse_args()
    console = Console()
    # first, while this process is small: on Linux a child's peak begins at its parent's
    console.print(extraction_table([arguments.resolution, arguments.large]))
    console.print(kernel_table(arguments.resolution))


if __name__ == "__main__":
    main()
