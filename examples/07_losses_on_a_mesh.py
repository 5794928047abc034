"""A cube becomes a ball: FlexiCubes whose mesh is asked for little area at an unchanged volume.

python examples/07_losses_on_a_mesh.py OUTPUT [--resolution N] [--steps N]
"""

import argparse
import math
from pathlib import Path

import torch

from onefield.export.formats import export_mesh
from onefield.fields.analytic import BoxField
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.losses.meshes import enclosed_volume, face_areas
from onefield.meshing.report import report_mesh
from onefield.types import Bounds, Mesh


def sphericity(mesh: Mesh) -> float:
    """Area of the ball of a mesh's volume over the mesh's area: 0.806 for a cube, 1 for a ball."""
    report = report_mesh(mesh)
    return math.pi ** (1 / 3) * (6 * report.volume) ** (2 / 3) / report.area


def main(output: Path, resolution: int, steps: int) -> None:
    domain = Bounds.cube(1.0)
    points = corner_points(domain, (resolution,) * 3)
    grid = FlexiCubesField(domain, BoxField((0.55, 0.55, 0.55)).query(points, want=["distance"]).distance)
    before = sphericity(grid.mesh())
    volume = report_mesh(grid.mesh()).volume

    optimizer = torch.optim.Adam(grid.parameters(), lr=0.05)
    for _ in range(steps):
        surface = grid.surface("center")
        area = face_areas(surface.vertices, surface.faces).sum()
        grown = enclosed_volume(surface.vertices, surface.faces) / volume - 1
        loss = area + 100 * grown.square() + 10 * surface.deviations.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    output.mkdir(parents=True, exist_ok=True)
    export_mesh(grid.mesh(), output / "ball.glb")
    solid = grid.solid()
    print(f"sphericity {before:.3f} before, {sphericity(grid.mesh()):.3f} after {steps} steps; in ball.glb")
    print(
        f"{len(solid.tetrahedra)} tetrahedra fill it, {solid.volumes().sum().item():.4f} in all, {volume:.4f} at first"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--resolution", type=int, default=24)
    parser.add_argument("--steps", type=int, default=150)
    main(**vars(parser.parse_args()))
