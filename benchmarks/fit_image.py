"""Pictures by ``onefield.fit`` as it is, beside SIREN and WIRE in the same training time.

Each picture is made half as large (mean of 2 x 2 pixels) and fitted by the default; then the other fields are trained
for as many seconds as that took. WIRE and SIREN are those of their papers (256 wide with three hidden layers; 181 wide
with two complex ones), with the recipes' learning rates. A first fit of a few steps compiles what is to be compiled.

    python benchmarks/fit_image.py PICTURE... [--fields siren,wire] [--threads 2] [--full]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from onefield.data.signals import Signal, load_signal
from onefield.training.fit import fit


def halved(picture: Signal) -> Signal:
    """Means of 2 x 2 pixels; an odd last row or column is dropped."""
    rows, columns = (side // 2 * 2 for side in picture.shape)
    blocks = picture.values[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2, -1)
    return Signal("image", blocks.mean((1, 3)), picture.value_range)


def main() -> None:
    """Prints a line of JSON a fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--fields", default="siren,wire")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="do not halve the pictures")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for path in chosen.pictures:
        picture = load_signal(path)
        picture = picture if chosen.full else halved(picture)
        fit(picture, steps=2)
        first = fit(picture)
        _tell(path, "default", picture, first.metrics)
        for name in chosen.fields.split(",") if chosen.fields else ():
            _tell(path, name, picture, fit(picture, name, seconds=first.metrics["seconds"]).metrics)


def _tell(path: Path, name: str, picture: Signal, metrics: dict[str, float]) -> None:
    figures = {key: round(value, 4) for key, value in metrics.items()}
    print(json.dumps({"picture": path.name, "field": name, "numbers": picture.values.numel(), **figures}), flush=True)


if __name__ == "__main__":
    main()
