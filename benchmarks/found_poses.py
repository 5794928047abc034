"""Training on poses that structure from motion found, against training on those that came with the photos.

    python benchmarks/found_poses.py SCENE --downscale 2 --steps 600 --work FOLDER

Takes the scene's photos without their poses, finds these again (``onefield process``), brings the found cameras into
the frame of the given ones by the best similarity, and trains on both with the same views held out. Prints JSON: one
line about the poses, and one a run. ``--work`` keeps the processed scene for the next call.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch
from short_runs import aligned, pose_errors, tell, train, whole_pictures

from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.data.structure_from_motion.processing import Processed, Request, process


def main() -> None:
    arguments = parse()
    given = load_scene(Path(arguments.scene), downscale=arguments.downscale)
    began = time.monotonic()
    done = processed(given, arguments.work)
    seconds = time.monotonic() - began
    both, found = shared(given, load_scene(done.scene, downscale=arguments.downscale))
    tell(
        scene=given.name,
        photos=done.pictures,
        placed=done.registered,
        reprojection_error=round(done.error, 3),
        seconds=None if done.known else round(seconds, 1),
        **pose_errors(found.cameras, both.cameras),
    )
    for name, scene in (("given", both), ("found", found)):
        run = train(scene, arguments.steps, arguments.set)
        held_out = len(scene.test_indices)
        figures = whole_pictures(run, scene)
        tell(scene=given.name, poses=name, steps=run.steps, seconds=round(run.seconds, 1), views=held_out, **figures)


def processed(scene: Scene, work: Path) -> Processed:
    """The scene that the photos alone give."""
    photos = work / scene.name / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for picture in scene.images.pictures:
        if not (photos / picture.path.name).exists():
            shutil.copyfile(picture.path, photos / picture.path.name)
    return process(Request(photos, work / scene.name / "scene"))


def shared(given: Scene, found: Scene) -> tuple[Scene, Scene]:
    """Both scenes with the photos that have found poses, the same ones held out, and cameras in the given frame."""
    places = {Path(name).name: place for place, name in enumerate(found.image_names)}
    names = [picture.path.name for picture in given.images.pictures]
    kept = [index for index, name in enumerate(names) if name in places]
    partners = torch.tensor([places[names[index]] for index in kept])
    chosen = set(kept)
    train_indices = torch.tensor([index for index in given.train_indices.tolist() if index in chosen])
    test_indices = torch.tensor([index for index in given.test_indices.tolist() if index in chosen])
    both = replace(given, train_indices=train_indices, test_indices=test_indices)
    if len(kept) < len(given):
        raise SystemExit(f"{len(given) - len(kept)} photos have no found pose; the comparison needs all of them")
    cameras = aligned(found.cameras[partners], given.cameras)
    return both, replace(both, cameras=cameras)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=2)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--work", type=Path, default=Path("found-poses"))
    parser.add_argument("--set", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
