"""Fusing depth pictures: the kernel beside its PyTorch reference, and the error of the surface that comes out.

Run: python benchmarks/tsdf.py [--resolution 256] [--views 20]
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from rich.console import Console
from rich.table import Table

from onefield.cameras import Cameras
from onefield.kernels.dispatch import use
from onefield.meshing.lattice import Lattice
from onefield.meshing.report import report_mesh
from onefield.meshing.tsdf import LEAST_WEIGHT, TRUNCATION, DepthView, TsdfVolume
from onefield.types import Bounds

RADIUS, DISTANCE, SIZE = 0.6, 2.5, 200


def view(index: int, count: int) -> DepthView:
    """A ball from a point of a spiral around it."""
    height = DISTANCE * (2 * (index + 0.5) / count - 1)
    around, across = index * math.pi * (3 - math.sqrt(5)), math.sqrt(DISTANCE**2 - height**2)
    place = torch.tensor([across * math.cos(around), across * math.sin(around), height], dtype=torch.float64)
    forward = -place / DISTANCE
    right = torch.nn.functional.normalize(
        torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)), dim=0
    )
    pose = torch.stack([right, torch.linalg.cross(forward, right), forward, place], dim=1)
    camera = Cameras.pinhole(pose[None], 1.4 * SIZE, (SIZE / 2, SIZE / 2), SIZE, SIZE)
    rays = camera.image_rays(0)
    along = (rays.origins * rays.directions).sum(-1)
    inside = along.square() - rays.origins.square().sum(-1) + RADIUS**2
    depth = torch.where(inside > 0, -along - inside.clamp(min=0).sqrt(), torch.inf)
    color = ((rays.origins + depth.nan_to_num(posinf=0.0)[:, None] * rays.directions + 1) / 2).clamp(0, 1)
    return DepthView(camera, depth.reshape(SIZE, SIZE), color=color.reshape(SIZE, SIZE, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--views", type=int, default=20)
    arguments = parser.parse_args()
    lattice = Lattice.over(Bounds.cube(1.0), arguments.resolution)
    views = [view(index, arguments.views) for index in range(arguments.views)]
    table = Table(title=f"A view of {SIZE}^2 pixels into {arguments.resolution}^3, {torch.get_num_threads()} threads")
    for column in ("what", "ms a view"):
        table.add_column(column)
    for mode, some in (("fast", views), ("reference", views[:2])):
        with use(mode):
            volume = TsdfVolume(lattice, TRUNCATION * max(lattice.spacing))
            volume.add(some[0])
            times = []
            for one in some[1:]:
                started = time.perf_counter()
                volume.add(one)
                times.append(time.perf_counter() - started)
        table.add_row(mode, f"{min(times) * 1e3:.0f}")
        if mode == "fast":
            started = time.perf_counter()
            mesh, _ = volume.surface(LEAST_WEIGHT)
            extraction = time.perf_counter() - started
    console = Console()
    console.print(table)
    off = (mesh.vertices.norm(dim=1) - RADIUS).abs() / max(lattice.spacing)
    sound = "closed" if report_mesh(mesh).watertight else "open"
    console.print(
        f"surface in {extraction:.2f} s: {len(mesh.faces):,} faces, {sound}; off by {float(off.mean()):.3f} cells on "
        f"average, {float(off.max()):.2f} at most"
    )


if __name__ == "__main__":
    main()
