"""How many samples the 95 % intervals of 'bayesian-tucker' hold: shown ones, hidden ones here and there, and a hole.

A picture's grey values in [0, 1], averaged to a small side, with normal noise; a fifth of the pixels is hidden at
random, and a square of a quarter of the side. Errors are of noisy samples; beside them those of 'functional-tucker'.

Run: python benchmarks/interval_coverage.py ../shared/data/signals/image/cameraman.png [--side 64] [--steps 300]
     [--noises 0.02 0.1] [--seeds 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from onefield.data.signals import load_signal, signal_of
from onefield.training.fit import fit

HIDDEN = 0.2


def averaged(path: Path, side: int) -> np.ndarray:
    """Grey values of ``side`` times ``side`` pixels."""
    grey = load_signal(path).values.mean(-1)[None, None]
    return torch.nn.functional.adaptive_avg_pool2d(grey, side)[0, 0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--noises", type=float, nargs="+", default=(0.02, 0.1))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    arguments = parser.parse_args()
    clean, table = averaged(arguments.picture, arguments.side), Table(title=f"{arguments.picture.stem}")
    for column in ("noise", "seed", "found", "pixels", "coverage", "deviation", "error", "functional-tucker's"):
        table.add_column(column)
    for seed in arguments.seeds:
        for noise in arguments.noises:
            drawn = np.random.default_rng(seed)
            values = (clean + noise * drawn.standard_normal(clean.shape)).astype(np.float32)
            hidden, hole = drawn.random(clean.shape) < HIDDEN, np.zeros(clean.shape, dtype=bool)
            near, far = 3 * arguments.side // 8, 5 * arguments.side // 8
            hole[near:far, near:far] = True
            signal = signal_of(np.where(hidden | hole, np.nan, values), "image")
            told = fit(signal, "bayesian-tucker", steps=arguments.steps, seed=seed)
            plain = fit(signal, "functional-tucker", steps=arguments.steps, seed=seed)
            deviation = told.deviations()[..., 0].numpy()
            errors, others = (abs(each.reconstruction()[..., 0].numpy() - values) for each in (told, plain))
            places = {"shown": ~(hidden | hole), "hidden": hidden & ~hole, "hole": hole}
            for name, at in places.items():
                table.add_row(
                    f"{noise:g}",
                    str(seed),
                    f"{told.metrics['noise']:.4f}",
                    name,
                    f"{np.mean(errors[at] < 1.96 * deviation[at]):.1%}",
                    f"{deviation[at].mean():.4f}",
                    f"{np.sqrt(np.mean(errors[at] ** 2)):.4f}",
                    f"{np.sqrt(np.mean(others[at] ** 2)):.4f}",
                )
    Console().print(table)


if __name__ == "__main__":
    main()
