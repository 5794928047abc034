"""What two models that must agree give back when strangers stand in photos and their light changes.

    python benchmarks/distractors.py SCENE --downscale 8 --photos 30 --steps 1000

Takes some photos of a scene, over white where they have alpha. A share of them (``--share``) gets textured shapes that
stand in that photo alone, and all get another exposure (``--stops``, standard deviation). Splats are trained on the
photos as they were, and on the changed ones by one model, by two with asymmetric masks, and by one with its running
average; all correct each photo's exposure. All are scored against the unchanged held-out views: ``whole`` as the
field shows them, ``halves`` after a gain and an offset a channel were fitted to the left half of each view, on the
right half. Prints one line of JSON a run.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from changing_light import relit
from PIL import Image
from short_runs import right_halves, some_held_out, tell, train, whole_pictures

from onefield.data.formats import load_scene
from onefield.data.image_store import ImageStore, Picture
from onefield.data.scene import Scene

# Edges of the shapes, as shares of the shorter side of a picture.
SMALLEST, LARGEST = 0.25, 0.5
SHAPES = (1, 3)
TEXTURE_CELLS = 6


def main() -> None:
    arguments = parse()
    whole = some_held_out(load_scene(Path(arguments.scene), downscale=arguments.downscale), arguments.views)
    with tempfile.TemporaryDirectory() as folder:
        clean = opaque(some_photos(whole, arguments.photos), Path(folder))
        occluded, covered = with_strangers(clean, Path(folder), arguments.share)
        changed = relit(occluded, Path(folder), arguments.stops)
        for name, scene, kind in (
            ("clean", clean, "none"),
            ("changed", changed, "none"),
            ("changed", changed, "dual"),
            ("changed", changed, "ema"),
        ):
            if arguments.only and f"{name}-{kind}" not in arguments.only:
                continue
            changes = [f"distractors={kind}", f"appearance={arguments.appearance}", *arguments.set]
            run = train(scene, arguments.steps, changes, method="splat")
            tell(
                scene=clean.name,
                photos=name,
                distractors=kind,
                covered=round(covered, 3),
                steps=run.steps,
                seconds=round(run.seconds, 1),
                gaussians=len(run.method.field),
                halves=right_halves(run, clean, colors=True),
                whole=whole_pictures(run, clean),
            )


def some_photos(scene: Scene, photos: int) -> Scene:
    """The scene with at most so many of its training photos, at even steps."""
    trained = scene.train_indices
    places = torch.linspace(0, len(trained) - 1, min(photos, len(trained))).round().long()
    return replace(scene, train_indices=trained[places])


def opaque(scene: Scene, folder: Path) -> Scene:
    """The scene over white, where its photos have alpha."""
    if not scene.alpha:
        return scene
    pictures = list(scene.images.pictures)
    for index in torch.cat([scene.train_indices, scene.test_indices]).tolist():
        stored = scene.images.pixels(index).astype(np.float64)
        alpha = stored[..., 3:] / 255
        path = folder / f"opaque-{index}.png"
        Image.fromarray(np.rint(stored[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)).save(path)
        pictures[index] = Picture(path, pictures[index].size)
    return replace(scene, images=ImageStore(pictures, 3), alpha=False, background="white")


def with_strangers(scene: Scene, folder: Path, share: float, seed: int = 0) -> tuple[Scene, float]:
    """The scene with shapes in a share of its training photos, and the share of these photos that they cover."""
    generator = np.random.default_rng(seed)
    pictures, covered = list(scene.images.pictures), []
    views = generator.permutation(scene.train_indices.numpy())[: round(share * len(scene.train_indices))]
    for index in views.tolist():
        photo = scene.images.pixels(index)[..., :3].copy()
        hidden = np.zeros(photo.shape[:2], dtype=bool)
        for _ in range(generator.integers(SHAPES[0], SHAPES[1] + 1)):
            outline, colors = stranger(photo.shape[:2], generator)
            photo[outline] = colors[outline]
            hidden |= outline
        path = folder / f"stranger-{index}.png"
        Image.fromarray(photo).save(path)
        pictures[index] = Picture(path, pictures[index].size)
        covered.append(hidden.mean())
    return replace(scene, images=ImageStore(pictures, 3)), float(np.mean(covered))


def stranger(shape: tuple[int, int], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A turned rectangle or ellipse at a random place, and its texture: a coarse pattern about one colour."""
    height, width = shape
    edges = generator.uniform(SMALLEST, LARGEST, 2) * min(shape)
    angle = generator.uniform(0, np.pi)
    rows, columns = np.mgrid[:height, :width] + 0.5
    down, across = rows - generator.uniform(0, height), columns - generator.uniform(0, width)
    along = (np.cos(angle) * across + np.sin(angle) * down) / (edges[0] / 2)
    aside = (np.cos(angle) * down - np.sin(angle) * across) / (edges[1] / 2)
    round_one = generator.random() < 0.5
    outline = along**2 + aside**2 <= 1 if round_one else np.maximum(abs(along), abs(aside)) <= 1
    pattern = generator.integers(0, 256, 3) + generator.normal(0, 30, (TEXTURE_CELLS, TEXTURE_CELLS, 3))
    small = Image.fromarray(np.clip(pattern, 0, 255).astype(np.uint8))
    return outline, np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=8)
    parser.add_argument("--photos", type=int, default=30, help="training photos to take")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--views", type=int, default=8, help="held-out views to score")
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--stops", type=float, default=0.3)
    parser.add_argument("--appearance", default="exposure")
    parser.add_argument("--only", nargs="*", default=[], help="rows, such as changed-dual")
    parser.add_argument("--set", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
