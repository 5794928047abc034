"""Completing noisy points of a shape that was not learned from, beside the points themselves and `onefield fit`.

Points lie evenly at random on the shape, with noise of equal deviation along each axis, in percent of the longest side
of its box. IoU at 30,000 points of that box; chamfer is half the sum of the mean distances both ways, points to exact
surfaces, in percent of the longest side (to the points themselves: to the nearest of them).

Run: onefield fit FOLDER_OF_MESHES --field conv-occupancy --output RUN
     python benchmarks/completion.py RUN ../shared/data/meshes/spot.obj [--points 3000 300] [--noise 0.5]
     [--by weights auto]
     With --learn FOLDER_OF_MESHES --minutes 20 --planes 32 it makes the run first, of a size that slow machines bear.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from scipy.spatial import cKDTree
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signal_files import read_mesh
from onefield.data.signals import Shape, load_shapes
from onefield.errors import OnefieldError
from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.meshing.report import report_mesh
from onefield.training.completion import closed_solids, completion_recipe, learn_completion, load_completion
from onefield.training.fit import fit
from onefield.training.metrics import intersection_over_union
from onefield.types import Mesh, PointCloud

SCORED = 30_000


def distance_to(mesh: Mesh, points: Tensor) -> Tensor:
    """Of points from the surface."""
    nearest, _ = closest_point(points, build_tree(mesh.vertices, mesh.faces))
    return (points - nearest).norm(dim=-1)


def scores(found: Mesh, truth: Shape, side: float) -> tuple[float, float]:
    """IoU and chamfer."""
    low, high = truth.mesh.vertices.amin(0), truth.mesh.vertices.amax(0)
    generator = torch.Generator().manual_seed(2)
    anywhere = low + (high - low) * torch.rand(SCORED, 3, generator=generator)
    shape = Shape.of(Mesh(found.vertices.float(), found.faces))
    agreement = intersection_over_union(shape.contains(anywhere), truth.contains(anywhere))
    there = distance_to(truth.mesh, shape.surface_points(SCORED, generator)).mean()
    back = distance_to(shape.mesh, truth.surface_points(SCORED, generator)).mean()
    return agreement, 50 * float(there + back) / side


def points_alone(cloud: Tensor, truth: Shape, side: float) -> float:
    """Chamfer of the cloud as it is."""
    surface = truth.surface_points(SCORED, torch.Generator().manual_seed(2))
    back, _ = cKDTree(cloud.numpy()).query(surface.numpy())
    return 50 * float(distance_to(truth.mesh, cloud).mean() + back.mean()) / side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("mesh", type=Path)
    parser.add_argument("--points", nargs="+", type=int, default=(3000, 300))
    parser.add_argument("--noise", nargs="+", type=float, default=(0.5,))
    parser.add_argument("--by", nargs="+", default=("weights", "auto"))
    parser.add_argument("--learn", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--planes", type=int, default=32)
    arguments = parser.parse_args()
    if arguments.learn is not None:
        recipe = completion_recipe("conv-occupancy")
        recipe = replace(recipe, options=recipe.options | {"planes": arguments.planes})
        solids, _ = closed_solids(load_shapes(arguments.learn))
        learn_completion(solids, arguments.run, recipe, seconds=60 * arguments.minutes, observe=print)
    completion, truth = load_completion(arguments.run), Shape.of(read_mesh(arguments.mesh))
    side = max((truth.mesh.vertices.amax(0) - truth.mesh.vertices.amin(0)).tolist())
    console = Console()
    console.print(f"{arguments.mesh.stem}; {completion.step} steps on {', '.join(completion.shapes)}")
    console.print("points, noise %, by: IoU, chamfer %, pieces, genus, seconds")
    for count in arguments.points:
        for noise in arguments.noise:
            generator = torch.Generator().manual_seed(1)
            cloud = truth.surface_points(count, generator)
            cloud = cloud + noise / 100 * side * torch.randn(cloud.shape, generator=generator)
            console.print(f"{count} {noise:g} points alone: chamfer {points_alone(cloud, truth, side):.3f}")
            for by in arguments.by:
                given = Points.of(PointCloud(cloud))
                began = time.perf_counter()
                try:
                    fitted = completion.complete(given) if by == "weights" else fit(given, by)
                except OnefieldError as error:
                    console.print(f"{count} {noise:g} {by}: {error}")
                    continue
                found, elapsed = fitted.reconstruction(), time.perf_counter() - began
                agreement, chamfer = scores(found, truth, side)
                report = report_mesh(found)
                figures = f"{agreement:.3f} {chamfer:.3f} {report.components} {report.genus} {elapsed:.0f}"
                console.print(f"{count} {noise:g} {by}: {figures}")


if __name__ == "__main__":
    main()
