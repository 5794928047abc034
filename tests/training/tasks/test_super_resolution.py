import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import DataError, UsageError
from onefield.training.fit import fit
from onefield.training.tasks.super_resolution import AreaMeans, SuperResolution, block_means
from tests.training.tasks.pictures import sines, waves


def test_the_mean_over_a_pixel_is_that_of_a_finer_grid():
    field, fine = sines(4, 6), signal_of(np.zeros((12, 18)), "image")
    values = field.query(fine.points(torch.arange(12 * 18)), want=("value",)).value
    coarse = signal_of(np.zeros((4, 6)), "image")
    means = AreaMeans(coarse, 3, 1.0, torch.Generator()).means(field, torch.arange(24))
    torch.testing.assert_close(means, block_means(values.reshape(12, 18, 1), 3).reshape(24, 1))


def test_a_finer_picture_than_was_given():
    truth = waves(16, 24)
    coarse = signal_of(block_means(torch.tensor(truth), 2).numpy(), "image")
    fitted = fit(coarse, sines(8, 12), steps=150, task=SuperResolution(2, truth))
    assert fitted.reconstruction().shape == (16, 24, 1)
    # each pixel four times would give this
    again = np.repeat(np.repeat(coarse.values.numpy(), 2, 0), 2, 1)
    assert fitted.metrics["psnr"] > 2 + 10 * np.log10(coarse.value_range**2 / np.square(again - truth).mean())
    assert fitted.metrics["baseline_psnr"] > 25


def test_what_does_not_fit_is_said():
    signal = signal_of(waves(6, 6), "image")
    with pytest.raises(UsageError, match="whole factor of 2 or more, got 1"):
        fit(signal, task=SuperResolution(1))
    with pytest.raises(DataError, match=r"truth has shape \(6, 6, 1\), but the answer has \(12, 12, 1\)"):
        fit(signal, task=SuperResolution(2, waves(6, 6)))
    with pytest.raises(DataError, match="do not fill a grid"):
        block_means(torch.zeros(5, 4, 1), 2)
