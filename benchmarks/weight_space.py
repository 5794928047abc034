"""Models of weights on pictures of discs, squares and triangles, each fitted by a small SIREN from a common start.

Prints what a graph network tells of held-out fields from their weights alone (the kind of shape, and the PSNR of the
fit), and how fields that were generated compare with held-out ones, beside as many fields that were learned from, and
weights drawn from a normal law of the same means and variances.

    python benchmarks/weight_space.py [--count 31] [--side 16] [--parameters 500] [--fit-steps 150] [--folder FIELDS]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from onefield.training.field_dataset import FieldDataset, fit_dataset, is_field_dataset
from onefield.training.weight_space.generator import learn_field_generator
from onefield.training.weight_space.judge import learn_field_judge
from onefield.training.weight_space.scores import answers, held_out, likeness

KINDS = ("disc", "square", "triangle")


def picture(kind: str, side: int, random: np.random.Generator) -> np.ndarray:
    """A white shape on black, of random place and size, with a soft edge."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    u, v = x - random.uniform(0.4, 0.6), y - random.uniform(0.4, 0.6)
    distance = {
        "disc": np.hypot(u, v),
        "square": np.maximum(abs(u), abs(v)),
        "triangle": np.maximum(abs(u) * 3**0.5 / 2 - v / 2, v) * 1.2,
    }[kind]
    edge = np.clip((random.uniform(0.2, 0.3) - distance) * side, -20, 20)
    return (255 / (1 + np.exp(-2 * edge))).astype(np.uint8)


def normal_law(dataset: FieldDataset) -> dict[str, float]:
    """Likeness to held-out fields of weights drawn from a normal law each."""
    known, held = held_out(dataset)
    rows = dataset.weights[known]
    drawn = torch.randn(len(held), rows.shape[1], generator=torch.Generator().manual_seed(1))
    both = (drawn * rows.std(0) + rows.mean(0), dataset.weights[held])
    return asdict(likeness(*(answers(dataset.start, each) for each in both)))


def main() -> None:
    """Prints one JSON object a line: the judge, then the generator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=31, help="of each kind")
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--parameters", type=int, default=500)
    parser.add_argument("--fit-steps", type=int, default=150)
    parser.add_argument("--folder", type=Path, help="of the fields, kept, and gone on with where it is there")
    parser.add_argument("--graph-steps", type=int, default=400)
    parser.add_argument("--diffusion-steps", type=int, default=1000)
    chosen = parser.parse_args()
    random = np.random.default_rng(0)
    signals = {f"{k}/{i:03d}": picture(k, chosen.side, random) for i in range(chosen.count) for k in KINDS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary) / "fields"
        dataset = fit_dataset(
            signals, folder, parameters=chosen.parameters, steps=chosen.fit_steps, resume=is_field_dataset(folder)
        )
    quality = fmean(metrics["psnr"] for metrics in dataset.metrics)
    facts = {"fields": len(dataset), "parameters": dataset.weights.shape[1], "mean_psnr": quality}
    lesson = learn_field_judge(dataset, steps=chosen.graph_steps)
    told = {name: getattr(lesson, name) for name in ("held", "right", "chance", "error", "error_of_mean")}
    print(json.dumps(facts | told), flush=True)
    learned = learn_field_generator(dataset, steps=chosen.diffusion_steps)
    compared = {"generated": asdict(learned.generated), "learned_from": asdict(learned.learned_from)}
    print(json.dumps(compared | {"normal": normal_law(dataset)}))


if __name__ == "__main__":
    main()
