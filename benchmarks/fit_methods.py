"""What ways of fitting bring, each against the plain fit, over learning rates and seeds.

An image is averaged over squares of pixels and fitted in full batches by a small sine network (fresh: at several
frequencies; coarse-to-fine: by Fourier features of which it knows half the pixels at random, scored on the others).
Seconds are those of the processor, not of the clock. A row a fit is added to the file of rows, which a second call goes
on with; the table has, for the best learning rate of each way, mean and deviation over the seeds.

variance: networks of several activations, from first weights of their own and from such as keep variance.
total-variation: dense grids of half the pixels, scored on the others.

start: from tiles of the other images of the folder a start is learned, from which tiles of this image are fitted in ten
steps. gradient-origin: a decoder of tiles of the other images, by what its codes say of them and of this image's tiles
("new"); principal components are the best that codes of as many numbers can do linearly.

Run: python benchmarks/fit_methods.py ../shared/data/signals/kodak --rows rows.jsonl [--only teaching iga ...]
     [--images kodim23] [--shrink 12] [--steps 200] [--seeds 0 1 2] [--rates 2e-3 4e-3 8e-3] [--table]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from onefield.data.signals import Signal, load_signal
from onefield.fields.field import Field
from onefield.fields.iterative import IterativeField
from onefield.training.fit import fit
from onefield.training.fit_methods import (
    CoarseToFine,
    FitMethod,
    FrequencyShift,
    GradientAdjustment,
    IterativeRefinement,
    KeptVariance,
    SingularPlaces,
    StochasticSimilarity,
    Teaching,
    TotalVariation,
)
from onefield.training.gradient_origin import learn_gradient_origin
from onefield.training.meta_learning import Lessons, learn_start
from onefield.training.metrics import psnr
from onefield.training.recipes import recipe_for

WIDTH, HIDDEN_LAYERS = 32, 3
# Multiples of 30 radians, among which the frequency is chosen and which are all trained.
MULTIPLES = (1 / 3, 2 / 3, 1.0, 2.0, 4.0, 20 / 3)
FULL_BATCH = 2**20


@dataclass(frozen=True)
class Sizes(FitMethod):
    """The rate and sizes of this benchmark."""

    name: ClassVar[str] = "sizes"
    rate: float
    multiple: float = 1.0
    final_rate: float | None = None
    width: int = WIDTH

    def adapt(self, recipe, signal, target, seed):
        """The recipe with these instead of its own."""
        del target, seed
        options = recipe.options | {"width": self.width, "hidden_layers": HIDDEN_LAYERS}
        if "first_w0" in options:
            options["first_w0"] *= self.multiple
        rates = {"encoding_rate": self.rate, "network_rate": self.rate}
        if self.final_rate is not None:
            rates["final_rate"] = self.final_rate
        return replace(recipe, options=options, batch=min(FULL_BATCH, signal.values[..., 0].numel()), **rates)


def shrunk(path: Path, factor: int) -> Signal:
    """The image averaged over squares."""
    image = load_signal(path)
    rows, columns = (side - side % factor for side in image.shape)
    blocks = image.values[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor, -1)
    return Signal("image", blocks.mean((1, 3)), image.value_range)


def half_known(image: Signal, seed: int) -> tuple[Signal, torch.Tensor]:
    """The image with half its pixels at random, and which were left out."""
    hidden = torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    return replace(image, values=image.values.masked_fill(hidden[..., None], np.nan)), hidden


# Ways that are compared on a sine network.
ON_SIREN = {
    "plain": (),
    "teaching": (Teaching(),),
    "plain, constant rate": (),
    "teaching, falling rate": (Teaching(),),
    "s3im": (StochasticSimilarity(),),
    "iga": (GradientAdjustment(groups=64),),
    "iterative": (IterativeRefinement(),),
    "plain, as large as iterative": (),
}
# The same, on a low-pass network beside one of wavelets.
ON_WAVELETS = {"wavelets": (), "wavelets at singularities": (SingularPlaces(),)}
# The same, on networks of one activation.
ACTIVATIONS = ("siren", "finer", "gaussian", "sinc")
FIRST_WEIGHTS = {"own": (), "variance 1": (KeptVariance(1.0),), "variance 3": (KeptVariance(3.0),)}
# On dense grids that know half the pixels.
ON_GRIDS = {
    "half, grid": (),
    "half, grid, variation 0.01": (TotalVariation(),),
    "half, grid, variation 0.05": (TotalVariation(0.05),),
}
# Of the whole fit; teaching keeps its rate, all others let it fall.
FINAL_RATES = {"constant rate": 1.0, "falling rate": 0.05}
# Of networks with at least as many parameters as one of the usual width with the networks that refine its answer.
WIDTHS = {"as large as iterative": 39}
# Sides, in pixels, of tiles from which a start is learned, and of those in a decoder; how the image is shrunk for both.
TILE, SMALL_TILE, TILE_SHRINK = 32, 12, 4
FEW_STEPS, OUTER_STEPS, TILES_FITTED = 10, 150, 4
CODE, DECODER_STEPS = 16, 300
STARTS = {
    "start, plain": None,
    "start, reptile": Lessons("reptile", OUTER_STEPS),
    "start, maml": Lessons("maml", OUTER_STEPS, inner_steps=2),
}
DECODERS = ("gradient-origin", "principal components")
# A fit is one (way, image, rate, seed).
Key = tuple[str, str, float, int]


def tiles(image: Signal, side: int) -> list[Signal]:
    """The image cut into squares."""
    rows, columns = (axis // side for axis in image.shape)
    return [
        replace(image, values=image.values[side * row : side * (row + 1), side * column : side * (column + 1)].clone())
        for row in range(rows)
        for column in range(columns)
    ]


def few_steps(way: str, folder: Path, name: str, rate: float, seed: int) -> dict[str, float]:
    """Mean PSNR of some tiles after few steps from a start."""
    own, others = split_tiles(folder, name, TILE)
    sizes, started = Sizes(rate), []
    if STARTS[way] is not None:
        recipe = sizes.adapt(recipe_for("siren", own[0]), own[0], None, seed)
        started = [learn_start(others, recipe, STARTS[way], seed=seed)]
    began = time.process_time()
    chosen = own[seed :: len(own) // TILES_FITTED][:TILES_FITTED]
    fits = [fit(tile, "siren", methods=[sizes, *started], steps=FEW_STEPS, seed=seed) for tile in chosen]
    mean = statistics.fmean(fitted.metrics["psnr"] for fitted in fits)
    return {"psnr": mean, "seconds": time.process_time() - began}


def coded(way: str, folder: Path, name: str, rate: float, seed: int) -> dict[str, float]:
    """PSNR of tiles by their codes: of those that taught the decoder, and of new ones."""
    own, others = split_tiles(folder, name, SMALL_TILE)
    known, new = (torch.stack([tile.values for tile in some]) for some in (others, own))
    began = time.process_time()
    if way == "principal components":
        rows = known.flatten(1)
        axes = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:CODE]

        def answers(values: torch.Tensor) -> torch.Tensor:
            return (rows.mean(0) + (values.flatten(1) - rows.mean(0)) @ axes.T @ axes).reshape(values.shape)

    else:
        recipe = recipe_for("siren", own[0])
        sizes = {"width": WIDTH, "hidden_layers": 2}
        recipe = replace(recipe, options=recipe.options | sizes)
        decoder = learn_gradient_origin(others, recipe, code=CODE, steps=DECODER_STEPS, batch=32, rate=rate, seed=seed)

        def answers(values: torch.Tensor) -> torch.Tensor:
            codes = [decoder.code_of(replace(own[0], values=each)) for each in values]
            return torch.stack([decoder.values_of(code) for code in codes])

    figure = {"psnr": psnr(answers(known), known, 1.0), "new_psnr": psnr(answers(new), new, 1.0)}
    return figure | {"seconds": time.process_time() - began}


def split_tiles(folder: Path, name: str, side: int) -> tuple[list[Signal], list[Signal]]:
    """Tiles of the image, and of all others in the folder."""
    cut = {path.stem: tiles(shrunk(path, TILE_SHRINK), side) for path in sorted(folder.glob("*.png"))}
    return cut[name], [tile for other, some in cut.items() if other != name for tile in some]


def figures(key: Key, folder: Path, image: Signal, steps: int) -> dict[str, float]:
    """Of one fit."""
    way, name, rate, seed = key
    began = time.process_time()
    if way in STARTS:
        return few_steps(way, folder, name, rate, seed)
    if way in DECODERS:
        return coded(way, folder, name, rate, seed)
    if way in ON_SIREN:
        variant = way.partition(", ")[2]
        sizes = Sizes(rate, final_rate=FINAL_RATES.get(variant), width=WIDTHS.get(variant, WIDTH))
        fitted = fit(image, "siren", methods=[*ON_SIREN[way], sizes], steps=steps, seed=seed)
        found = {name: fitted.metrics[name] for name in ("psnr", "ssim", "parameters")}
        found["seconds"] = time.process_time() - began
        return found | first_answer(fitted.field, image)
    if way in ON_WAVELETS:
        fitted = fit(image, "band-split", methods=[*ON_WAVELETS[way], Sizes(rate)], steps=steps, seed=seed)
        return {"psnr": fitted.metrics["psnr"], "ssim": fitted.metrics["ssim"], "seconds": time.process_time() - began}
    if way.startswith("frequency"):
        multiple = MULTIPLES[int(way.split()[-1])]
        fitted = fit(image, "siren", methods=[Sizes(rate, multiple)], steps=steps, seed=seed)
        return {"psnr": fitted.metrics["psnr"], "seconds": time.process_time() - began}
    if way == "fresh":
        chosen = fit(image, "siren", methods=[Sizes(rate), FrequencyShift(MULTIPLES)], steps=1, seed=seed)
        spent = time.process_time() - began
        return {"multiple": chosen.recipe.options["first_w0"] / 30, "seconds": spent}
    if way.startswith(ACTIVATIONS):
        name, _, start = way.partition(", ")
        fitted = fit(image, name, methods=[Sizes(rate), *FIRST_WEIGHTS[start]], steps=steps, seed=seed)
        return {"psnr": fitted.metrics["psnr"], "ssim": fitted.metrics["ssim"], "seconds": time.process_time() - began}
    known, hidden = half_known(image, seed)
    if way in ON_GRIDS:
        recipe = replace(recipe_for("dense", known), batch=FULL_BATCH, encoding_rate=rate)
        fitted = fit(known, recipe, methods=ON_GRIDS[way], steps=steps, seed=seed)
    else:
        methods = [CoarseToFine()] if way.startswith("coarse") else []
        fitted = fit(known, "fourier", methods=[Sizes(rate), *methods], steps=steps, seed=seed)
    return {
        "psnr": psnr(fitted.reconstruction()[hidden], image.values[hidden], image.value_range),
        "known_psnr": fitted.metrics["psnr"],
        "seconds": time.process_time() - began,
    }


@torch.no_grad()
def first_answer(field: Field, image: Signal) -> dict[str, float]:
    """PSNR of what a field says before it refines; nothing for fields that don't."""
    if not isinstance(field, IterativeField):
        return {}
    everywhere = torch.arange(image.values[..., 0].numel())
    first = field.head(field.states(image.points(everywhere), steps=1)[-1])
    return {"first_psnr": psnr(first, image.at(everywhere), image.value_range)}


def asked(arguments: argparse.Namespace) -> Iterator[Key]:
    """All fits, one after the other."""
    frequencies = [f"frequency {index}" for index in range(len(MULTIPLES))]
    families = {
        **{way: ([way], arguments.rates, arguments.seeds) for way in ON_SIREN},
        "singularities": (list(ON_WAVELETS), arguments.rates, arguments.seeds),
        "variance": (
            [f"{name}, {start}" for name in ACTIVATIONS for start in FIRST_WEIGHTS],
            arguments.rates,
            arguments.seeds,
        ),
        "total-variation": (list(ON_GRIDS), [0.1], arguments.seeds),
        "fresh": (["fresh", *frequencies], [4e-3], arguments.seeds),
        "start": (list(STARTS), arguments.rates, arguments.seeds),
        "gradient-origin": (list(DECODERS), [5e-4], arguments.seeds),
        "coarse-to-fine": (["half, plain", "coarse-to-fine, half"], arguments.rates, arguments.seeds),
    }
    for family in arguments.only or families:
        ways, rates, seeds = families[family]
        yield from (
            (way, image, rate, seed) for image in arguments.images for way in ways for rate in rates for seed in seeds
        )


def read(path: Path) -> dict[Key, dict[str, float]]:
    """The rows that are there."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {(row["way"], row["image"], row["rate"], row["seed"]): row for row in rows}


def table(rows: dict[Key, dict[str, float]]) -> Table:
    """The best rate of each way on each image."""
    groups: dict[tuple[str, str], dict[float, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for (way, image, rate, _), row in sorted(rows.items(), key=lambda entry: entry[0][1:]):
        groups[image, way][rate].append(row)
    shown = Table(
        "image", "way", "rate", "seeds", "PSNR or multiple", "SSIM or new PSNR", "CPU s", "at the other rates"
    )
    for (image, way), by_rate in groups.items():
        figure = "multiple" if way == "fresh" else "psnr"

        def mean(rate: float, name: str, fits=by_rate) -> float:
            return statistics.fmean(row[name] for row in fits[rate])

        best = max(by_rate, key=lambda rate: mean(rate, figure))
        values = [row[figure] for row in by_rate[best]]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        second = next((name for name in ("ssim", "new_psnr") if name in by_rate[best][0]), None)
        beside = "" if second is None else f"{mean(best, second):.4g}"
        others = ", ".join(f"{rate:g}: {mean(rate, figure):.2f}" for rate in sorted(by_rate) if rate != best)
        numbers = (f"{statistics.fmean(values):.2f} ± {spread:.2f}", beside, f"{mean(best, 'seconds'):.1f}", others)
        shown.add_row(image, way, f"{best:g}", str(len(values)), *numbers)
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Fits what is not there yet, and shows the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--images", nargs="+", default=["kodim23"])
    parser.add_argument("--shrink", type=int, default=12)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3, 4e-3, 8e-3])
    parser.add_argument("--table", action="store_true", help="fit nothing")
    given = parser.parse_args(arguments)
    rows = read(given.rows)
    images = {name: shrunk(given.folder / f"{name}.png", given.shrink) for name in given.images}
    for key in [] if given.table else asked(given):
        if key not in rows:
            way, image, rate, seed = key
            rows[key] = {"way": way, "image": image, "rate": rate, "seed": seed}
            rows[key] |= figures(key, given.folder, images[image], given.steps)
            with open(given.rows, "a", encoding="utf-8") as file:
                file.write(json.dumps(rows[key]) + "\n")
    Console(width=150).print(table(rows))


if __name__ == "__main__":
    main()
