"""Gaussians trained by Onefield and by OpenSplat's program, from the same photos and points, as many steps each.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/splatting_peers.py SCENE --downscale 4 --steps 3000

Photos are freed of their lenses' distortion first, for OpenSplat crops what it undistorts. Both train on the same views
from the same random points, and neither makes Gaussians nor takes any away. OpenSplat's result is read from the file
that it writes and drawn by our splatter with the numbers of gsplat 1.5.3; both are scored on the views held out.
Processor time of training alone is reported: OpenSplat's is that of its whole run, less that of a run of one step.
Prints a line of JSON a program; OpenSplat's is left out where there is no ``opensplat`` on the PATH.
"""

from __future__ import annotations

import argparse
import json
import os
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
from onefield.export.gaussian_formats import read_gaussians
from onefield.fields.gaussian_frames import moved_gaussians
from onefield.fields.gaussians import GaussianField
from onefield.renderers.schools import SCHOOLS
from onefield.renderers.splat import SplatRenderer
from onefield.training.loop import take_step
from onefield.training.metrics import psnr
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
            tell(**facts, program=PEER, **theirs(root, scene, arguments.steps))


def write_scenes(root: Path, scene: Scene, gaussians: int) -> Path:
    """The scene in the normalised frame: a folder with all views for us, and one with those to train on for the peer."""
    (root / "images").mkdir()
    frames = []
    for view in range(len(scene)):
        name = f"images/{view:04d}.png"
        Image.fromarray(undistorted(scene, view)).save(root / name)
        camera = scene.cameras[view]
        matrix = np.vstack([camera.camera_to_world[0].numpy(), [0, 0, 0, 1]]) @ FROM_OPENGL
        frames.append({"file_path": name, "transform_matrix": matrix.tolist()})
    camera = scene.cameras[0]
    lens = {
        **dict(zip(("fl_x", "fl_y", "cx", "cy"), [*camera.focal[0].tolist(), *camera.center[0].tolist()], strict=True)),
        **{"w": int(camera.width), "h": int(camera.height), "k1": 0, "k2": 0, "p1": 0, "p2": 0},
    }
    top = {"camera_model": "OPENCV", "ply_file_path": POINTS, **lens}
    write_points(root / POINTS, gaussians, scene.extent_scale)
    trained, held_out = ([frames[view] for view in views.tolist()] for views in (scene.train_indices, scene.test_indices))
    (root / PEER).mkdir()
    (root / PEER / "images").symlink_to(root / "images")
    shutil.copy(root / POINTS, root / PEER / POINTS)
    (root / PEER / "transforms.json").write_text(json.dumps({**top, "frames": trained}))
    split = {
        f"{name}_filenames": [frame["file_path"] for frame in chosen]
        for name, chosen in (("train", trained), ("test", held_out))
    }
    whole = {**top, **split, "aabb_scale": scene.extent_scale, "scale": 0.5, "offset": [0.5, 0.5, 0.5]}
    (root / "transforms.json").write_text(json.dumps({**whole, "frames": frames}))
    return root


def undistorted(scene: Scene, view: int) -> np.ndarray:
    """The photo that a pinhole camera with the same focal lengths and centre would have taken."""
    camera = scene.cameras[view]
    width, height = int(camera.width), int(camera.height)
    plain = Cameras.pinhole(camera.camera_to_world, camera.focal, camera.center, camera.width, camera.height)
    rays = plain.image_rays(0)
    places, _ = camera.project(torch.tensor(0), rays.origins + rays.directions)
    grid = (places / torch.tensor([width, height]) * 2 - 1).reshape(1, height, width, 2).float()
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
    return {"milliseconds_a_step": round(1000 * seconds / (steps - 1), 1), **scores(scene, built.field, SplatRenderer())}


def theirs(root: Path, scene: Scene, steps: int) -> dict[str, object]:
    seconds = [processor_seconds(root, count) for count in (1, steps)]
    gaussians = read_gaussians(root / "splat.ply")
    placed = scene.transform
    field = GaussianField(scene.bounds, moved_gaussians(gaussians, placed.scale, placed.rotation, placed.translation))
    each = 1000 * (seconds[1] - seconds[0]) / (steps - 1)
    drawn = scores(scene, field, SplatRenderer(school=SCHOOLS["gsplat-1.5.3"]))
    return {"milliseconds_a_step": round(each, 1), **drawn, "left": len(gaussians)}


def processor_seconds(root: Path, steps: int) -> float:
    options = ["--num-downscales", "0", "--keep-crs", "--cpu", "--warmup-length", str(10 * steps + 1000)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [PEER, str(root / PEER), "-n", str(steps), "-o", str(root / "splat.ply"), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def scores(scene: Scene, field: GaussianField, renderer: SplatRenderer) -> dict[str, float]:
    """Mean PSNR over whole held-out views, on black."""
    found = []
    for view in scene.test_indices.tolist():
        drawn = renderer.render_image(field, scene.cameras, view, background=torch.zeros(3)).color.clamp(0, 1)
        found.append(psnr(drawn, scene.images.image(view), 1.0))
    return {"held_out_psnr": round(sum(found) / len(found), 2)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--gaussians", type=int, default=10_000)
    parser.add_argument("--set", nargs="*", default=[], help="further settings of ours")
    return parser.parse_args()


if __name__ == "__main__":
    main()
