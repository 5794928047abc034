from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.training.fit import fit
from onefield.training.fit_files import write_fit
from onefield.training.fitted import load_fitted
from onefield.training.recipes import recipe_for

NOISE = 0.1


def noisy_waves(unknown):
    """A closed form, with normal noise."""
    y, x = np.mgrid[0:48, 0:64] / 64
    clean = np.stack([np.sin(9 * x + 2) * np.cos(7 * y), np.exp(-8 * ((x - 0.5) ** 2 + (y - 0.4) ** 2))], -1)
    values = clean + NOISE * np.random.default_rng(1).standard_normal(clean.shape)
    return values, signal_of(np.where(unknown[..., None], np.nan, values).astype(np.float32), "image")


def small_recipe(signal):
    recipe = recipe_for("bayesian-tucker", signal)
    return replace(recipe, options=recipe.options | {"rank": 8, "modes": 12, "width": 32})


def test_intervals_hold_the_samples_that_were_never_seen(tmp_path):
    hole = np.zeros((48, 64), dtype=bool)
    hole[16:28, 24:40] = True
    unknown = np.random.default_rng(0).random((48, 64)) < 0.2
    values, signal = noisy_waves(unknown | hole)
    fitted = fit(signal, small_recipe(signal), steps=120, seed=3)
    deviation = fitted.deviations()
    assert deviation.shape == (48, 64, 2)
    within = ((fitted.reconstruction() - torch.from_numpy(values)).abs() < 1.96 * deviation).double()
    share = within[torch.from_numpy(unknown & ~hole)].mean(0)
    assert ((share > 0.88) & (share < 0.99)).all()
    assert (within[torch.from_numpy(hole)].mean(0) > 0.88).all()
    assert fitted.metrics["noise"] == pytest.approx(NOISE, rel=0.3)
    write_fit(fitted, tmp_path, signal)
    np.testing.assert_array_equal(np.load(tmp_path / "deviation.npy"), deviation.numpy())
    opened = load_fitted(tmp_path / "field.safetensors")
    point = torch.tensor([0.3, 0.4])
    assert torch.equal(opened.deviation(point), fitted.deviation(point))


def test_a_hole_is_less_sure_and_a_seed_repeats_the_fit():
    unknown = np.zeros((48, 64), dtype=bool)
    unknown[:, 44:] = True
    _, signal = noisy_waves(unknown)
    first, again, other = (fit(signal, small_recipe(signal), steps=40, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.deviations(), again.deviations())
    assert not torch.equal(first.deviations(), other.deviations())
    of_values = (first.deviations().square() - first.field.noise.square()).mean((0, 2))
    assert of_values[44:].mean() > 1.3 * of_values[:40].mean()


def test_what_leaves_a_posterior_open_is_refused():
    _, signal = noisy_waves(np.zeros((48, 64), dtype=bool))
    with pytest.raises(UsageError, match="The task 'denoise' would leave the posterior"):
        fit(signal, "bayesian-tucker", task="denoise", steps=1)
    with pytest.raises(UsageError, match="asked for 'deviation'"):
        fit(signal, "functional-tucker", steps=1).deviation(torch.zeros(1, 2))
