"""Held-out quality against training time for presets on real scenes.

    python benchmarks/training.py SCENE --downscale 2 --time 3m --method ngp --marks 1m 2m

Trains once for the whole time and scores a sample of the held-out views at each mark and all of them at the end. The
clock runs during training only; scoring at a mark stops it. Prints one line of JSON a score.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

from onefield.configs.runs import configure
from onefield.tools.output import seconds_of
from onefield.training.evaluation import QuickCheck, evaluate
from onefield.training.loop import take_step
from onefield.training.state import TrainingState

MARK_VIEWS = 10


def main() -> None:
    arguments = parse()
    config = configure(
        arguments.scene,
        arguments.method,
        seconds=seconds_of(arguments.time),
        downscale=arguments.downscale,
        changes=arguments.set,
    )
    scene = config.load_scene()
    method = config.method.build(scene)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, config.method.training.seed))
    check = QuickCheck(scene, method)
    take_step(state)  # compiles kernels, before the clock
    marks = sorted(seconds_of(mark) for mark in arguments.marks)
    while state.progress < 1:
        before = time.monotonic()
        result = take_step(state)
        state.elapsed += time.monotonic() - before
        if marks and state.elapsed >= marks[0]:
            marks.pop(0)
            report(arguments, state, {"psnr": check.psnr(method), "over": "4096 held-out rays"}, result)
    begun = time.monotonic()
    figures = evaluate(method, scene).summary()
    report(arguments, state, figures | {"over": "all held-out views"}, result, time.monotonic() - begun)


def report(arguments: argparse.Namespace, state: TrainingState, figures: dict, result, scoring: float = 0.0) -> None:
    line = {
        "scene": Path(arguments.scene).name,
        "downscale": arguments.downscale,
        "method": arguments.method,
        "seconds": round(state.elapsed, 1),
        "step": state.step,
        **figures,
        "rays": result.rays,
        "samples": result.samples,
        "parameters": sum(parameter.numel() for parameter in state.method.field.parameters()),
        "scoring_seconds": round(scoring, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(line), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--method", default="ngp")
    parser.add_argument("--downscale", type=int, default=1)
    parser.add_argument("--time", default="3m")
    parser.add_argument("--marks", nargs="*", default=[])
    parser.add_argument("--set", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
