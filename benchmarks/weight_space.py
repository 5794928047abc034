"""Models of weights on pictures of discs, squares and triangles, each fitted by a small SIREN from a common start.

Prints what a graph network tells of held-out fields from their weights alone (the kind of shape, and the PSNR of the
fit), and how far pictures of generated fields are from the nearest training picture, beside those of held-out fields
and of weights drawn from a normal law of the same means and variances.

    python benchmarks/weight_space.py [--count 16] [--side 16] [--parameters 500] [--fit-steps 100]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onefield.training.field_dataset import FieldDataset, fit_dataset
from onefield.training.weight_space.diffusion import learn_diffusion
from onefield.training.weight_space.graph_network import learn_from_weights

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


def pictures_of(dataset: FieldDataset, rows: Tensor) -> Tensor:
    """The values of fields with these weights, a row each."""
    return torch.stack([dataset.fitted(row).reconstruction().flatten() for row in rows])


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=16, help="of each kind")
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--parameters", type=int, default=500)
    parser.add_argument("--fit-steps", type=int, default=100)
    parser.add_argument("--graph-steps", type=int, default=200)
    parser.add_argument("--diffusion-steps", type=int, default=400)
    chosen = parser.parse_args()
    random = np.random.default_rng(0)
    signals = {f"{k}/{i:03d}": picture(k, chosen.side, random) for i in range(chosen.count) for k in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "fields"
        dataset = fit_dataset(signals, place, parameters=chosen.parameters, steps=chosen.fit_steps)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
    train, held = order[: 3 * len(order) // 4], order[3 * len(order) // 4 :]
    kinds = torch.tensor([KINDS.index(label) for label in dataset.labels])
    psnr = torch.tensor([metrics["psnr"] for metrics in dataset.metrics])
    rows, layout = dataset.weights, dataset.layout
    result = {"fields": len(dataset), "parameters": rows.shape[1], "mean_psnr": psnr.mean().item()}
    told = learn_from_weights(rows[train], layout, kinds[train], steps=chosen.graph_steps)
    result["kind_right"] = (told(rows[held]).argmax(1) == kinds[held]).float().mean().item()
    quality = learn_from_weights(rows[train], layout, psnr[train], steps=chosen.graph_steps)(rows[held])[:, 0]
    result["psnr_error"] = (quality - psnr[held]).abs().mean().item()
    result["psnr_error_of_the_mean"] = (psnr[train].mean() - psnr[held]).abs().mean().item()
    model = learn_diffusion(rows[train], layout, steps=chosen.diffusion_steps)
    count = len(held)
    normal = torch.randn(count, rows.shape[1], generator=torch.Generator().manual_seed(1))
    normal = normal * rows[train].std(0) + rows[train].mean(0)
    known = pictures_of(dataset, rows[train])
    for name, drawn in (("generated", model.sample(count)), ("normal", normal), ("held_out", rows[held])):
        errors = torch.cdist(pictures_of(dataset, drawn), known).amin(1) / known.shape[1] ** 0.5
        result[f"{name}_to_nearest"] = errors.mean().item()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
