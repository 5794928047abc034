"""What pose refinement gives back when every pose is wrong.

    python benchmarks/noisy_poses.py SCENE --downscale 4 --steps 600

Every camera is turned by ``--degrees`` about a random axis and moved by ``--percent`` of the region of interest's side
in a random direction. Trains on the poses as they were, on the noisy ones, and on the noisy ones with
``--refine-poses``. All are scored alike, much as by Lin et al., "BARF" (2021), section 4: the true
poses of held-out views, brought into the frame of the trained cameras, are fitted on the left half of each picture, and
the right half is scored. Refined cameras, and what is seen by them, are bent a little as a whole, which no picture
shows; so a held-out view keeps its true pose relative to the cameras around it, rather than to all of them.

With ``--work FOLDER`` also on cameras that ``onefield process`` finds in the pictures, from a copy of the scene that
has the noisy poses, and brings into their frame by itself. Prints a line of JSON a run.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from short_runs import ShortRun, pose_errors, right_halves, similarity_between, some_held_out, tell, train

from onefield.cameras import Cameras
from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.data.structure_from_motion.processing import Request, process
from onefield.training.poses import moved_cameras

SIDE = 2.0  # of the region of interest, [-1, 1] along each axis
AROUND = 6  # the trained camera as far away as the sixth nearest weighs a seventh of one in the same place


def main() -> None:
    arguments = parse()
    clean = some_held_out(load_scene(Path(arguments.scene), downscale=arguments.downscale), arguments.views)
    noisy = disturbed(clean, arguments.degrees, arguments.percent)
    for name, scene, changes in (
        ("clean", clean, []),
        ("noisy", noisy, []),
        ("noisy, refined", noisy, ["refine_poses=true", *arguments.set]),
    ):
        run = train(scene, arguments.steps, changes)
        poses = run.method.poses
        cameras = scene.cameras if poses is None else poses.corrected(scene.cameras)
        score(run, clean, name, seen_from_truth(scene, clean, cameras), cameras)
    if arguments.work is not None:
        scene = found_again(noisy, arguments.downscale, arguments.work)
        score(train(scene, arguments.steps, []), clean, "noisy, found again", scene, scene.cameras)


def score(run: ShortRun, clean: Scene, name: str, seen: Scene, cameras: Cameras) -> None:
    """Tells how well a trained scene shows the held-out views, and how far its cameras are from the true ones.

    Args:
        seen: the scene with the held-out cameras that fitting begins from.
        cameras: where the run has the cameras.
    """
    trained = seen.train_indices
    tell(
        scene=clean.name,
        poses=name,
        steps=run.steps,
        seconds=round(run.seconds, 1),
        halves=right_halves(run, seen, poses=True),
        pose_errors=pose_errors(cameras[trained], clean.cameras[trained]),
    )


def seen_from_truth(scene: Scene, clean: Scene, learned: Cameras) -> Scene:
    """The scene with its held-out cameras where they truly are relative to the trained ones around them."""
    trained, held_out = scene.train_indices, scene.test_indices
    truth, found = clean.cameras[trained], learned[trained]
    scale = similarity_between(truth, found).scale
    poses = scene.cameras.camera_to_world.clone()
    for view in held_out.tolist():
        true_pose = clean.cameras.camera_to_world[view]
        away = (truth.positions - true_pose[:, 3]).norm(dim=1)
        weights = torch.exp(-2 * (away / away.sort().values[AROUND]).square())
        weights = weights / weights.sum()
        turns = found.camera_to_world[:, :, :3] @ truth.camera_to_world[:, :, :3].mT
        left, _, right = torch.linalg.svd(torch.einsum("c,cij->ij", weights, turns))
        turn = left @ right  # the mean of rotations that differ by less than a right angle
        center = weights @ found.positions + scale * turn @ (true_pose[:, 3] - weights @ truth.positions)
        poses[view] = torch.cat([turn @ true_pose[:, :3], center[:, None]], dim=1)
    return replace(scene, cameras=replace(scene.cameras, camera_to_world=poses))


def found_again(noisy: Scene, downscale: int, work: Path) -> Scene:
    """The scene with the cameras that processing finds in its pictures, in the frame of its noisy ones.

    Args:
        work: keeps what was processed for the next call.
    """
    posed = work / noisy.name / "noisy"
    posed.mkdir(parents=True, exist_ok=True)
    frames = []
    names = [f"{index:04d}{picture.path.suffix}" for index, picture in enumerate(noisy.images.pictures)]
    for index, (picture, name) in enumerate(zip(noisy.images.pictures, names, strict=True)):
        if not (posed / name).exists():
            shutil.copyfile(picture.path, posed / name)
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3] = noisy.cameras.camera_to_world[index]
        opengl = matrix @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
        frames.append({"file_path": name, "transform_matrix": opengl.tolist()})
    top = {"camera_angle_x": 1.0, "frames": frames}  # a lens that nothing is read of
    (posed / "transforms.json").write_text(json.dumps(top))
    done = process(Request(posed, work / noisy.name / "scene"), note=lambda text: tell(note=text))
    tell(scene=noisy.name, placed=done.registered, reprojection_error=round(done.error, 3), given_off=done.given)
    found = load_scene(done.scene, downscale=downscale)
    cameras = found.transform.invert_cameras(found.cameras)
    places = {Path(name).name: place for place, name in enumerate(found.image_names)}
    partners = torch.tensor([places[name] for name in names])
    return replace(noisy, cameras=cameras[partners])


def disturbed(scene: Scene, degrees: float, percent: float, seed: int = 0) -> Scene:
    """The scene with noise of exactly this size on every pose."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(len(scene), 2, 3, generator=generator, dtype=torch.float64)
    turns, shifts = torch.nn.functional.normalize(directions, dim=-1).unbind(1)
    twists = torch.cat([turns * torch.deg2rad(torch.tensor(degrees)), shifts * SIDE * percent / 100], dim=1)
    return replace(scene, cameras=moved_cameras(scene.cameras, twists))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--views", type=int, default=8, help="held-out views to score")
    parser.add_argument("--degrees", type=float, default=1.0)
    parser.add_argument("--percent", type=float, default=1.0)
    parser.add_argument("--work", type=Path, help="folder for the cameras found again")
    parser.add_argument("--set", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
