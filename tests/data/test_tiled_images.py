import numpy as np
import pytest
import tifffile
import torch

from onefield.data.signals import signal_of
from onefield.data.tiled_images import open_tiled, tiled
from onefield.errors import DataError, UsageError


def test_tiles_are_parts_of_the_signal(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 10, 3)).astype(np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    image, signal = open_tiled(tmp_path / "a.npy", tile=4), signal_of(pixels, "image")
    assert (len(image), image.shape, image.channels) == (6, (7, 10), 3)
    seen = []
    for index in range(6):
        places, values = image.read(index)
        assert len(places) <= 16
        flat = places[:, 0] * 10 + places[:, 1]
        torch.testing.assert_close(image.points(places), signal.points(flat))
        torch.testing.assert_close(values, signal.at(flat))
        seen += flat.tolist()
    assert sorted(seen) == list(range(70))
    assert (image.domain, image.value_range) == (signal.domain, signal.value_range)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.float32])
def test_all_depths_come_back_digit_by_digit(tmp_path, dtype):
    pixels = (np.random.default_rng(0).random((5, 6)) * (1.5 if dtype == np.bool_ else 60000)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels.astype(np.uint8) if dtype == np.bool_ else pixels)
    mapped = open_tiled(tmp_path / "a.tif", tile=8)
    image = tiled(pixels, 8) if dtype == np.bool_ else mapped
    _, values = image.read(0)
    assert np.array_equal(image.in_file_unit(values)[:, 0], pixels.ravel())
    assert image.value_range == (1.0 if dtype != np.float32 else pixels.max() - pixels.min())


def test_what_can_not_be_read_by_tiles(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_tiled(tmp_path / "none.npy")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="convert it to TIFF without compression"):
        open_tiled(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "packed.tif", np.zeros((64, 64), np.uint8), compression="zlib")
    for name in ("packed.tif", "bad.tif", "bad.npy"):
        if name.startswith("bad"):
            (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(DataError, match=f"{name} can't be mapped"):
            open_tiled(tmp_path / name)
    for wrong, words in (
        (np.zeros(5), "no picture"),
        (np.zeros((0, 4)), "no picture"),
        (np.full((2, 2), np.nan), "no fin"),
    ):
        with pytest.raises(DataError, match=words):
            tiled(wrong, 4)
    with pytest.raises(DataError, match="infinite values in the tile at row 2, column 0"):
        tiled(np.array([[0.0, 1], [0, 1], [np.inf, 1]]), 2).read(1)
    with pytest.raises(UsageError, match="positive side"):
        open_tiled(tmp_path / "a.png", tile=0)
