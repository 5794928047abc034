"""Surfaces from photos of a known shape: how far the mesh is from the truth, by minutes of training.

    python benchmarks/photo_surfaces.py SCENE --method sdf --minutes 20 [--marks 5 10] [--clock thread] [--save DIR]
    python benchmarks/photo_surfaces.py SCENE --mesh FILE

SCENE is any dataset with the true surface beside the pictures, `truth.ply` in the dataset's frame. Masks are used where
there are some. Distances are means from 30,000 points on the one surface to the nearest point of the other, in percent
of the diagonal of the truth's box. A mark extracts the surface in the middle of the run, where learning rates are still
high. Prints one line of JSON a mark and one at the end, there with the PSNR of all held-out views.

The clock runs during training only. `--clock wall` takes the time that passes; `--clock thread` the time that the
processor worked, for runs of one thread beside other work (OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1). With `--mesh` a
surface from elsewhere, in the dataset's frame, is measured in the same way.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import trimesh

from onefield.configs.runs import configure
from onefield.data.scene import Scene
from onefield.export.formats import export_mesh, read_mesh
from onefield.kernels.point_mesh import build_tree, closest_point
from onefield.meshing.geometry import transformed
from onefield.meshing.report import report_mesh
from onefield.training.evaluation import evaluate
from onefield.training.loop import take_step
from onefield.training.method import Method
from onefield.training.state import TrainingState
from onefield.training.surface import choose_extractor, method_surface
from onefield.types import Mesh

TRUTH = "truth.ply"
POINTS = 30_000
# A thread beside another one does this much of what it does alone, so that two cores finish in 1/1.6 of the time.
TWO_CORES = 1.6
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "thread": time.process_time}


def main() -> None:
    arguments = parse()
    truth = read_mesh(Path(arguments.scene) / TRUTH)
    facts = {"scene": Path(arguments.scene).name}
    if arguments.mesh is not None:
        print(json.dumps(facts | {"mesh": arguments.mesh} | agreement(read_mesh(Path(arguments.mesh)), truth)))
        return
    config = configure(
        arguments.scene, arguments.method, seconds=60 * arguments.minutes, downscale=arguments.downscale,
        changes=arguments.set,
    )  # fmt: skip
    scene = config.load_scene()
    method = config.method.build(scene)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, config.method.training.seed))
    facts |= {"method": arguments.method, "set": arguments.set, "clock": arguments.clock, "of": arguments.minutes}
    clock, marks = CLOCKS[arguments.clock], sorted(arguments.marks)
    take_step(state)  # compiles kernels, before the clock
    while state.progress < 1:
        before = clock()
        take_step(state)
        state.elapsed += clock() - before
        if marks and state.elapsed >= 60 * marks[0] and state.progress < 1:
            report(facts, state, scene, truth, arguments, f"-{marks.pop(0):g}")
    report(facts, state, scene, truth, arguments, "")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--method", default="sdf")
    parser.add_argument("--mesh", help="measure this file instead of training")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--marks", type=float, nargs="*", default=[], help="minutes at which to measure as well")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--downscale", type=int, default=1)
    parser.add_argument("--resolution", type=int, default=256, help="cells of the extraction")
    parser.add_argument("--extractor", default="auto")
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--save", type=Path, help="folder for the meshes")
    return parser.parse_args()


def report(
    facts: dict, state: TrainingState, scene: Scene, truth: Mesh, arguments: argparse.Namespace, mark: str
) -> None:
    begun = CLOCKS[arguments.clock]()
    mesh = surface(state.method, scene, arguments.resolution, arguments.extractor)
    extracting = CLOCKS[arguments.clock]() - begun
    if arguments.save is not None:
        arguments.save.mkdir(parents=True, exist_ok=True)
        export_mesh(mesh, arguments.save / f"{facts['scene']}-{facts['method']}{mark}.ply")
    minutes = state.elapsed / 60
    line = facts | {"minutes": round(minutes, 2), "steps": state.step}
    if arguments.clock == "thread":
        line |= {"minutes_on_two_cores": round(minutes / TWO_CORES, 2)}
    line |= {"extracting_seconds": round(extracting, 1)} | agreement(mesh, truth)
    if not mark:
        line |= {"psnr": round(evaluate(state.method, scene).summary()["psnr"], 2)}
    print(json.dumps(line), flush=True)


def surface(method: Method, scene: Scene, resolution: int, extractor: str) -> Mesh:
    """The surface of a method in the dataset's frame."""
    found = method_surface(method, scene, choose_extractor(method, scene, extractor), resolution=resolution)
    return transformed(found.mesh, scene.transform.inverse().matrix)


def agreement(found: Mesh, truth: Mesh) -> dict:
    """Mean distances both ways in percent of the truth's diagonal, and whether the surface is closed."""
    diagonal = float((truth.vertices.amax(0) - truth.vertices.amin(0)).norm())
    facts = report_mesh(found)
    return {
        "found_to_truth": round(100 * mean_distance(found, truth) / diagonal, 4),
        "truth_to_found": round(100 * mean_distance(truth, found) / diagonal, 4),
        "watertight": facts.watertight,
        "components": facts.components,
        "genus": facts.genus,
        "faces": facts.faces,
    }


def mean_distance(start: Mesh, end: Mesh) -> float:
    """From points spread evenly over one surface to the nearest point of another, whichever triangle it lies on."""
    sampled = trimesh.Trimesh(start.vertices.numpy(), start.faces.numpy(), process=False).sample(POINTS, seed=0)
    points = torch.from_numpy(np.asarray(sampled)).float()
    nearest, _ = closest_point(points, build_tree(end.vertices, end.faces))
    return float((points - nearest).norm(dim=1).double().mean())


if __name__ == "__main__":
    main()
