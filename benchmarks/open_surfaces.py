"""Open surfaces from points: how far the mesh of a field of closest points is from the surface that the points were
taken from, both ways, and whether it has the same rims.

Points lie evenly at random over the mesh's area, with noise of equal deviation along each axis in percent of the
diagonal of its box. Times are of the processor, on one thread.

Run: python benchmarks/open_surfaces.py ../shared/data/meshes/tshirt_open.obj [--noise 0 0.25] [--points 100000]
     [--resolution 256] [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import imageio.v3 as imageio
import torch
from rich.console import Console
from rich.table import Table

from onefield.cameras import Cameras
from onefield.data.signal_files import read_mesh
from onefield.data.signals import Shape
from onefield.fields.field import Field
from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.meshing.preview import orbit_camera, render_preview
from onefield.meshing.report import report_mesh
from onefield.renderers.background import White
from onefield.renderers.sphere_tracing import Light, SphereTracingRenderer
from onefield.training.fit import fit
from onefield.types import Mesh, PointCloud

SCORED = 30_000
# Of the diagonal, from the surface: above the field's error, below what can be seen.
TOLERANCE = 2e-3


def noisy_points(shape: Shape, count: int, noise: float) -> PointCloud:
    """Points of the surface, off it by a deviation in percent of the diagonal."""
    generator = torch.Generator().manual_seed(0)
    points = shape.surface_points(count, generator)
    return PointCloud(points + noise / 100 * diagonal_of(shape) * torch.randn(points.shape, generator=generator))


def diagonal_of(shape: Shape) -> float:
    corners = shape.mesh.vertices[shape.mesh.faces.long()].reshape(-1, 3)
    return float((corners.amax(0) - corners.amin(0)).norm())


def off(mesh: Mesh, shape: Shape) -> tuple[float, float]:
    """Mean distance of the mesh from the surface, and of the surface from the mesh, percent of the diagonal."""
    means = []
    for source, tree in ((Shape.of(mesh), shape.tree), (shape, build_tree(mesh.vertices, mesh.faces))):
        points = source.surface_points(SCORED, torch.Generator().manual_seed(1))
        nearest, _ = closest_point(points, tree)
        means.append(100 * float((points - nearest).norm(dim=-1).mean()) / diagonal_of(shape))
    return means[0], means[1]


def traced(field: Field, camera: Cameras, diagonal: float) -> torch.Tensor:
    """The field itself by sphere tracing."""
    renderer = SphereTracingRenderer(White(), light=Light(shadows=False), tolerance=TOLERANCE * diagonal)
    return renderer.render_image(field, camera, 0).color


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh", type=Path)
    parser.add_argument("--noise", nargs="+", type=float, default=(0.0, 0.25))
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shape = Shape.of(read_mesh(arguments.mesh))
    truth = report_mesh(shape.mesh)
    table = Table(title=f"{arguments.points:,} points, {truth.boundaries} rims, distances in % of the diagonal")
    for column in ("noise %", "mesh to shape", "shape to mesh", "rims", "pieces", "area", "fit s", "mesh s"):
        table.add_column(column)
    for noise in arguments.noise:
        started = time.process_time()
        fitted = fit(noisy_points(shape, arguments.points, noise), "csp")
        trained = time.process_time()
        mesh = fitted.reconstruction(arguments.resolution)
        extracted = time.process_time()
        report = report_mesh(mesh)
        distances = [f"{mean:.4f}" for mean in off(mesh, shape)]
        area = f"{100 * (report.area / truth.area - 1):+.1f} %"
        times = [f"{trained - started:.0f}", f"{extracted - trained:.0f}"]
        table.add_row(f"{noise:g}", *distances, str(report.boundaries), str(report.components), area, *times)
        if arguments.pictures is not None:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            camera = orbit_camera(shape.mesh)
            for name, picture in (
                ("mesh", render_preview(mesh, camera)),
                ("traced", traced(fitted.field, camera, diagonal_of(shape))),
            ):
                path = arguments.pictures / f"{arguments.mesh.stem}-{noise:g}-{name}.png"
                imageio.imwrite(path, (picture.clamp(0, 1) * 255).to(torch.uint8).numpy())
    Console().print(table)


if __name__ == "__main__":
    main()
