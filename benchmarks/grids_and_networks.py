"""Are grids ahead of networks at equal parameters? By the protocol of the paper that found so, and by our recipes.

Kim and Fridovich-Keil, "Grids Often Outperform Implicit Neural Representations" (arXiv 2506.11139): Adam at a constant
rate of each field's own, all samples in every step, sine networks at a frequency of 90 in every layer, best PSNR of
checks every 100 steps. Recipes have a falling rate; each takes its best factor on it. A finished fit is a line of the
rows' file, and a stopped run goes on.

    python benchmarks/grids_and_networks.py --rows rows.jsonl --signals star,noise,FILE [--parameters 1000,3000]
        [--side 64] [--steps 1000] [--fields dense,siren] [--factors 1,3] [--seeds 1]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from onefield.data.signals import Signal
from onefield.errors import DivergedError, UsageError
from onefield.fields.field import Field
from onefield.training.fit import fit
from onefield.training.fit_methods.fit_method import FitMethod, FitParts
from onefield.training.metrics import psnr
from onefield.training.recipes import Recipe, Target, recipe_for
from onefield.training.signal_bench import Cell, truth_of

# Learning rates of the paper's program, and its frequencies and envelopes.
PUBLISHED: dict[str, tuple[float, dict[str, float]]] = {
    "dense": (1e-1, {"initial_amplitude": 0.1}),
    "hash": (1e-2, {}),
    "siren": (1e-4, {"w0": 90.0, "first_w0": 90.0}),
    "wire": (5e-4, {"frequency": 15.0, "sharpness": 10.0}),
    "fourier": (1e-3, {"frequency": 20.0}),
    "bacon": (5e-2, {}),
}
CHECK = 100


def published(recipe: Recipe) -> Recipe:
    """The same field by the paper's rate and numbers."""
    rate, options = PUBLISHED[recipe.field]
    return replace(recipe, options=recipe.options | options, encoding_rate=rate, network_rate=rate, final_rate=1.0)


def scaled(recipe: Recipe, factor: float) -> Recipe:
    """The same field at a factor on its rates."""
    return replace(recipe, encoding_rate=factor * recipe.encoding_rate, network_rate=factor * recipe.network_rate)


def protocols(recipe: Recipe, factors: list[float]) -> Iterator[tuple[str, Recipe]]:
    """Names and recipes."""
    yield "published", published(recipe)
    for factor in factors:
        yield f"recipe x {factor:g}", scaled(recipe, factor)


def main() -> None:
    """Fits what the rows lack and prints every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--signals", default="star,noise,phantom,cells")
    parser.add_argument("--fields", default=",".join(PUBLISHED))
    parser.add_argument("--parameters", default="1000,3000")
    parser.add_argument("--factors", default="1,3")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    done = {}
    if asked.rows.exists():
        done = {tuple(row["key"]): row["psnr"] for row in map(json.loads, asked.rows.read_text().splitlines())}
    factors = [float(factor) for factor in asked.factors.split(",")]
    for seed in range(asked.seeds):
        for name in asked.signals.split(","):
            truth = truth_of(Cell("fit", name, 0.5, asked.side, "dense", 1, 1.0, seed))
            for allowed in map(int, asked.parameters.split(",")):
                for field in asked.fields.split(","):
                    try:
                        recipe = recipe_for(field, truth, parameters=allowed)
                    except UsageError as error:
                        print(error)
                        continue
                    for protocol, changed in protocols(recipe, factors):
                        key = (name, allowed, field, protocol, asked.side, asked.steps, seed)
                        if key not in done:
                            done[key] = scored(truth, changed, asked.steps, seed)
                            with asked.rows.open("a") as file:
                                file.write(json.dumps({"key": key, "psnr": done[key]}) + "\n")
                        print(*key, f"{done[key]:.1f} dB", flush=True)


class Checks(FitMethod):
    """Keeps the best PSNR of every so many steps, and of the end."""

    name = "checks"

    def __init__(self) -> None:
        self.best = -math.inf

    def begin(self, field: Field, signal: Signal, target: Target, generator: torch.Generator) -> FitParts:
        """Checks are acts before a step."""
        del field, target, generator
        points, values = signal.points(signal.known()), signal.at(signal.known())
        steps = itertools.count()

        def check(field: Field, share: float) -> None:
            if next(steps) % CHECK == 0 or share == 1:
                with torch.no_grad():
                    answer = field.query(points, want=("value",)).value
                self.best = max(self.best, psnr(answer, values, signal.value_range))

        return FitParts(advance=(check,))


def scored(truth: Signal, recipe: Recipe, steps: int, seed: int) -> float:
    """The best PSNR on the way, as the paper has it; none of a fit that diverged."""
    checks = Checks()
    with contextlib.suppress(DivergedError):
        fit(truth, recipe, methods=[checks], steps=steps, seed=seed)
    return checks.best


if __name__ == "__main__":
    main()
