import math

import numpy as np
import pytest
import torch

from onefield.data.signals import Signal
from onefield.data.synthetic_signals import (
    SYNTHETIC_SIGNALS,
    TORUS_RADII,
    balls,
    band_limited_noise,
    cells,
    cutoff,
    phantom,
    sierpinski,
    star,
    synthetic_signal,
    torus,
    torus_distance,
)
from onefield.errors import UsageError

# Of balls so far apart that the samples tell them apart too.
SEED_WITHOUT_TOUCH = 5


def array(signal):
    return signal.values[..., 0].double().numpy()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_noise_has_its_energy_within_the_band_and_fills_it(axes):
    side = 32
    noise = array(band_limited_noise(side, axes, 0.5, seed=3))
    power = np.abs(np.fft.fftn(noise - noise.mean())) ** 2
    length = np.sqrt(sum(part**2 for part in np.meshgrid(*[np.fft.fftfreq(side, 1 / side)] * axes, indexing="ij")))
    outside = length > cutoff(side, 0.5)
    # float32 samples
    assert power[outside].sum() < 1e-10 * power.sum()
    assert (power[~outside & (length > 0)] > 1e-7 * power.sum()).all()
    assert noise.mean() == pytest.approx(0.5, abs=1e-6)
    assert noise.std() == pytest.approx(1 / 8, rel=1e-6)


def test_a_star_changes_twice_a_wedge_along_any_circle():
    signal = array(star(400, wedges=12))
    for radius in (0.3, 0.45):
        angles = (np.arange(20_000) + 0.5) / 20_000 * 2 * math.pi
        column = ((0.5 + radius * np.cos(angles)) * 400).astype(int)
        row = ((0.5 + radius * np.sin(angles)) * 400).astype(int)
        along = without_single_pixels(signal[row, column])
        assert (along != np.roll(along, 1)).sum() == 24
    assert signal.mean() == pytest.approx(math.pi / 8, abs=3e-3)
    # the first wedge begins on the x axis and goes towards larger rows
    assert signal[205, 380] == 1
    assert signal[195, 380] == 0


def without_single_pixels(values):
    """Without the steps of single pixels at the wedges' edges."""
    width = 61
    kernel = np.ones(width) / width
    return np.convolve(np.concatenate([values[-width:], values, values[:width]]), kernel, "same")[width:-width] > 0.5


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_sierpinski_fills_three_quarters_of_the_last_depth(depth):
    triangle = array(sierpinski(512, depth))
    assert triangle.mean() == pytest.approx(0.5 * 0.75**depth, abs=2e-3 * (depth + 1))
    assert triangle[5].sum() < 10 < 400 < triangle[-1].sum()
    # the middle triangle is the first that goes
    assert triangle[340, 256] == (depth == 0)


@pytest.mark.parametrize(("axes", "side"), [(2, 300), (3, 64)])
def test_balls_fill_what_they_say_and_do_not_overlap(axes, side):
    from scipy.ndimage import label

    radius = 1 / (4 * cutoff(side, 0.3))
    one = {2: math.pi * radius**2, 3: 4 / 3 * math.pi * radius**3}[axes]
    count = round(0.1 / one)
    found = array(balls(side, axes, 0.3, seed=SEED_WITHOUT_TOUCH))
    assert found.mean() == pytest.approx(count * one, rel=0.03)
    assert label(found)[1] == count


def test_cells_take_the_value_of_the_nearest_centre():
    found = array(cells(40, 2, 0.4, seed=5))
    count = round((2 * cutoff(40, 0.4)) ** 2)
    generator = np.random.default_rng(5)
    centers, values = generator.uniform(size=(count, 2)), generator.uniform(size=count)
    for row, column in ((0, 0), (7, 31), (39, 20)):
        place = np.array([column + 0.5, row + 0.5]) / 40
        assert found[row, column] == pytest.approx(values[((centers - place) ** 2).sum(1).argmin()])


def test_the_phantom_has_the_sum_of_its_ellipses():
    head = array(phantom(400))
    # skull, brain, one of the ventricles and the upper tumour, in the published frame with y up
    for x, y, value in ((0, 0.9, 1.0), (0, 0.7, 0.2), (0.22, 0.0, 0.0), (0, 0.4, 0.3), (0.95, 0.95, 0.0)):
        assert head[round((1 - y) / 2 * 400 - 0.5), round((1 + x) / 2 * 400 - 0.5)] == pytest.approx(value, abs=1e-6)
    area = sum(
        value * a * b * math.pi
        for value, a, b in ((1, 0.69, 0.92), (-0.8, 0.6624, 0.874), (-0.2, 0.11, 0.31), (-0.2, 0.16, 0.41))
    )
    small = 0.1 * math.pi * (0.21 * 0.25 + 2 * 0.046**2 + 0.046 * 0.023 * 2 + 0.023**2)
    assert 4 * head.mean() == pytest.approx(area + small, abs=5e-3)


def test_the_torus_has_its_volume_and_unit_slopes():
    ring, tube = TORUS_RADII
    assert array(torus(64)).mean() == pytest.approx(2 * math.pi**2 * ring * tube**2, rel=5e-3)
    distance = array(torus_distance(64)) - 0.5
    slopes = np.sqrt(sum(part**2 for part in np.gradient(distance, 1 / 64)))
    assert np.median(slopes) == pytest.approx(1, abs=1e-3)
    assert ((distance <= 0) == (array(torus(64)) == 1)).all()


@pytest.mark.parametrize("name", SYNTHETIC_SIGNALS)
def test_every_signal_is_seeded_and_within_its_range(name):
    family = SYNTHETIC_SIGNALS[name]
    signal = synthetic_signal(name, 16, 0.4, seed=2)
    assert isinstance(signal, Signal)
    assert signal.shape == (16,) * family.axes
    assert signal.value_range == 1
    # noise alone may leave the range, four deviations off
    assert -0.1 < signal.values.min() < signal.values.max() < 1.1
    assert torch.equal(signal.values, synthetic_signal(name, 16, 0.4, seed=2).values)
    assert torch.equal(signal.values, synthetic_signal(name, 16, 0.9, seed=2).values) != family.banded


def test_bad_wishes_are_named():
    for wish, words in (
        (lambda: synthetic_signal("stra", 16), "'star'"),
        (lambda: synthetic_signal("noise", 16, 1.5), "1.5"),
        (lambda: synthetic_signal("noise", 2), "got 2"),
        (lambda: star(16, 0), "wedge"),
        (lambda: sierpinski(16, -1), "depth"),
    ):
        with pytest.raises(UsageError, match=words):
            wish()
