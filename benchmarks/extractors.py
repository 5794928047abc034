"""Extractors of surfaces side by side, one JSON line a row: time, faces, soundness, distance from the true surface.

Ours against scikit-image's marching cubes, and against PyMCubes (`mcubes`) and the published FlexiCubes (`flexicubes`)
where Python finds them. Runs of the extractors alternate, so that all see the same load of the machine; the least time
of each is told, both by the clock and of the processor.

    python benchmarks/extractors.py [--resolution 64] [--repeats 5]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import time
from collections.abc import Callable

import torch
from skimage import measure
from torch import Tensor

from onefield.fields.analytic import SphereField, TorusField
from onefield.fields.field import Field
from onefield.kernels.dual_marching_cubes import dual_marching_cubes
from onefield.kernels.flexicubes import FlexiCubesWeights, flexicubes
from onefield.kernels.marching_cubes import marching_cubes
from onefield.meshing.octree_level import octree_surface
from onefield.meshing.report import report_mesh
from onefield.types import Bounds, Mesh

HALF = 0.5
# Vertices and faces in the frame of the field, from values at the corners and their positions.
Extractor = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def shapes() -> dict[str, Field | None]:
    """Analytic shapes in a unit cube; None stands for noise."""
    domain = Bounds.cube(HALF)
    return {"sphere": SphereField(0.35, domain=domain), "torus": TorusField(0.3, 0.1, domain=domain), "noise": None}


def sampled(field: Field | None, resolution: int) -> tuple[Tensor, Tensor]:
    axis = torch.linspace(-HALF, HALF, resolution + 1)
    positions = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    if field is not None:
        return field.query(positions, want=("distance",)).distance, positions
    noise = torch.rand((resolution - 1,) * 3, generator=torch.Generator().manual_seed(0)) - 0.5
    return torch.nn.functional.pad(noise, (1,) * 6, value=1.0), positions


def in_frame(vertices: Tensor, positions: Tensor) -> Tensor:
    return vertices * (2 * HALF / (positions.shape[0] - 1)) - HALF


def ours_with_gradient(values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    rest = FlexiCubesWeights.at_rest(values)
    inputs = [tensor.clone().requires_grad_() for tensor in (values, positions, rest.alpha, rest.beta, rest.gamma)]
    surface = flexicubes(*inputs[:2], FlexiCubesWeights(*inputs[2:]), split="center")
    (surface.vertices.square().sum() + surface.deviations.mean()).backward()
    return surface.vertices.detach(), surface.faces


def published(resolution: int) -> dict[str, Extractor]:
    """The authors' implementation; its grid, which takes seconds to build, is not timed."""
    engine = importlib.import_module("flexicubes").FlexiCubes(device="cpu")
    _, cubes = engine.construct_voxel_grid(resolution)

    def plain(values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        return engine(positions.reshape(-1, 3), values.reshape(-1), cubes, resolution)[:2]

    def with_gradient(values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        rest = (torch.ones(len(cubes), 12), torch.ones(len(cubes), 8), torch.ones(len(cubes)))
        inputs = [tensor.clone().requires_grad_() for tensor in (positions.reshape(-1, 3), values.reshape(-1), *rest)]
        vertices, faces, deviations = engine(*inputs[:2], cubes, resolution, *inputs[2:], training=True)
        (vertices.square().sum() + deviations.mean()).backward()
        return vertices.detach(), faces

    return {"FlexiCubes as published": plain, "FlexiCubes as published, with gradients": with_gradient}


def extractors(resolution: int) -> dict[str, Extractor]:
    def onefield_flexicubes(values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        surface = flexicubes(values, positions, FlexiCubesWeights.at_rest(values))
        return surface.vertices, surface.faces

    def by_index(extract: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Extractor:
        def run(values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
            vertices, faces = extract(values)
            return in_frame(vertices, positions), faces

        return run

    def scikit_image(values: Tensor) -> tuple[Tensor, Tensor]:
        vertices, faces, _, _ = measure.marching_cubes(values.numpy(), 0.0)
        return torch.from_numpy(vertices.copy()), torch.from_numpy(faces.copy()).long()

    found = {
        "marching cubes": by_index(marching_cubes),
        "scikit-image": by_index(scikit_image),
        "dual marching cubes": by_index(dual_marching_cubes),
        "adaptive dual marching cubes": by_index(octree_surface),
        "FlexiCubes": onefield_flexicubes,
        "FlexiCubes, with gradients": ours_with_gradient,
    }
    if importlib.util.find_spec("mcubes"):
        mcubes = importlib.import_module("mcubes")

        def pymcubes(values: Tensor) -> tuple[Tensor, Tensor]:
            vertices, faces = mcubes.marching_cubes(values.numpy(), 0.0)
            return torch.from_numpy(vertices).float(), torch.from_numpy(faces.astype("int64"))

        found["PyMCubes"] = by_index(pymcubes)
    return found | (published(resolution) if importlib.util.find_spec("flexicubes") else {})


def row(name: str, shape: str, field: Field | None, mesh: Mesh, times: list[tuple[float, float]]) -> dict[str, object]:
    report = report_mesh(mesh)
    off = None
    if field is not None:
        off = float(field.query(mesh.vertices.float(), want=("distance",)).distance.abs().mean())
    return {
        "extractor": name,
        "shape": shape,
        "milliseconds": round(1e3 * min(wall for wall, _ in times), 1),
        "processor_milliseconds": round(1e3 * min(processor for _, processor in times), 1),
        "vertices": report.vertices,
        "faces": report.faces,
        "closed": report.watertight,
        "manifold": report.manifold,
        "volume": round(report.volume, 5),
        "mean_distance": off,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    contestants = extractors(arguments.resolution)
    for shape, field in shapes().items():
        values, positions = sampled(field, arguments.resolution)
        meshes = {name: Mesh(*extract(values, positions)) for name, extract in contestants.items()}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for _ in range(arguments.repeats):
            for name, extract in contestants.items():
                wall, processor = time.perf_counter(), time.process_time()
                extract(values, positions)
                times[name].append((time.perf_counter() - wall, time.process_time() - processor))
        for name, mesh in meshes.items():
            print(json.dumps(row(name, shape, field, mesh, times[name])), flush=True)


if __name__ == "__main__":
    main()
