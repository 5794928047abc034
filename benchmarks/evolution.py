"""Evolving shapes against closed forms: the radius of a ball that shrinks by its mean curvature, and the middle and
radius of one that is carried along.

Radii are those of balls of the meshes' volumes. With a mesh, also that mesh turned and twisted by a quarter about
z, and one that becomes another (``--other``), against the same mesh with its vertices moved by the exact flow: mean
distances both ways between points on the surfaces, in per cent of the diagonal. Times are of the processor, on one
thread.

Run: python benchmarks/evolution.py [--width 64] [--hidden-layers 1] [--frequency 10] [--steps 600] [--shape A.obj]
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import torch
import trimesh
from rich.console import Console
from rich.table import Table
from torch import Tensor

from onefield.data.signals import Shape, load_signal
from onefield.fields.evolving import EvolvingField
from onefield.meshing.report import report_mesh
from onefield.training.evolution import Evolution, Law, MeanCurvature, Morphing, evolve, rotation, translation, twist
from onefield.training.metrics import surface_agreement
from onefield.types import Bounds, Mesh

MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Three quarters of the squared radius, 1, go until the end.
STRENGTH = 0.75 / 4
WAY = 0.5
RESOLUTION = 96
QUARTER, POINTS = math.pi / 2, 30_000


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


def moved(vertices: Tensor, angles: Tensor) -> Tensor:
    """Points turned about z, each by its own angle."""
    x, y, z = vertices.unbind(-1)
    return torch.stack([angles.cos() * x - angles.sin() * y, angles.sin() * x + angles.cos() * y, z], dim=-1)


def carried(path: Path, other: Path | None, table: Table, arguments: argparse.Namespace) -> None:
    """Adds a row for each law and moment."""
    start = load_signal(path)
    corners = start.mesh.vertices[start.mesh.faces.long()].reshape(-1, 3)
    low, high = corners.amin(0), corners.amax(0)
    diagonal = float((high - low).norm())
    half = 0.6 * diagonal
    middle = tuple(((low + high) / 2).tolist())
    cube = Bounds(*(tuple(value + way * half for value in middle) for way in (-1.0, 1.0)))
    rate = QUARTER / float(high[2] - low[2])
    arms = start.mesh.vertices - torch.tensor(middle)
    laws = [
        ("rotation", rotation((0.0, 0.0, 1.0), QUARTER, middle), lambda t: torch.full_like(arms[:, 2], QUARTER * t)),
        ("twist", twist((0.0, 0.0, 1.0), rate, middle), lambda t: rate * arms[:, 2] * t),
    ]
    for name, law, angles in laws:
        found, spent = taught(start, law, cube, arguments)
        for moment in MOMENTS:
            truth = replace(start.mesh, vertices=moved(arms, angles(moment)) + torch.tensor(middle))
            apart(name, moment, found, truth, diagonal, table)
        table.add_row(name, "", "", "", f"{spent:.0f}")
    if other is not None:
        end = load_signal(other)
        found, spent = taught(start, Morphing(end), cube, arguments)
        for moment, truth in ((0.0, start.mesh), (1.0, end.mesh)):
            apart("morphing", moment, found, truth, diagonal, table)
        table.add_row("morphing", "", "", "", f"{spent:.0f}")


def taught(start: Shape, law: Law, domain: Bounds, arguments: argparse.Namespace) -> tuple[Evolution, float]:
    """An evolution, and the seconds that it took."""
    torch.manual_seed(0)
    field = EvolvingField(domain, 1.0, arguments.width, arguments.hidden_layers, arguments.frequency)
    started = time.process_time()
    return evolve(start, law, field, steps=arguments.steps), time.process_time() - started


def apart(name: str, moment: float, found: Evolution, truth: Mesh, diagonal: float, table: Table) -> None:
    """Adds a row of distances between the surface found at a moment and the true one."""
    clouds = []
    for mesh in (found.mesh_at(moment, RESOLUTION), truth):
        body = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
        clouds.append(torch.tensor(trimesh.sample.sample_surface(body, POINTS, seed=0)[0]))
    agreement = surface_agreement(clouds[0], clouds[1], diagonal)
    both = (f"{100 * value / diagonal:.3f}" for value in (agreement.accuracy, agreement.completeness))
    table.add_row(name, f"{moment:g}", *both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--hidden-layers", type=int, default=1)
    parser.add_argument("--frequency", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--shape", type=Path)
    parser.add_argument("--other", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title=f"ball of radius 1, {arguments.steps} steps, {arguments.width} wide")
    for column in ("law", "time", "radius", "true", "error", "middle off", "s"):
        table.add_column(column)
    measured("mean curvature", MeanCurvature(STRENGTH), 0.0, table, arguments)
    measured("translation", translation((WAY, 0.0, 0.0)), WAY, table, arguments)
    Console().print(table)
    if arguments.shape is not None:
        table = Table(title=f"{arguments.shape.name}, {arguments.steps} steps, {arguments.width} wide")
        for column in ("law", "time", "found to true, %", "true to found, %", "s"):
            table.add_column(column)
        carried(arguments.shape, arguments.other, table, arguments)
        Console().print(table)


if __name__ == "__main__":
    main()
