"""Signals that are not all there: each task by several representations, beside the usual method without a field.

Pictures are the cameraman and a slice of a CT, averaged to a small side; what is missing is taken away here. Networks
have 64 units a layer, so that the table takes minutes on one core. PSNR's peak is 1.

    python benchmarks/signal_tasks.py DATA [--fields siren,wire,hash,dense] [--side 48] [--steps 300] [--pictures DIR]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from skimage.transform import radon, resize

from onefield.data.signals import Signal, load_signal
from onefield.fields.field import Field
from onefield.training.fit import fit
from onefield.training.recipes import build_field, recipe_for, target_of
from onefield.training.tasks import Task
from onefield.training.tasks.denoising import Denoising
from onefield.training.tasks.inpainting import Inpainting
from onefield.training.tasks.poisson import Composition, FromDerivatives
from onefield.training.tasks.super_resolution import SuperResolution, block_means
from onefield.training.tasks.tomography import Tomography

WIDTH, NOISE, HIDDEN, VIEWS = 64, 0.1, 0.5, 10


@dataclass(frozen=True)
class Case:
    """A task with its signal."""

    name: str
    signal: Signal
    task: Task


def image(values: np.ndarray) -> Signal:
    """Values in [0, 1], rows and columns."""
    return Signal("image", torch.tensor(np.asarray(values, dtype=np.float32))[..., None], 1.0)


def small(path: Path, side: int) -> np.ndarray:
    """The middle square of a picture, or of an array, in [0, 1], averaged to a side."""
    values = load_signal(path).values[..., :3].mean(-1).numpy()
    least = min(values.shape)
    top, left = ((length - least) // 2 for length in values.shape)
    square = values[top : top + least, left : left + least]
    square = (square - square.min()) / (square.max() - square.min())
    return resize(square, (side, side), anti_aliasing=True).astype(np.float32)


def cases(data: Path, side: int) -> list[Case]:
    """All tasks, with the truth at hand."""
    generator = np.random.default_rng(0)
    photo = small(data / "signals/image/cameraman.png", side)
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    radius = np.hypot(x, y)
    # nothing may stand outside the disc
    scan = small(data / "signals/medical/ct_slice.npy", side) * (radius < side / 2 - 1)
    degrees = np.arange(VIEWS) * (180.0 / VIEWS)
    shadows = radon(scan, theta=degrees, circle=True).T
    noisy = photo + NOISE * generator.standard_normal(photo.shape)
    truth, slice_truth = image(photo), image(scan)
    coarse = Signal("image", block_means(truth.values, 2), 1.0)
    hidden = generator.random(photo.shape) < HIDDEN
    other = small(data / "signals/kodak/kodim23.png", side)
    return [
        Case(f"noise of {NOISE}", image(noisy), Denoising(truth)),
        Case(f"{HIDDEN:.0%} of the pixels hidden", truth, Inpainting(hidden, truth)),
        Case("twice as many pixels", coarse, SuperResolution(2, truth)),
        Case(f"slice from {VIEWS} views", image(shadows), Tomography(truth=slice_truth)),
        Case("from slopes alone", truth, FromDerivatives("gradient")),
        Case("from Laplacian and border", truth, FromDerivatives("laplacian")),
        Case("montage", truth, Composition(image(other), radius < side / 4)),
    ]


def chosen(name: str, case: Case) -> str | Field:
    """A representation by its name, networks narrower than their recipe."""
    problem = case.task.problem(case.signal, torch.Generator().manual_seed(0))
    recipe = recipe_for(name, problem.guide)
    if "width" not in recipe.options or recipe.options["width"] <= WIDTH:
        return name
    torch.manual_seed(0)
    return build_field(name, recipe.options | {"width": WIDTH}, target_of(problem.guide))


def main() -> None:
    """Prints a row of the table a case, and writes pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fields", default="siren,wire,hash,dense")
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", type=int, default=None, help="number of one case")
    parser.add_argument("--pictures", type=Path, default=None)
    asked = parser.parse_args()
    names = asked.fields.split(",")
    print("| task | " + " | ".join(names) + " | baseline |\n|---" + "|---" * (len(names) + 1) + "|", flush=True)
    for number, case in enumerate(cases(asked.data, asked.side)):
        if asked.only not in (None, number):
            continue
        cells, shown, baseline = [], [], "-"
        for name in names:
            try:
                fitted = fit(case.signal, chosen(name, case), steps=asked.steps, task=case.task)
            except Exception as error:  # a representation that can't says so in its cell
                cells.append(type(error).__name__)
                continue
            cells.append(f"{fitted.metrics['psnr']:.2f}")
            if "baseline_psnr" in fitted.metrics:
                baseline = f"{fitted.metrics['baseline_psnr']:.2f}"
            shown.append(fitted.reconstruction()[..., 0].clamp(0, 1))
        print(f"| {case.name} | " + " | ".join(cells) + f" | {baseline} |", flush=True)
        if asked.pictures is not None and shown:
            asked.pictures.mkdir(parents=True, exist_ok=True)
            row = (torch.cat(shown, dim=1).numpy() * 255).astype(np.uint8)
            imageio.imwrite(asked.pictures / f"{number}.png", row)


if __name__ == "__main__":
    main()
