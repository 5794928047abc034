"""Evolving shapes against closed forms: the radius of a ball that shrinks by its mean curvature, and the middle and
radius of one that is carried along.

Radii are those of balls of the meshes' volumes. Times are of the processor, on one thread.

Run: python benchmarks/evolution.py [--width 64] [--hidden-layers 1] [--frequency 10] [--steps 600]
"""

from __future__ import annotations

import argparse
import math
import time

import torch
import trimesh
from rich.console import Console
from rich.table import Table

from onefield.data.signals import Shape
from onefield.fields.evolving import EvolvingField
from onefield.meshing.report import report_mesh
from onefield.training.evolution import Law, MeanCurvature, evolve, translation
from onefield.types import Bounds, Mesh

MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Three quarters of the squared radius, 1, go until the end.
STRENGTH = 0.75 / 4
WAY = 0.5
RESOLUTION = 96


def ball() -> Shape:
    """Of radius 1."""
    shape = trimesh.creation.icosphere(subdivisions=5)
    return Shape.of(Mesh(torch.tensor(shape.vertices, dtype=torch.float32), torch.tensor(shape.faces.astype(int))))


def measured(name: str, law: Law, speed: float, table: Table, arguments: argparse.Namespace) -> None:
    """Adds a row a moment."""
    torch.manual_seed(0)
    domain = Bounds((-1.2, -1.2, -1.2), (1.2 + WAY, 1.2 + WAY, 1.2 + WAY)) if speed else Bounds.cube(1.2)
    field = EvolvingField(domain, 1.0, arguments.width, arguments.hidden_layers, arguments.frequency)
    started = time.process_time()
    found = evolve(ball(), law, field, steps=arguments.steps)
    spent = time.process_time() - started
    for moment in MOMENTS:
        report = report_mesh(found.mesh_at(moment, RESOLUTION))
        radius = (3 * report.volume / (4 * math.pi)) ** (1 / 3)
        truth = 1.0 if speed else math.sqrt(1 - 4 * STRENGTH * moment)
        middle = (report.minimum[0] + report.maximum[0]) / 2
        off = f"{middle - speed * moment:+.4f}"
        table.add_row(name, f"{moment:g}", f"{radius:.4f}", f"{truth:.4f}", f"{radius / truth - 1:+.2%}", off)
    table.add_row(name, "", "", "", "", "", f"{spent:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--hidden-layers", type=int, default=1)
    parser.add_argument("--frequency", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title=f"ball of radius 1, {arguments.steps} steps, {arguments.width} wide")
    for column in ("law", "time", "radius", "true", "error", "middle off", "s"):
        table.add_column(column)
    measured("mean curvature", MeanCurvature(STRENGTH), 0.0, table, arguments)
    measured("translation", translation((WAY, 0.0, 0.0)), WAY, table, arguments)
    Console().print(table)


if __name__ == "__main__":
    main()
