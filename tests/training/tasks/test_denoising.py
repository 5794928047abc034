import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import DataError
from onefield.training.fit import fit
from onefield.training.tasks.denoising import Denoising
from onefield.training.variation import noise_level
from tests.training.tasks.pictures import sines, waves


def noisy(deviation: float) -> np.ndarray:
    return waves(24, 32) + deviation * np.random.default_rng(0).standard_normal((24, 32, 1)).astype(np.float32)


def test_the_answer_is_nearer_to_the_truth_than_the_samples():
    signal = signal_of(noisy(0.15), "image")
    fitted = fit(signal, sines(24, 32), steps=120, task=Denoising(waves(24, 32)))
    assert fitted.metrics["psnr"] > fitted.metrics["baseline_psnr"] + 6
    # held-out samples see the noise, and little more
    assert fitted.metrics["held_out_error"] == pytest.approx(0.15, rel=0.2)


def test_training_goes_back_to_the_best_state():
    problem = Denoising().problem(signal_of(noisy(0.1), "image"), torch.Generator().manual_seed(0))
    field = sines(24, 32)
    problem.evidence.loss(field, 64)
    kept = {name: tensor.clone() for name, tensor in field.state_dict().items()}
    with torch.no_grad():
        field.network.biases[-1].fill_(5.0)  # far worse
    assert problem.finish(field)["kept_step"] == 0
    assert all(torch.equal(kept[name], tensor) for name, tensor in field.state_dict().items())


def test_noise_is_told_from_what_is_smooth():
    assert noise_level(signal_of(noisy(0.1), "image")) == pytest.approx(0.1, rel=0.15)
    assert noise_level(signal_of(waves(24, 32), "image")) < 0.01
    assert noise_level(signal_of(np.ones((1, 2)), "image")) == 0


def test_too_few_samples_are_refused():
    with pytest.raises(DataError, match="20 known samples or more, got 4"):
        fit(np.zeros((2, 2)), task="denoise")
