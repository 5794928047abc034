"""Surfaces from surfels beside those from ellipsoids, one JSON line a row: distance to the mesh that was photographed.

Photos of a painted mesh from all around, training by both presets with the same changes, and fusion of the median depth
(TSDF). The chamfer distance is the mean of both ways between 200,000 points on either surface, in percent of the mesh's
diameter. With one thread, for figures that others on the machine stretch least:

    NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/surfels.py [MESH] [--views 30] [--size 128] [--steps 3000]
        [--resolution 192] [--methods surfels splat] [--set field.most=20000]

MESH is any file that trimesh reads; a ball without one.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from scipy.spatial.distance import pdist

from onefield.cameras import Cameras
from onefield.configs.runs import configure, run, start_run
from onefield.kernels.rasterize import rasterize
from onefield.training.evaluation import evaluate
from onefield.training.metrics import surface_agreement
from onefield.training.surface import choose_extractor, method_surface

DISTANCE, FIELD_OF_VIEW = 3.0, math.radians(40.0)
POINTS = 200_000
# Every how manieth view is held out, for the figure of the pictures.
HELD_OUT = 8


def loaded(path: str | None) -> trimesh.Trimesh:
    """A mesh of diameter 2 about the origin."""
    mesh = trimesh.creation.icosphere(5) if path is None else trimesh.load(path, force="mesh")
    mesh.apply_translation(-mesh.bounds.mean(0))
    mesh.apply_scale(2 / diameter(mesh))
    return mesh


def diameter(mesh: trimesh.Trimesh) -> float:
    """The largest distance of two of its points."""
    return float(pdist(mesh.convex_hull.vertices).max())


def paint(mesh: trimesh.Trimesh, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Matt waves of several lengths, lit from above."""
    waves = sum(np.sin(f * points @ np.roll([0.6, 0.64, 0.48], k) + k)[:, None] * np.roll([1, 0.4, -0.7], k)
                for k, f in enumerate((5, 9, 17, 31)))  # fmt: skip
    light = 0.55 + 0.45 * (normals @ np.array([0.3, 0.3, 0.906])).clip(min=0)
    return ((0.5 + 0.16 * waves) * light[:, None]).clip(0, 1)


def cameras(count: int, size: int) -> Cameras:
    """On a spiral around the origin, looking at it."""
    poses = []
    for index in range(count):
        height = DISTANCE * (0.9 - 1.8 * (index + 0.5) / count)
        around, across = index * math.pi * (3 - math.sqrt(5)), math.sqrt(DISTANCE**2 - height**2)
        place = np.array([across * math.cos(around), across * math.sin(around), height])
        forward = -place / DISTANCE
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        poses.append(np.stack([right, np.cross(forward, right), forward, place], axis=1))
    focal = 0.5 * size / math.tan(0.5 * FIELD_OF_VIEW)
    return Cameras.pinhole(torch.from_numpy(np.stack(poses)), focal, (size / 2, size / 2), size, size)


def photograph(mesh: trimesh.Trimesh, folder: Path, count: int, size: int) -> None:
    """Writes pictures with alpha, four samples a pixel, and their poses in Blender's form."""
    vertices, faces = torch.from_numpy(mesh.vertices).float(), torch.from_numpy(np.asarray(mesh.faces))
    views, normals = cameras(count, 2 * size), mesh.vertex_normals
    frames: dict[str, list] = {"train": [], "test": []}
    for index in range(count):
        pose = views.camera_to_world[index].float()
        local = (vertices - pose[:, 3]) @ pose[:, :3]
        focal = float(views.focal[index, 0])
        found, weights, _ = rasterize(local, faces, (focal, focal, size, size), 2 * size, 2 * size)
        hit = (found >= 0).numpy()
        corners = mesh.faces[found.numpy()[hit]]
        share = weights.numpy()[hit][:, :, None]
        shown = np.zeros((2 * size, 2 * size, 4))
        shown[hit, :3] = paint(mesh, (mesh.vertices[corners] * share).sum(1), (normals[corners] * share).sum(1))
        shown[hit, 3] = 1
        shown = shown.reshape(size, 2, size, 2, 4).mean((1, 3))
        shown[..., :3] /= np.maximum(shown[..., 3:], 1 / 4)
        split = "test" if index % HELD_OUT == 0 else "train"
        Image.fromarray((255 * shown + 0.5).astype(np.uint8)).save(folder / f"{index:03d}.png")
        opengl = np.eye(4)
        opengl[:3] = views.camera_to_world[index].numpy() @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames[split].append({"file_path": f"./{index:03d}", "transform_matrix": opengl.tolist()})
    for split, listed in frames.items():
        (folder / f"transforms_{split}.json").write_text(
            json.dumps({"camera_angle_x": FIELD_OF_VIEW, "frames": listed})
        )


def row(method: str, mesh: trimesh.Trimesh, scene: Path, output: Path, arguments: argparse.Namespace) -> dict:
    started, busy = time.perf_counter(), time.process_time()
    opened = start_run(configure(scene, method, steps=arguments.steps, changes=arguments.set), output)
    run(opened)
    trained = {"seconds": round(time.perf_counter() - started), "cpu_seconds": round(time.process_time() - busy)}
    choice = choose_extractor(opened.method, opened.scene, "tsdf")
    surface = method_surface(opened.method, opened.scene, choice, resolution=arguments.resolution)
    result = trimesh.Trimesh(surface.mesh.vertices.numpy(), surface.mesh.faces.numpy(), process=False)
    points, truth = (torch.from_numpy(np.array(m.sample(POINTS, seed=0))) for m in (result, mesh))
    truth, whole = opened.scene.transform.apply(truth), 2 * opened.scene.transform.scale
    agreement = surface_agreement(points, truth, 0.01 * whole)
    return {
        "method": method,
        "steps": arguments.steps,
        "views": arguments.views,
        "size": arguments.size,
        "gaussians": len(opened.method.field),
        **trained,
        "psnr": round(evaluate(opened.method, opened.scene).summary()["psnr"], 2),
        "faces": len(result.faces),
        "chamfer_percent": round(100 * agreement.chamfer / whole, 3),
        "accuracy_percent": round(100 * agreement.accuracy / whole, 3),
        "completeness_percent": round(100 * agreement.completeness / whole, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh", nargs="?")
    parser.add_argument("--views", type=int, default=30)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--resolution", type=int, default=192)
    parser.add_argument("--methods", nargs="*", default=["surfels", "splat"])
    parser.add_argument("--set", nargs="*", default=[])
    arguments = parser.parse_args()
    mesh = loaded(arguments.mesh)
    with tempfile.TemporaryDirectory() as folder:
        photograph(mesh, Path(folder), arguments.views, arguments.size)
        for method in arguments.methods:
            print(json.dumps(row(method, mesh, Path(folder), Path(folder) / "runs" / method, arguments)), flush=True)


if __name__ == "__main__":
    main()
