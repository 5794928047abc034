"""Train a scene from Python, score its held-out views, and render it from a new place.

python examples/03_train_a_scene.py OUTPUT [--scene FOLDER] [--method ngp] [--steps N] [--size N] [--set KEY=VALUE ...]
"""

import argparse
from pathlib import Path

import onefield
from onefield.data.demo_scene import write_demo_scene
from onefield.data.images import write_image
from onefield.data.paths import orbit_path


def main(output: Path, scene: Path | None, method: str, steps: int, size: int, changes: list[str]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    if scene is None:
        scene = write_demo_scene(output / "scene", views=16, size=size)
    run = onefield.train(scene, method, steps=steps, output=output / "run", changes=changes)
    summary = onefield.score(run).summary()
    print(f"PSNR {summary['psnr']:.2f} dB on {summary['views']} views that were not trained on")

    cameras = orbit_path(run.scene, frames=5)
    view = run.method.renderer.render_image(run.method.field, cameras, 1)
    write_image(output / "new_view.png", view.color)
    print(f"{output / 'new_view.png'} is a view from between the cameras; the run is in {run.folder.path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--method", default="ngp")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--set", dest="changes", nargs="*", default=[])
    main(**vars(parser.parse_args()))
