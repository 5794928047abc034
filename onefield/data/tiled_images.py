"""Pictures too large for memory, of which only tiles are read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.errors import DataError, UsageError, first_line
from onefield.types import Bounds

TILED_SUFFIXES = (".npy", ".tif", ".tiff")
# What integers stand for 1.
_PEAKS = {np.dtype(np.bool_): 1.0, np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


@dataclass(frozen=True)
class TiledImage:
    """A picture on disk; conventions as those of `Signal`, values as it would have them.

    Attributes:
        rows: the file's numbers, mapped and not read, ``h w c``.
        tile: pixels a side of what is read at once.
        low, high: least and greatest value; those that integers can have, and those that stand in a file of floats.
    """

    rows: np.ndarray
    tile: int
    low: float
    high: float
    kind: str = "image"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.shape[0], self.rows.shape[1]

    @property
    def channels(self) -> int:
        return self.rows.shape[2]

    @property
    def value_range(self) -> float:
        """Greatest less least value, the peak of PSNR; 1 for a constant picture."""
        return self.high - self.low or 1.0

    @property
    def description(self) -> str:
        """What it is, for people."""
        height, width = self.shape
        return (
            f"image of {width} x {height} samples of {self.rows.dtype}, {self.channels} channel"
            f"{'s' * (self.channels > 1)}, read by {len(self)} tiles"
        )

    @property
    def domain(self) -> Bounds:
        """The box of all pixels, x first, its longer side 1."""
        height, width = self.shape
        return Bounds((0.0, 0.0), (width / max(self.shape), height / max(self.shape)))

    def __len__(self) -> int:
        """Tiles."""
        return math.prod(-(-side // self.tile) for side in self.shape)

    def read(self, index: int) -> tuple[Int[Tensor, "n 2"], Float[Tensor, "n c"]]:
        """Row and column of the pixels of one tile, and their values; those with NaN are left out.

        Raises:
            DataError: infinite values.
        """
        across = -(-self.shape[1] // self.tile)
        top, left = (index // across) * self.tile, (index % across) * self.tile
        numbers = self.rows[top : top + self.tile, left : left + self.tile]
        values = torch.from_numpy(_as_values(numbers)).reshape(-1, self.channels)
        if bool(torch.isinf(values).any()):
            raise DataError(f"The image has infinite values in the tile at row {top}, column {left}; replace them.")
        y, x = torch.meshgrid(torch.arange(numbers.shape[0]), torch.arange(numbers.shape[1]), indexing="ij")
        places = torch.stack([y.flatten() + top, x.flatten() + left], dim=-1)
        known = torch.isfinite(values).all(-1)
        return places[known], values[known]

    def points(self, places: Int[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Centres of the pixels of these rows and columns."""
        return ((places.flip(1).double() + 0.5) / max(self.shape)).float()

    def in_file_unit(self, values: Float[Tensor, "*b c"]) -> np.ndarray:
        """Values as the file's own type of number."""
        dtype = self.rows.dtype
        if dtype not in _PEAKS:
            return values.numpy().astype(np.float32)
        return (values.clamp(0, 1).numpy() * _PEAKS[dtype]).round().astype(dtype)


def _as_values(numbers: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(numbers, dtype=np.float32) / np.float32(_PEAKS.get(numbers.dtype, 1.0))


def open_tiled(path: str | Path, tile: int = 512) -> TiledImage:
    """Opens a picture without reading it: NPY, or TIFF without compression.

    Args:
        tile: pixels a side of what is read at once.

    Raises:
        UsageError: a tile without pixels.
        DataError: missing, compressed, of another format, no picture, or without any known value.
    """
    place = Path(path)
    if tile < 1:
        raise UsageError(f"Tiles need a positive side, got {tile}.")
    if not place.exists():
        raise DataError(f"{place} does not exist; name a picture to read by tiles.")
    if place.suffix.lower() not in TILED_SUFFIXES:
        raise DataError(f"{place} can't be read by tiles; convert it to TIFF without compression, or to NPY.")
    return tiled(_mapped(place), tile, str(place))


def tiled(rows: np.ndarray, tile: int, where: str = "The array") -> TiledImage:
    """A picture of an array, mapped or not.

    Raises:
        DataError: no picture, or without any known value.
    """
    shaped = rows[..., None] if rows.ndim == 2 else rows
    if shaped.ndim != 3 or shaped.size == 0 or shaped.dtype.kind not in "buif":
        raise DataError(f"{where} is no picture: it has shape {rows.shape} of {rows.dtype}; give rows and columns.")
    if shaped.dtype in _PEAKS:
        return TiledImage(shaped, tile, 0.0, 1.0)
    low, high = math.inf, -math.inf
    for band in bands(shaped.shape[0], tile):
        values = shaped[band]
        known = values[np.isfinite(values)]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    if low > high:
        raise DataError(f"{where} has no finite value, so nothing is known of it.")
    return TiledImage(shaped, tile, low, high)


def bands(rows: int, height: int) -> Iterator[slice]:
    """Rows from the top, so many at a time."""
    return (slice(top, min(top + height, rows)) for top in range(0, rows, height))


def _mapped(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        import tifffile

        return tifffile.memmap(path, mode="r")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"{path} can't be mapped ({first_line(error)}); write it as TIFF without compression, or NPY."
        ) from error
