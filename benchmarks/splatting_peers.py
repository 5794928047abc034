"""Gaussians trained by Onefield and by OpenSplat's program, from the same photos and points, as many steps each.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/splatting_peers.py SCENE --downscale 4 --steps 3000

Photos are freed of their lenses' distortion first, and cut so that the optical axis meets their middle, for OpenSplat
crops what it undistorts and takes no notice of principal points. Both train on the same views from the same random
points; neither makes more Gaussians than these. Each program draws the held-out views itself (OpenSplat goes one step
on for each of them), for OpenSplat draws what lies behind a camera, too. Processor time of training alone is reported:
OpenSplat's is that of its whole run, less that of a run of one step. Prints a line of JSON a program; OpenSplat's is
left out where there is no ``opensplat`` on the PATH.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from short_runs import tell
from sparse_views import FROM_OPENGL

from onefield.cameras import Cameras
from onefield.configs.runs import configure
from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.training.evaluation import evaluate
from onefield.training.loop import take_step
from onefield.training.state import TrainingState

PEER = "opensplat"
POINTS = "points.ply"


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        captured = load_scene(Path(arguments.scene), downscale=arguments.downscale)
        scene = load_scene(write_scenes(root, captured, arguments.gaussians))
        facts = {"scene": captured.name, "steps": arguments.steps, "gaussians": arguments.gaussians}
        changes = [f"field.most={arguments.gaussians}", *arguments.set]
        tell(**facts, program="onefield", changes=arguments.set, **ours(scene, arguments.steps, changes))
        if shutil.which(PEER):
            tell(**facts, program=PEER, **theirs(root, arguments.steps))


def write_scenes(root: Path, scene: Scene, gaussians: int) -> Path:
    """The scene in the normalised frame: a folder for us, and those for the peer, of the views to train on."""
    (root / "images").mkdir()
    frames = []
    for view in range(len(scene)):
        name = f"images/{view:04d}.png"
        Image.fromarray(undistorted(scene, view)).save(root / name)
        camera = scene.cameras[view]
        matrix = np.vstack([camera.camera_to_world[0].numpy(), [0, 0, 0, 1]]) @ FROM_OPENGL
        frames.append({"file_path": name, "transform_matrix": matrix.tolist()})
    camera, (width, height) = scene.cameras[0], centred_size(scene.cameras[0])
    lens = {
        **dict(zip(("fl_x", "fl_y"), camera.focal[0].tolist(), strict=True)),
        **{"cx": width / 2, "cy": height / 2, "w": width, "h": height, "k1": 0, "k2": 0, "p1": 0, "p2": 0},
    }
    top = {"camera_model": "OPENCV", "ply_file_path": POINTS, **lens}
    write_points(root / POINTS, gaussians, scene.extent_scale)
    trained, held_out = (
        [frames[view] for view in views.tolist()] for views in (scene.train_indices, scene.test_indices)
    )
    for name, chosen in [(PEER, trained)] + [(Path(frame["file_path"]).stem, [*trained, frame]) for frame in held_out]:
        (root / name).mkdir()
        (root / name / "images").symlink_to(root / "images")
        shutil.copy(root / POINTS, root / name / POINTS)
        (root / name / "transforms.json").write_text(json.dumps({**top, "frames": chosen}))
    split = {
        f"{name}_filenames": [frame["file_path"] for frame in chosen]
        for name, chosen in (("train", trained), ("test", held_out))
    }
    whole = {**top, **split, "aabb_scale": scene.extent_scale, "scale": 0.5, "offset": [0.5, 0.5, 0.5]}
    (root / "transforms.json").write_text(json.dumps({**whole, "frames": frames}))
    return root


def centred_size(camera: Cameras) -> tuple[int, int]:
    """Width and height of the largest part of a picture whose middle is the principal point."""
    sides = torch.minimum(camera.center[0], torch.stack([camera.width[0], camera.height[0]]) - camera.center[0])
    width, height = (2 * sides.floor().int()).tolist()
    return width, height


def undistorted(scene: Scene, view: int) -> np.ndarray:
    """The photo that a pinhole camera with the same focal lengths would have taken, the principal point its middle."""
    camera = scene.cameras[view]
    width, height = centred_size(camera)
    plain = Cameras.pinhole(camera.camera_to_world, camera.focal, (width / 2, height / 2), width, height)
    rays = plain.image_rays(0)
    places, _ = camera.project(torch.tensor(0), rays.origins + rays.directions)
    size = torch.stack([camera.width[0], camera.height[0]])
    grid = (places / size * 2 - 1).reshape(1, height, width, 2).float()
    photo = torch.tensor(scene.images.pixels(view)[..., :3]).permute(2, 0, 1)[None].float()
    seen = torch.nn.functional.grid_sample(photo, grid, padding_mode="border", align_corners=False)
    return seen[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def write_points(path: Path, count: int, extent: float) -> None:
    """Random points of random colours, evenly in the region of interest and ever sparser around it."""
    generator = np.random.default_rng(0)
    places = generator.uniform(-1, 1, (count, 3)) * (2 - 1 / extent)
    largest = np.maximum(np.abs(places).max(1, keepdims=True), 1)
    rows = np.zeros(count, [("place", "<f4", 3), ("color", "u1", 3)])
    rows["place"] = places / largest / (2 - largest)
    rows["color"] = generator.integers(0, 256, (count, 3))
    names = [f"property float {axis}" for axis in "xyz"] + [f"property uchar {c}" for c in ("red", "green", "blue")]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}", *names, "end_header", ""]
    path.write_bytes("\n".join(header).encode() + rows.tobytes())


def ours(scene: Scene, steps: int, changes: list[str]) -> dict[str, object]:
    built = configure(scene.path, "splat", steps=steps, changes=changes).method.build(scene)
    state = TrainingState.begin(built, built.batches(scene, scene.train_indices, built.settings.seed))
    take_step(state)  # compiles kernels, before the clock
    began = time.process_time()
    while state.progress < 1:
        take_step(state)
    seconds = time.process_time() - began
    found = [view.psnr for view in evaluate(built, scene).views]
    return {"milliseconds_a_step": round(1000 * seconds / (steps - 1), 1), "held_out_psnr": mean(found)}


def theirs(root: Path, steps: int) -> dict[str, object]:
    result = root / "splat.ply"
    seconds = [processor_seconds(root / PEER, count, "-o", str(result)) for count in (1, steps - 1)]
    found = []
    for folder in sorted(path for path in root.glob("[0-9]*") if path.is_dir()):
        name = f"{folder.name}.png"
        options = ["--resume", str(result), "--val", "--val-image", name, "--val-render", str(folder)]
        processor_seconds(folder, steps, "-o", str(folder / "splat.ply"), *options)
        drawn, truth = (
            np.asarray(Image.open(path), np.float64) for path in (folder / f"{steps}.png", root / "images" / name)
        )
        found.append(-10 * math.log10(np.square((drawn - truth) / 255).mean()))
    each = 1000 * (seconds[1] - seconds[0]) / (steps - 2)
    return {"milliseconds_a_step": round(each, 1), "held_out_psnr": mean(found)}


def mean(figures: list[float]) -> float:
    return round(sum(figures) / len(figures), 2)


def processor_seconds(scene: Path, steps: int, *options: str) -> float:
    always = ["--num-downscales", "0", "--keep-crs", "--cpu", "--warmup-length", str(10 * steps + 1000)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([PEER, str(scene), "-n", str(steps), *always, *options], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3000, help="a multiple of 10")
    parser.add_argument("--gaussians", type=int, default=10_000)
    parser.add_argument("--set", nargs="*", default=[], help="further settings of ours")
    return parser.parse_args()


if __name__ == "__main__":
    main()
