"""How many samples the 95 % intervals of 'bayesian-tucker' hold: shown ones, hidden ones here and there, and holes.

Pictures' grey values in [0, 1], averaged to a small side, with normal noise; a fifth of the pixels is hidden at random,
and a square of a quarter of the side, at three places in turn. Errors are of noisy samples; beside them those of
'functional-tucker'.

Run: python benchmarks/interval_coverage.py ../shared/data/signals/image/cameraman.png ... [--side 64] [--steps 300]
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
# Of the squares, in eighths of the side: first row and column.
CORNERS = ((3, 3), (1, 5), (5, 1))
MEASURES = ("coverage", "deviation", "error", "functional-tucker's")


def averaged(path: Path, side: int) -> np.ndarray:
    """Grey values of ``side`` times ``side`` pixels."""
    grey = load_signal(path).values.mean(-1)[None, None]
    return torch.nn.functional.adaptive_avg_pool2d(grey, side)[0, 0].numpy()


def measured(
    clean: np.ndarray, corner: tuple[int, int], noise: float, seed: int, steps: int
) -> dict[str, tuple[float, ...]]:
    """The share of noisy pixels within their intervals, and mean squares of deviation and both errors, by kind."""
    drawn = np.random.default_rng(seed)
    values = (clean + noise * drawn.standard_normal(clean.shape)).astype(np.float32)
    hidden, hole = drawn.random(clean.shape) < HIDDEN, np.zeros(clean.shape, dtype=bool)
    row, column = (eighths * len(clean) // 8 for eighths in corner)
    hole[row : row + len(clean) // 4, column : column + len(clean) // 4] = True
    signal = signal_of(np.where(hidden | hole, np.nan, values), "image")
    told = fit(signal, "bayesian-tucker", steps=steps, seed=seed)
    plain = fit(signal, "functional-tucker", steps=steps, seed=seed)
    deviation = told.deviations()[..., 0].numpy()
    errors, others = (abs(each.reconstruction()[..., 0].numpy() - values) for each in (told, plain))
    found = {"noise found": (told.metrics["noise"],)}
    for name, at in {"shown": ~(hidden | hole), "hidden": hidden & ~hole, "hole": hole}.items():
        squares = (np.mean(np.square(each[at])) for each in (deviation, errors, others))
        found[name] = (np.mean(errors[at] < 1.96 * deviation[at]), *squares)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--noises", type=float, nargs="+", default=(0.02, 0.1))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    arguments = parser.parse_args()
    table = Table(title=", ".join(path.stem for path in arguments.pictures))
    for column in ("noise", "found", "pixels", *MEASURES, "coverage of each"):
        table.add_column(column)
    for noise in arguments.noises:
        rows = [
            measured(averaged(path, arguments.side), corner, noise, seed, arguments.steps)
            for path in arguments.pictures
            for corner in CORNERS
            for seed in arguments.seeds
        ]
        told = f"{np.mean([row['noise found'][0] for row in rows]):.4f}"
        for name in ("shown", "hidden", "hole"):
            each = np.array([row[name] for row in rows])
            means = each.mean(0)
            roots = [f"{root:.4f}" for root in np.sqrt(means[1:])]
            single = " ".join(f"{share:.0%}" for share in each[:, 0])
            table.add_row(f"{noise:g}", told, name, f"{means[0]:.1%}", *roots, single)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
