"""What exposure correction gives back when the light of every photo is another.

    python benchmarks/changing_light.py SCENE --downscale 4 --steps 600

Every training photo gets a random gain (``--stops``, standard deviation) and a random colour cast (a third of it a
channel) of its linear light, is clipped and stored with 8 bits. Trains on the photos as they were and on the changed
ones, without correction and with ``--appearance``. All are scored against the unchanged photos: ``whole`` as the field
shows them, ``halves`` after a gain and an offset a channel were fitted to the left half of each view, on the right
half. Prints one line of JSON a run.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from short_runs import right_halves, some_held_out, tell, train, whole_pictures

from onefield.data.formats import load_scene
from onefield.data.image_store import ImageStore, Picture
from onefield.data.linear_images import srgb_from_linear
from onefield.data.scene import Scene


def main() -> None:
    arguments = parse()
    clean = some_held_out(load_scene(Path(arguments.scene), downscale=arguments.downscale), arguments.views)
    with tempfile.TemporaryDirectory() as folder:
        changed = relit(clean, Path(folder), arguments.stops)
        corrected = [f"appearance={arguments.appearance}"]
        for name, scene, changes in (
            ("clean", clean, []),
            ("clean, corrected", clean, corrected),
            ("changed", changed, []),
            ("changed, corrected", changed, corrected),
        ):
            run = train(scene, arguments.steps, changes)
            tell(
                scene=clean.name,
                photos=name,
                steps=run.steps,
                seconds=round(run.seconds, 1),
                halves=right_halves(run, clean, colors=True),
                whole=whole_pictures(run, clean),
            )


def relit(scene: Scene, folder: Path, stops: float, seed: int = 0) -> Scene:
    """The scene with the light of its training photos changed; those held out stay."""
    generator = np.random.default_rng(seed)
    pictures = list(scene.images.pictures)
    for index in scene.train_indices.tolist():
        gains = 2.0 ** (generator.normal(0, stops) + generator.normal(0, stops / 3, 3))
        stored = scene.images.pixels(index)[..., :3] / 255
        changed = srgb_from_linear(np.clip(linear_from_srgb(stored) * gains, 0, 1))
        path = folder / f"{index}.png"
        Image.fromarray(np.rint(changed * 255).astype(np.uint8)).save(path)
        pictures[index] = Picture(path, pictures[index].size)
    return replace(scene, images=ImageStore(pictures, 3))


def linear_from_srgb(stored: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, decoding."""
    return np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--views", type=int, default=8, help="held-out views to score")
    parser.add_argument("--stops", type=float, default=0.5)
    parser.add_argument("--appearance", default="exposure")
    return parser.parse_args()


if __name__ == "__main__":
    main()
