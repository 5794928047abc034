"""Fitting pictures that are larger than memory: batches from a few tiles at a time."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.tiled_images import TiledImage, bands
from onefield.errors import ResourceError
from onefield.fields.field import Field
from onefield.files import write_atomically
from onefield.training.fitted import Fitted
from onefield.training.recipes import Target

# Tiles held at once; one of them makes room for another every few steps.
POOL, _STEPS_A_TILE = 8, 4
# Pixels that a fit is scored on, at most, from tiles at random.
_SCORED = 2**20


class TileSamples:
    """Batches from a pool of tiles, each tile of the picture in its turn."""

    def __init__(self, image: TiledImage, scale: float, generator: torch.Generator) -> None:
        """Reads the first tiles.

        Args:
            scale: unit of the errors.
        """
        self._image, self._scale, self._generator = image, scale, generator
        self._coming: list[int] = []
        self._steps = 0
        self._pool = [self._next() for _ in range(min(POOL, len(image)))]

    @property
    def held(self) -> int:
        """Pixels in memory."""
        return sum(len(values) for _, values in self._pool)

    def _next(self) -> tuple[Tensor, Tensor]:
        # tiles of nothing but unknown pixels are passed over; `tiled` saw to it that some pixel is known
        while True:
            if not self._coming:
                self._coming = torch.randperm(len(self._image), generator=self._generator).tolist()
            tile = self._image.read(self._coming.pop())
            if len(tile[0]):
                return tile

    def loss(self, field: Field, batch: int) -> Float[Tensor, ""]:
        """Mean squared error at so many pixels of the pool, relative to the scale."""
        if len(self._image) > len(self._pool) and self._steps and self._steps % _STEPS_A_TILE == 0:
            self._pool[(self._steps // _STEPS_A_TILE) % len(self._pool)] = self._next()
        self._steps += 1
        share = math.ceil(batch / len(self._pool))
        places, values = [], []
        for held, known in self._pool:
            picked = torch.randint(len(held), (min(share, len(held)),), generator=self._generator)
            places.append(held[picked])
            values.append(known[picked])
        answer = field.query(self._image.points(torch.cat(places)), want=("value",)).value
        return ((answer - torch.cat(values)) / self._scale).square().mean()


def tiled_target(image: TiledImage) -> Target:
    """What a field of a picture answers."""
    return Target("value", image.domain, image.channels, (image.low + image.high) / 2, image.value_range / 2)


@torch.no_grad()
def score_tiles(fitted: Fitted, image: TiledImage, generator: torch.Generator) -> dict[str, float]:
    """``psnr`` over tiles at random, ``scored_samples`` and ``value_range``, its peak."""
    squares, count = 0.0, 0
    for index in torch.randperm(len(image), generator=generator).tolist():
        places, values = image.read(index)
        if len(places):
            squares += (fitted(image.points(places)) - values).double().square().sum().item()
            count += len(values)
        if count >= _SCORED:
            break
    error = squares / (count * image.channels)
    psnr = math.inf if error == 0 else 10 * math.log10(image.value_range**2 / error)
    return {"psnr": psnr, "scored_samples": float(count), "value_range": image.value_range}


def write_tiles(fitted: Fitted, image: TiledImage, path: str | Path, observe: Callable[[str], None]) -> None:
    """Writes all pixels as NPY of the file's own type of number, a band of rows at a time.

    Raises:
        ResourceError: the file can't be written, or there is no room for it.
    """
    height, width = image.shape
    started = time.perf_counter()
    dtype = image.in_file_unit(torch.zeros(1, 1)).dtype
    size, free = height * width * image.channels * dtype.itemsize, shutil.disk_usage(Path(path).parent).free
    if size > free:
        raise ResourceError(
            f"{path} would take {size / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free; give another --output, or "
            "ask the field, which is saved, at points."
        )

    def write(file: BinaryIO) -> None:
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
        np.lib.format.write_array_header_2_0(file, described | {"shape": (height, width, image.channels)})
        for band in bands(height, max(1, image.tile**2 // width)):
            y, x = torch.meshgrid(torch.arange(band.start, band.stop), torch.arange(width), indexing="ij")
            values = fitted(image.points(torch.stack([y.flatten(), x.flatten()], dim=-1)))
            file.write(image.in_file_unit(values).tobytes())
            if time.perf_counter() - started > 10:
                observe(f"wrote {band.stop} of {height} rows")

    write_atomically(path, write)
