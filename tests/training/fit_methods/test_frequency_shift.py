"""The band of a field from the spectrum of its target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.training.fit_methods.frequency_shift import FrequencyShift, spectral_distance, spectrum
from onefield.training.recipes import initial_field, recipe_for, target_of


def noise(turns, rows=40, columns=40):
    """White up to so many turns across the domain along each axis."""
    frequencies = [np.abs(np.fft.fftfreq(side) * side) for side in (rows, columns)]
    kept = (frequencies[0][:, None] <= turns) & (frequencies[1] <= turns)
    white = np.fft.fft2(np.random.default_rng(0).standard_normal((rows, columns)))
    return signal_of(np.fft.ifft2(white * kept).real.astype(np.float32), "image")


def small(signal):
    recipe = recipe_for("siren", signal)
    return replace(recipe, options=recipe.options | {"width": 32, "hidden_layers": 2})


def test_a_wave_stands_at_the_sum_of_its_turns():
    across, down = np.meshgrid(np.arange(24) / 24, np.arange(18) / 18, indexing="ij")
    wave = torch.tensor(0.7 + np.cos(2 * np.pi * (3 * across - 4 * down)))[..., None]
    shares = spectrum(wave, (24, 18), 12)
    assert shares.sum().item() == pytest.approx(1)
    assert shares[3 + 4 - 1].item() == pytest.approx(1, abs=1e-9)
    # a grid of 6 along the second axis can't hold four turns
    doubled = wave + torch.tensor(np.cos(2 * np.pi * 2 * across))[..., None]
    assert spectrum(doubled, (24, 6), 12)[1].item() == pytest.approx(1, abs=1e-9)


def test_the_candidate_nearest_by_an_independent_distance_is_chosen():
    signal = noise(6)
    recipe, target, multiples = small(signal), target_of(signal), (0.3, 1.0, 3.0)
    chosen = FrequencyShift(multiples, draws=2).adapt(recipe, signal, target, seed=4)
    wanted = counted(signal.values[..., 0].numpy())
    means = []
    for multiple in multiples:
        candidate = replace(recipe, options=recipe.options | {"first_w0": 30.0 * multiple})
        distances = []
        for seed in (4, 5):
            with torch.no_grad():
                field = initial_field(candidate, target, seed)
                values = field.query(signal.points(torch.arange(1600)), want=("value",)).value
            turns = np.arange(1, 21)
            distances.append(wasserstein_distance(turns, turns, counted(values.reshape(40, 40).numpy()), wanted))
        means.append(np.mean(distances))
    assert chosen.options["first_w0"] == pytest.approx(30.0 * multiples[int(np.argmin(means))])
    first, second = torch.rand(2, 9, dtype=torch.float64)
    expected = wasserstein_distance(np.arange(9), np.arange(9), first.numpy(), second.numpy())
    assert spectral_distance(first / first.sum(), second / second.sum()) == pytest.approx(expected)


def counted(image):
    """Magnitudes by the sum of turns, one entry after the other."""
    magnitudes, found = np.abs(np.fft.fft2(image)), np.zeros(20)
    for j in range(40):
        for i in range(40):
            down, across = min(j, 40 - j), min(i, 40 - i)
            if 0 < down + across <= 20 and max(down, across) <= 19:
                found[down + across - 1] += magnitudes[j, i]
    return found


def test_finer_noise_gets_higher_frequencies():
    chosen = []
    for turns in (1, 4, 10):
        signal = noise(turns)
        shifted = FrequencyShift((0.2, 0.5, 1, 2, 4), draws=2).adapt(small(signal), signal, target_of(signal), 0)
        chosen.append(shifted.options["first_w0"])
    assert chosen == sorted(chosen)
    assert chosen[0] < chosen[-1]


def test_what_has_no_frequency_or_spectrum():
    signal = noise(3)
    with pytest.raises(UsageError, match="'hash' has none"):
        FrequencyShift().adapt(recipe_for("hash", signal), signal, target_of(signal), 0)
    flat = signal_of(np.full((6, 7), 0.4), "image")
    assert FrequencyShift().adapt(small(flat), flat, target_of(flat), 0) == small(flat)
