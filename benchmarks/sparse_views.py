"""What depth, flow and one Gaussian a pixel bring where there are three photos: held-out pictures.

    python benchmarks/sparse_views.py --size 96 --steps 300
    python benchmarks/sparse_views.py --run RUN --downscale 8 --only "splat"

Takes three views that lie side by side: renders of the demo scene, or with ``--run`` the photos about the middle one of
those that a trained run held out, with the depth that the run sees. A scale, an offset and a slow wave make this depth
wrong in each view, as estimators do; flow is what the true depth says. Trains on the three views

- ``splat`` from random points, with about as many Gaussians as there are pixels that show something,
- ``splat`` from the points of the depth maps, brought together by the flow: the same start as the next,
- ``sparse-splat``, and without some of its parts.

All are scored on views between and around the three. Prints one line of JSON a run.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from short_runs import ShortRun, tell, whole_pictures

from onefield.cameras import Cameras
from onefield.configs.runs import configure, open_run
from onefield.data.demo_scene import CAMERA_RADIUS, FIELD_OF_VIEW, demo_depth, render_demo
from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.export.gaussian_formats import export_gaussians
from onefield.fields.gaussian_frames import moved_gaussians
from onefield.training.loop import take_step
from onefield.training.state import TrainingState

TRAINED = 3
TURNS = [(-12.0, 35.0), (0.0, 30.0), (12.0, 35.0)]
"""Degrees about the axis and above the ground, of the views to train on; then of those held out."""
HELD_OUT = [(-9.0, 33.0), (-6.0, 30.0), (-4.0, 36.0), (3.0, 34.0), (6.0, 31.0), (9.0, 36.0)]
# What estimators get wrong: factor, offset as a share of the median depth, height of the wave as a share of the depth.
SCALES, OFFSETS, WAVE = (0.6, 1.7, 1.1), (0.15, -0.25, 0.06), 0.01
# Points whose depths differ by more than this share are not the same.
SAME = 0.01
FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])

RUNS: tuple[tuple[str, str, list[str]], ...] = (
    ("splat, random points", "splat", ["field.most={most}"]),
    ("splat, points of the depth maps", "splat", ["field.most={most}", "field.points={points}"]),
    ("sparse-splat", "sparse-splat", []),
    ("sparse-splat, depth fixed", "sparse-splat", ["field.depth_rate=1e-12"]),
    ("sparse-splat, no variation", "sparse-splat", ["losses.depth_variation=0"]),
    ("sparse-splat, no match loss", "sparse-splat", ["losses.match_distance=0"]),
    ("sparse-splat, no flow", "sparse-splat", ["field.flow=nowhere"]),
)


@dataclass(frozen=True)
class Views:
    """Views in any frame, the three to train on first.

    Attributes:
        scale: instant-ngp's: times this, and moved by a half, the region of interest is the unit cube.
        pictures: 8-bit, with or without alpha.
        depths: true ones along the axes of the first three, not finite where there is nothing.
        extent: as in `onefield.data.scene.Scene`; 1 where nothing lies outside.
    """

    cameras: Cameras
    scale: float
    pictures: list[np.ndarray]
    depths: list[np.ndarray]
    extent: float


def main() -> None:
    arguments = parse()
    views = demo_views(arguments.size) if arguments.run is None else views_of_run(arguments.run, arguments.downscale)
    with tempfile.TemporaryDirectory() as folder:
        scene = load_scene(write_scene(Path(folder), views))
        points, most = start_points(scene, Path(folder) / "points.ply")
        for name, method, changes in RUNS:
            if arguments.only not in ("", name):
                continue
            named = [change.format(points=points, most=most) for change in changes]
            run = trained(scene, method, arguments.steps, [*named, *(arguments.set if method != "splat" else [])])
            facts = {"steps": run.steps, "gaussians": len(run.method.field), "seconds": round(run.seconds, 1)}
            tell(run=name, **facts, **whole_pictures(run, scene))


def trained(scene: Scene, method: str, steps: int, changes: list[str]) -> ShortRun:
    """A run of a preset; its seconds are the processor's."""
    built = configure(scene.path, method, steps=steps, changes=changes).method.build(scene)
    state = TrainingState.begin(built, built.batches(scene, scene.train_indices, built.settings.seed))
    began = time.process_time()
    while state.progress < 1:
        take_step(state)
    return ShortRun(built, state.step, time.process_time() - began)


def start_points(scene: Scene, path: Path) -> tuple[Path, int]:
    """The middles at which ``sparse-splat`` starts, as a point cloud in the dataset's frame, and how many there are."""
    gaussians = configure(scene.path, "sparse-splat").method.build(scene).field.gaussians()
    back = scene.transform.inverse()
    export_gaussians(moved_gaussians(gaussians, back.scale, back.rotation, back.translation), path)
    return path, len(gaussians)


def demo_views(size: int) -> Views:
    """Of the demo scene."""
    poses = [pose(*angles) for angles in TURNS + HELD_OUT]
    focal = size / 2 / math.tan(FIELD_OF_VIEW / 2)
    turned = torch.from_numpy(np.stack([one @ FROM_OPENGL for one in poses])[:, :3])
    cameras = Cameras.pinhole(turned, (focal, focal), (size / 2, size / 2), size, size)
    pictures = [(render_demo(one, size) * 255).round().astype(np.uint8) for one in poses]
    return Views(cameras, 0.33, pictures, [demo_depth(one, size) for one in poses[:TRAINED]], 1.0)


def views_of_run(path: Path, downscale: int) -> Views:
    """The photos about the middle one of those that a run held out; depth is the median that the run sees."""
    opened = open_run(path)
    scene = load_scene(Path(opened.config.scene), downscale=downscale)
    middle = int(scene.test_indices[len(scene.test_indices) // 2])
    order = (scene.cameras.positions - scene.cameras.positions[middle]).norm(dim=1).argsort().tolist()
    chosen = [*order[1 : TRAINED + 1], middle, *order[TRAINED + 1 : 2 * TRAINED + 1]]
    depths = []
    for view in chosen[:TRAINED]:
        image = opened.method.renderer.render_image(opened.method.field, scene.cameras, view, quantiles=(0.5,))
        cosines = scene.cameras.image_rays(view).directions @ scene.cameras.forwards[view].float()
        depths.append((image.quantiles[..., 0] * cosines.reshape(image.depth.shape)).numpy())
    pictures = [scene.images.pixels(view) for view in chosen]
    return Views(scene.cameras[chosen], 0.5, pictures, depths, 1.0 if scene.bounded else scene.extent_scale)


def write_scene(folder: Path, views: Views) -> Path:
    """Pictures, wrong depth, flow and ``transforms.json``."""
    for name in ("images", "depth", "flow"):
        (folder / name).mkdir()
    frames = []
    for number, picture in enumerate(views.pictures):
        Image.fromarray(picture).save(folder / f"images/{number}.png")
        camera = views.cameras[number]
        matrix = np.vstack([camera.camera_to_world[0].numpy(), [0, 0, 0, 1]]) @ FROM_OPENGL
        numbers = [*camera.focal[0].tolist(), *camera.center[0].tolist()]
        lens = dict(zip(("fl_x", "fl_y", "cx", "cy"), numbers, strict=True))
        size = {"w": int(camera.width), "h": int(camera.height)}
        frames.append({"file_path": f"images/{number}.png", "transform_matrix": matrix.tolist(), **lens, **size})
    for number, depth in enumerate(views.depths):
        wave = 1 + WAVE * np.sin(np.linspace(0, 2 * math.pi, depth.shape[1]) + 2 * number)
        offset = OFFSETS[number] * np.median(depth[np.isfinite(depth)])
        given = (depth * wave - offset) / SCALES[number]
        np.save(folder / f"depth/{number}.npy", np.where(np.isfinite(given), given, 0).astype(np.float32))
        frames[number]["depth_file_path"] = f"depth/{number}.npy"
        for other in range(TRAINED):
            if other != number:
                flow, valid = true_flow(views, number, other)
                np.savez(folder / f"flow/{number}--{other}.npz", flow=flow, valid=valid)
    names = [frame["file_path"] for frame in frames]
    scene = {
        **{"aabb_scale": views.extent, "scale": views.scale, "offset": [0.5, 0.5, 0.5]},
        **{"train_filenames": names[:TRAINED], "test_filenames": names[TRAINED:]},
        **{"depth_unit_scale_factor": 1.0, "frames": frames},
    }
    (folder / "transforms.json").write_text(json.dumps(scene))
    return folder


def true_flow(views: Views, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacements in pixels, and where both views see the point."""
    rays = views.cameras.image_rays(first)
    known = torch.from_numpy(np.isfinite(views.depths[first]).ravel())
    depth = torch.from_numpy(np.where(np.isfinite(views.depths[first]), views.depths[first], 1.0)).float().ravel()
    cosines = rays.directions @ views.cameras.forwards[first].float()
    world = rays.origins + rays.directions * (depth / cosines)[:, None]
    there, away = views.cameras.project(torch.tensor(second), world)
    height, width = views.depths[second].shape
    inside = (away > 0) & (there >= 0).all(-1) & (there < torch.tensor([width, height])).all(-1)
    column, row = torch.where(inside[:, None], there, 0.0).long().unbind(-1)
    same = (torch.from_numpy(views.depths[second])[row, column] / away - 1).abs() < SAME
    here, _ = views.cameras.project(torch.tensor(first), world)
    shape = views.depths[first].shape
    return (there - here).reshape(*shape, 2).numpy(), (known & inside & same).reshape(shape).numpy()


def pose(turn: float, rise: float) -> np.ndarray:
    """Camera-to-world of a view of the middle; x right, y up, z towards the viewer."""
    turn, rise = math.radians(turn), math.radians(rise)
    backward = np.array([math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise)])
    right = np.array([-math.sin(turn), math.cos(turn), 0.0])
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, np.cross(backward, right), backward, CAMERA_RADIUS * backward], -1)
    return matrix


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96, help="of the demo scene's pictures, pixels")
    parser.add_argument("--run", type=Path, help="folder of a trained run, instead of the demo scene")
    parser.add_argument("--downscale", type=int, default=8, help="of the run's photos")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", default="", help="name of the one run to make")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of sparse-splat")
    return parser.parse_args()


if __name__ == "__main__":
    main()
