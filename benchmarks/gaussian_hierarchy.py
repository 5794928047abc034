"""What placing Gaussians relative to parents brings, against as many free ones from the same start.

    python benchmarks/gaussian_hierarchy.py SCENE --downscale 8 --steps 300 --levels 3

Trains a hierarchy of Gaussians, and free sets that begin as a copy of what the hierarchy draws, with the same losses,
number of steps and degree of colours: at the rates of ``splat``, at faster ones, and with MCMC, which moves those that
do not show. ``--points`` starts all from a PLY file instead of at random (or from the scene's own points). Scores the
held-out views; prints one line of JSON a run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from short_runs import ShortRun, some_held_out, tell, whole_pictures

from onefield.configs.runs import configure
from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.fields.gaussians import GaussianField
from onefield.training.loop import take_step
from onefield.training.method import Method
from onefield.training.state import TrainingState

# The faster rates are those of the hierarchy's colours and sizes, and ten times that of middles.
_FASTER = ["field.mean_rate=1.6e-3", "field.scale_rate=2e-2", "field.color_rate=2e-2"]
FREE: dict[str, list[str]] = {
    "free": ["field.densification=none"],
    "free, faster": ["field.densification=none", *_FASTER],
    "free, MCMC": [],
    "free, MCMC, faster": _FASTER,
}


def main() -> None:
    arguments = parse()
    scene = some_held_out(load_scene(Path(arguments.scene), downscale=arguments.downscale), arguments.views)
    started = [] if arguments.points is None else [f"field.points={arguments.points}"]
    sizes = [f"field.roots={arguments.roots}", f"field.levels={arguments.levels}"]
    levels = built(scene, arguments.steps, ["field.kind=gaussian-hierarchy", *sizes, *started, *arguments.set])
    start = levels.field.gaussians()
    methods = {"in levels": levels}
    for name, changes in FREE.items():
        free = built(scene, arguments.steps, ["field.degree=0", f"field.most={len(start)}", *changes, *started])
        methods[name] = replace(free, field=GaussianField(levels.field.domain, start))
    for name, method in methods.items():
        if arguments.only not in ("", name):
            continue
        run = trained(method, scene)
        facts = {"steps": run.steps, "gaussians": len(run.method.field), "seconds": round(run.seconds, 1)}
        tell(scene=scene.name, gaussians_are=name, **facts, **whole_pictures(run, scene))


def built(scene: Scene, steps: int, changes: list[str]) -> Method:
    """``splat`` with another field."""
    return configure(scene.path, "splat", steps=steps, changes=changes).method.build(scene)


def trained(method: Method, scene: Scene) -> ShortRun:
    """The method after its steps; the seconds are the processor's."""
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, method.settings.seed))
    began = time.process_time()
    while state.progress < 1:
        take_step(state)
    return ShortRun(method, state.step, time.process_time() - began)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--roots", type=int, default=256)
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--points")
    parser.add_argument("--views", type=int, default=8, help="held-out views to score")
    parser.add_argument("--only", default="", help="name of the one run to make")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of the hierarchy")
    return parser.parse_args()


if __name__ == "__main__":
    main()
