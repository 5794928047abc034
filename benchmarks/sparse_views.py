"""What depth, flow and one Gaussian a pixel bring where there are three photos: held-out pictures.

    python benchmarks/sparse_views.py --size 96 --steps 300

Renders the demo scene from three places a few degrees apart, with depth that a scale, an offset and a slow wave have
made wrong in each view, as estimators of depth do, and with exact flow between them. Trains on these three views

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
from pathlib import Path

import numpy as np
from PIL import Image
from short_runs import ShortRun, tell, whole_pictures

from onefield.configs.runs import configure
from onefield.data.demo_scene import CAMERA_RADIUS, FIELD_OF_VIEW, demo_depth, render_demo
from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.export.gaussian_formats import export_gaussians
from onefield.fields.gaussian_frames import moved_gaussians
from onefield.training.loop import take_step
from onefield.training.state import TrainingState

TRAINED = [(-12.0, 35.0), (0.0, 30.0), (12.0, 35.0)]
"""Degrees about the axis and above the ground."""
HELD_OUT = [(-9.0, 33.0), (-6.0, 30.0), (-4.0, 36.0), (3.0, 34.0), (6.0, 31.0), (9.0, 36.0)]
# What estimators get wrong: factor, offset in world units, and height of the wave as a share of the depth.
SCALES, OFFSETS, WAVE = (0.6, 1.7, 1.1), (0.5, -0.8, 0.2), 0.01

RUNS: tuple[tuple[str, str, list[str]], ...] = (
    ("splat, random points", "splat", ["field.most=10000"]),
    ("splat, points of the depth maps", "splat", ["field.most=10000", "field.points={points}"]),
    ("sparse-splat", "sparse-splat", []),
    ("sparse-splat, depth fixed", "sparse-splat", ["field.depth_rate=1e-12"]),
    ("sparse-splat, no variation", "sparse-splat", ["losses.depth_variation=0"]),
    ("sparse-splat, no match loss", "sparse-splat", ["losses.match_distance=0"]),
    ("sparse-splat, no flow", "sparse-splat", ["field.flow=nowhere"]),
)


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        path = write_scene(Path(folder), arguments.size)
        scene = load_scene(path)
        points = start_points(scene, Path(folder) / "points.ply")
        for name, method, changes in RUNS:
            if arguments.only and arguments.only not in name:
                continue
            named = [change.format(points=points) for change in changes]
            run = trained(scene, method, arguments.steps, [*named, *(arguments.set if method != "splat" else [])])
            seconds = round(run.seconds, 1)
            tell(
                run=name,
                steps=run.steps,
                gaussians=len(run.method.field),
                seconds=seconds,
                **whole_pictures(run, scene),
            )


def trained(scene: Scene, method: str, steps: int, changes: list[str]) -> ShortRun:
    """A run of a preset; its seconds are the processor's."""
    built = configure(scene.path, method, steps=steps, changes=changes).method.build(scene)
    state = TrainingState.begin(built, built.batches(scene, scene.train_indices, built.settings.seed))
    began = time.process_time()
    while state.progress < 1:
        take_step(state)
    return ShortRun(built, state.step, time.process_time() - began)


def start_points(scene: Scene, path: Path) -> Path:
    """The middles at which ``sparse-splat`` starts, as a point cloud in the dataset's frame."""
    gaussians = configure(scene.path, "sparse-splat").method.build(scene).field.gaussians()
    back = scene.transform.inverse()
    export_gaussians(moved_gaussians(gaussians, back.scale, back.rotation, back.translation), path)
    return path


def write_scene(folder: Path, size: int) -> Path:
    """Pictures, wrong depth, flow and ``transforms.json``."""
    for name in ("images", "depth", "flow"):
        (folder / name).mkdir()
    poses = [pose(*angles) for angles in TRAINED + HELD_OUT]
    depths = [demo_depth(one, size) for one in poses[: len(TRAINED)]]
    frames = []
    for number, one in enumerate(poses):
        Image.fromarray((render_demo(one, size) * 255).round().astype(np.uint8)).save(folder / f"images/{number}.png")
        frames.append({"file_path": f"images/{number}.png", "transform_matrix": one.tolist()})
    for number, depth in enumerate(depths):
        wave = 1 + WAVE * np.sin(np.linspace(0, 2 * math.pi, size) + 2 * number)
        given = (depth * wave - OFFSETS[number]) / SCALES[number]
        np.save(folder / f"depth/{number}.npy", np.where(np.isfinite(given), given, 0).astype(np.float32))
        frames[number]["depth_file_path"] = f"depth/{number}.npy"
        for other in range(len(depths)):
            if other != number:
                flow, valid = exact_flow(depths, poses, number, other)
                np.savez(folder / f"flow/{number}--{other}.npz", flow=flow, valid=valid)
    focal = size / 2 / math.tan(FIELD_OF_VIEW / 2)
    names = [frame["file_path"] for frame in frames]
    scene = {
        **{"fl_x": focal, "fl_y": focal, "cx": size / 2, "cy": size / 2, "w": size, "h": size, "aabb_scale": 1},
        **{"train_filenames": names[: len(TRAINED)], "test_filenames": names[len(TRAINED) :]},
        **{"depth_unit_scale_factor": 1.0, "frames": frames},
    }
    (folder / "transforms.json").write_text(json.dumps(scene))
    return folder


def pose(turn: float, rise: float) -> np.ndarray:
    """Camera-to-world of a view of the middle; x right, y up, z towards the viewer."""
    turn, rise = math.radians(turn), math.radians(rise)
    backward = np.array([math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise)])
    right = np.array([-math.sin(turn), math.cos(turn), 0.0])
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, np.cross(backward, right), backward, CAMERA_RADIUS * backward], -1)
    return matrix


def exact_flow(
    depths: list[np.ndarray], poses: list[np.ndarray], first: int, second: int
) -> tuple[np.ndarray, np.ndarray]:
    """Displacements in pixels, and where both views see the point."""
    size = len(depths[first])
    focal = size / 2 / math.tan(FIELD_OF_VIEW / 2)
    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    depth = np.where(np.isfinite(depths[first]), depths[first], 1.0)[..., None]
    rays = np.stack([(columns - size / 2) / focal, -(rows - size / 2) / focal, -np.ones_like(rows)], -1)
    world = (rays * depth) @ poses[first][:3, :3].T + poses[first][:3, 3]
    seen = (world - poses[second][:3, 3]) @ poses[second][:3, :3]
    there = size / 2 + focal * seen[..., :2] / -seen[..., 2:] * [1, -1]
    place = np.clip(there.astype(int), 0, size - 1)
    # an edge within a pixel makes up to this difference in depth, in shares of it
    same = np.abs(depths[second][place[..., 1], place[..., 0]] / -seen[..., 2] - 1) < 0.01
    inside = ((there >= 0) & (there < size)).all(-1)
    moved = (there - np.stack([columns, rows], -1)).astype(np.float32)
    return moved, np.isfinite(depths[first]) & same & inside


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96, help="of the pictures, pixels")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", default="", help="runs whose name holds this")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of sparse-splat")
    return parser.parse_args()


if __name__ == "__main__":
    main()
