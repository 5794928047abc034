"""Surfaces from points: how far they are from the shape that the points were taken from, both ways.

Each shape gets points evenly at random over its area, then noise of equal deviation along each axis, in percent of the
diagonal of its box. Screened Poisson of Open3D, where that is installed, gets normals estimated from the same points
and turned by its minimal spanning tree, as its users do. What ends in "+normals" gets those of the faces instead, which
no scanner knows so well. Peak memory is that of the whole run so far: ask for one row alone to see its own.

Run: python benchmarks/points.py ../shared/data/meshes [--shapes armadillo block] [--noise 0 0.25 0.5]
     [--by auto auto+normals hash siren poisson poisson+normals] [--points 100000] [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from pathlib import Path

import imageio.v3 as imageio
import torch
from rich.console import Console
from rich.table import Table

from onefield.data.points import Points
from onefield.data.signal_files import read_mesh
from onefield.data.signals import Shape
from onefield.export.formats import export_mesh
from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.meshing.preview import orbit_camera, render_preview
from onefield.meshing.report import report_mesh
from onefield.training.fit import fit
from onefield.types import Mesh, PointCloud

SHAPES = ("armadillo", "bunny", "block", "fandisk", "spot", "dragon_10k")
SCORED = 100_000


def cloud_of(shape: Shape, count: int, noise: float) -> tuple[PointCloud, float]:
    """Noisy points with the normals of their faces, and the diagonal."""
    generator = torch.Generator().manual_seed(0)
    corners = shape.mesh.vertices[shape.mesh.faces.long()].reshape(-1, 3)
    diagonal = float((corners.amax(0) - corners.amin(0)).norm())
    clean = shape.surface_points(count, generator)
    _, faces = closest_point(clean, shape.tree)
    a, b, c = shape.mesh.vertices[shape.mesh.faces[faces].long()].unbind(1)
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    points = clean.double() + noise / 100 * diagonal * torch.randn(clean.shape, generator=generator).double()
    return PointCloud(points, None, normals), diagonal


def off(mesh: Mesh, shape: Shape, diagonal: float) -> tuple[float, float]:
    """Mean distance of the mesh from the shape, and of the shape from the mesh, percent of the diagonal."""
    means = []
    for source, tree in ((Shape.of(mesh), shape.tree), (shape, build_tree(mesh.vertices, mesh.faces))):
        points = source.surface_points(SCORED, torch.Generator().manual_seed(1))
        nearest, _ = closest_point(points, tree)
        means.append(100 * float((points - nearest).norm(dim=-1).mean()) / diagonal)
    return means[0], means[1]


def reconstructed(cloud: PointCloud, by: str) -> Mesh | None:
    """The mesh of one way; None where the peer isn't installed."""
    way, _, given = by.partition("+")
    if way == "poisson" and importlib.util.find_spec("open3d") is None:
        return None
    return fit(Points.of(cloud if given == "normals" else PointCloud(cloud.points)), way).reconstruction()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--noise", nargs="+", type=float, default=(0.0, 0.25, 0.5))
    parser.add_argument("--by", nargs="+", default=("auto", "poisson", "poisson+normals"))
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    table = Table(title=f"{arguments.points:,} points, distances in % of the diagonal")
    distances, facts = ("mesh to shape", "shape to mesh"), ("watertight", "pieces", "euler", "s", "processor s", "GiB")
    columns = ("shape", "noise %", "by", *distances, *facts)
    for column in columns:
        table.add_column(column)
    console = Console()
    for name in arguments.shapes:
        shape = Shape.of(read_mesh(arguments.meshes / f"{name}.obj"))
        for noise in arguments.noise:
            cloud, diagonal = cloud_of(shape, arguments.points, noise)
            for by in arguments.by:
                wall, processor = time.perf_counter(), time.process_time()
                mesh = reconstructed(cloud, by)
                took = (f"{time.perf_counter() - wall:.0f}", f"{time.process_time() - processor:.0f}")
                peak = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}"
                if mesh is None:
                    table.add_row(name, f"{noise:g}", by, *[""] * (len(columns) - 3))
                    continue
                there, back = off(mesh, shape, diagonal)
                report = report_mesh(mesh)
                row = (f"{there:.4f}", f"{back:.4f}", "yes" if report.watertight else "no", str(report.components))
                row = (*row, str(report.euler), *took, peak)
                table.add_row(name, f"{noise:g}", by, *row)
                console.print(f"{name} {noise:g} {by}:", *row, highlight=False)
                if arguments.pictures is not None:
                    arguments.pictures.mkdir(parents=True, exist_ok=True)
                    stem = arguments.pictures / f"{name}-{noise:g}-{by}"
                    picture = render_preview(mesh, orbit_camera(mesh))
                    imageio.imwrite(f"{stem}.png", (picture * 255).to(torch.uint8).numpy())
                    export_mesh(mesh, f"{stem}.ply")
    console.print(table)


if __name__ == "__main__":
    main()
