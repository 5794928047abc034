"""Any field x sampler x regulariser: train each combination on one scene and compare.

python examples/06_compose.py OUTPUT [--steps N] [--size N] [--samples N]
"""

import argparse
import csv
from itertools import product
from pathlib import Path

from onefield.configs.fields import DenseField, FourierField, HashField
from onefield.configs.method import MethodConfig
from onefield.configs.samplers import Occupancy, Uniform
from onefield.data.batches import RayBatches
from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.training.evaluation import QuickCheck
from onefield.training.loop import take_step
from onefield.training.settings import TrainingSettings
from onefield.training.state import TrainingState

FIELDS = {
    "hash": HashField(levels=6, log2_table_size=14),
    "dense": DenseField(resolution=64),
    "fourier": FourierField(),
}
SAMPLERS = {"uniform": Uniform(count=48), "occupancy": Occupancy(resolution=32)}
REGULARISERS = {"none": {}, "clear or solid": {"opacity_entropy": 1e-3}}


def main(output: Path, steps: int, size: int, samples: int) -> None:
    scene = load_scene(write_demo_scene(output / "scene", views=16, size=size))
    rows = []
    for field, sampler, regulariser in product(FIELDS, SAMPLERS, REGULARISERS):
        losses = {"huber": 1.0, **REGULARISERS[regulariser]}
        settings = TrainingSettings(steps=steps, samples_per_step=samples)
        parts = {"field": FIELDS[field], "sampler": SAMPLERS[sampler], "losses": losses}
        method = MethodConfig("composed", training=settings, **parts).build(scene)
        state = TrainingState.begin(method, RayBatches(scene, scene.train_indices, seed=0))
        for _ in range(steps):
            take_step(state)
        rows.append((field, sampler, regulariser, f"{QuickCheck(scene, method).psnr(method):.2f}"))
        print(f"{field:>8} x {sampler:<9} x {regulariser:<14} PSNR {rows[-1][-1]} dB")
    with open(output / "scores.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("field", "sampler", "regulariser", "held-out PSNR"), *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=2**14)
    main(**vars(parser.parse_args()))
