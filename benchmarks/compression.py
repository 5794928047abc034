"""Rate and distortion of fitted images as .onef files, beside JPEG and WebP at the nearest rates.

Each size, by width or number of parameters, is fitted once and written at several numbers of bits a parameter, with
--tuning also with so many steps of learning on between roundings; JPEG (optimised, progressive) and WebP, by Pillow,
are written at all qualities. PSNR is over all pixels in sRGB with peak 1. With --prefixes, also of each prefix of one
file's bit planes; with --noise, also with normal noise on all numbers, relative to the root mean square of their
tensor, over five draws.

    python benchmarks/compression.py PICTURE [--shrink 4] [--field siren] [--widths 24 32 48] [--bits 6 7 8 10]
        [--parameters 1000 2000] [--tuning 100] [--noise 0.001 0.01 0.1]
"""

from __future__ import annotations

import argparse
import copy
import io
import itertools
import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from onefield.data.signals import Signal, signal_of
from onefield.training.compression import compress, decompress
from onefield.training.fit import fit
from onefield.training.fitted import Fitted
from onefield.training.metrics import psnr
from onefield.training.recipes import Recipe, recipe_for

_DRAWS = 5


def recipe_of(signal: Signal, name: str, width: int | None, parameters: int | None) -> Recipe:
    """A network of this width, or of so many parameters."""
    recipe = recipe_for(name, signal, parameters=parameters)
    return recipe if width is None else replace(recipe, options=recipe.options | {"width": width})


def classical(pixels: np.ndarray, format: str) -> list[tuple[float, float]]:
    """Bits a pixel and PSNR of a format at all qualities."""
    points, options = [], {"optimize": True, "progressive": True} if format == "JPEG" else {}
    for quality in range(1, 100, 2):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format, quality=quality, **options)
        back = np.asarray(Image.open(buffer).convert("RGB"))
        error = np.square((back.astype(float) - pixels) / 255).mean()
        points.append((8 * len(buffer.getvalue()) / (pixels.shape[0] * pixels.shape[1]), -10 * np.log10(error)))
    return points


def at_rate(points: list[tuple[float, float]], rate: float) -> float | None:
    """PSNR between the two nearest rates, by a straight line; None beyond them."""
    ordered = sorted(points)
    rates = [point[0] for point in ordered]
    if not rates[0] <= rate <= rates[-1]:
        return None
    return float(np.interp(rate, rates, [point[1] for point in ordered]))


@torch.no_grad()
def disturbed(fitted: Fitted, signal: Signal, noise: float, draw: int) -> float:
    """PSNR with noise on all numbers."""
    generator, field = torch.Generator().manual_seed(draw), copy.deepcopy(fitted.field)
    for parameter in field.parameters():
        spread = noise * parameter.square().mean().sqrt()
        parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    return psnr(replace(fitted, field=field).reconstruction(), signal.values, 1.0)


def main() -> None:
    """Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--shrink", type=int, default=4)
    parser.add_argument("--field", default="siren")
    parser.add_argument("--widths", type=int, nargs="+", default=[24, 32, 48])
    parser.add_argument("--parameters", type=int, nargs="*", default=[], help="instead of widths")
    parser.add_argument("--rate", type=float, help="of learning; the recipe's by default")
    parser.add_argument("--tuning", type=int, help="steps of learning on after each share that is rounded")
    parser.add_argument("--bits", type=float, nargs="*", default=[6.0, 7.0, 8.0, 10.0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prefixes", action="store_true")
    parser.add_argument("--noise", type=float, nargs="*", default=[])
    chosen = parser.parse_args()
    image = Image.open(chosen.picture).convert("RGB")
    pixels = np.asarray(
        image.resize((image.width // chosen.shrink, image.height // chosen.shrink), Image.Resampling.BOX)
    )
    signal = signal_of(pixels, "image")
    others = {format: classical(pixels, format) for format in ("JPEG", "WebP")}
    sizes = [(None, each) for each in chosen.parameters] or [(each, None) for each in chosen.widths]
    for width, allowed in sizes:
        recipe = recipe_of(signal, chosen.field, width, allowed)
        recipe = replace(recipe, network_rate=chosen.rate or recipe.network_rate)
        fitted = fit(signal, recipe, steps=chosen.steps, seed=chosen.seed)
        plain = {
            "width": recipe.options["width"],
            "parameters": fitted.metrics["parameters"],
            "fit_psnr": fitted.metrics["psnr"],
        }
        for noise in chosen.noise:
            scores = [disturbed(fitted, signal, noise, draw) for draw in range(_DRAWS)]
            row = {"noise": noise, "psnr": statistics.fmean(scores), "deviation": statistics.stdev(scores)}
            print(json.dumps(plain | row), flush=True)
        for bits, tuning in itertools.product(chosen.bits, {None, chosen.tuning}):
            tuned = {} if tuning is None else {"signal": signal, "tuning": tuning}
            content = compress(fitted, bits=bits, **tuned)
            decoded = decompress(content, "written")
            rate = 8 * len(content) / (pixels.shape[0] * pixels.shape[1])
            score = psnr(decoded.fitted.reconstruction(), signal.values, 1.0)
            beside = {format: at_rate(points, rate) for format, points in others.items()}
            print(
                json.dumps(
                    plain | {"bits": bits, "tuning": tuning, "bytes": len(content), "bpp": rate, "psnr": score} | beside
                ),
                flush=True,
            )
            if chosen.prefixes and (bits, tuning) == (chosen.bits[-1], None):
                for planes in range(decoded.total_planes + 1):
                    part = decompress(content, "written", planes=planes)
                    score = psnr(part.fitted.reconstruction(), signal.values, 1.0)
                    print(json.dumps({"planes": planes, "bits": part.bits, "psnr": score}), flush=True)


if __name__ == "__main__":
    main()
