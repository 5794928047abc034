from types import SimpleNamespace

import numpy as np
import pytest
import torch

from onefield.data.tiled_images import tiled
from onefield.errors import ResourceError
from onefield.training.fit import fit
from onefield.training.fit_tiles import POOL, TileSamples, write_tiles
from tests.training.tasks.pictures import sines, waves


class Watched(np.ndarray):
    """Counts the pixels of the largest part that was read at once."""

    largest = 0

    def __getitem__(self, key):
        part = super().__getitem__(key)
        if isinstance(key, tuple) and part.ndim == 3:
            Watched.largest = max(Watched.largest, part.shape[0] * part.shape[1])
        return part


def test_no_more_than_a_few_tiles_are_held():
    levels = (waves(96, 128) * 65535).astype(np.uint16)
    image = tiled(levels.view(Watched), 8)
    samples = TileSamples(image, 1.0, torch.Generator().manual_seed(0))
    field, seen, held = sines(96, 128), set(), 0
    for _ in range(4 * len(image)):
        samples.loss(field, 16)
        held = max(held, samples.held)
        seen |= {tuple(places[0].tolist()) for places, _ in samples._pool}
    assert len(seen) == len(image) == 192
    assert held <= POOL * 64
    assert Watched.largest <= 64


def test_a_picture_of_sixteen_bits_by_its_tiles(tmp_path, monkeypatch):
    levels = (waves(24, 32) * 65535).astype(np.uint16)
    image = tiled(levels, 8)
    fitted = fit(image, sines(24, 32), steps=120)
    assert fitted.metrics["psnr"] > 26
    assert (fitted.metrics["value_range"], fitted.metrics["scored_samples"]) == (1.0, 768)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1535))
        with pytest.raises(ResourceError, match=r"would take 0\.0 GiB, but 0\.0 GiB are free; give another --output"):
            write_tiles(fitted, image, tmp_path / "a.npy", print)
    assert not list(tmp_path.glob("*.npy"))
    write_tiles(fitted, image, tmp_path / "a.npy", print)
    found = np.load(tmp_path / "a.npy")
    assert (found.dtype, found.shape) == (np.uint16, (24, 32, 1))
    error = np.square((found.astype(float) - levels) / 65535).mean()
    assert abs(fitted.metrics["psnr"] + 10 * np.log10(error)) < 0.01
