"""Asking along rays, against a loop over samples."""

import math

import pytest
import torch

from onefield.renderers.front_to_back import FIRST, TAIL, ask_front_to_back
from onefield.types import RaySamples


def rays_of(counts, length=0.1):
    counts = torch.tensor(counts, dtype=torch.int64)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    place = torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(counts)
    starts = place * length
    return RaySamples(torch.repeat_interleave(counts), starts, starts + length, offsets)


def asked_of(samples, densities, darkest):
    """How often each sample was asked, the numbers of each round, and the answer."""
    times, rounds = torch.zeros(len(samples), dtype=torch.int64), []

    def ask(numbers):
        times[numbers] += 1
        rounds.append(numbers)
        return densities[numbers]

    return times, rounds, ask_front_to_back(samples, ask, darkest)


@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0])
def test_all_that_light_reaches_is_asked_once_and_little_else(scale):
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 300, (400,), generator=generator).tolist()
    samples = rays_of(counts)
    densities = torch.rand(len(samples), generator=generator) ** 4 * scale
    times, rounds, asked = asked_of(samples, densities, 1e-3)
    assert asked == int(times.sum())
    assert int(times.max()) == 1
    needed = 0
    for ray, count in enumerate(counts):
        first = int(samples.offsets[ray])
        thickness = 0.0
        for number in range(first, first + count):
            if thickness > -math.log(1e-3):
                break
            assert times[number] == 1
            thickness += float(densities[number]) * 0.1
            needed += 1
    assert asked <= 2 * needed + FIRST * len(counts) + TAIL
    assert all(bool((numbers.diff() > 0).all()) for numbers in rounds)


def test_nothing_behind_a_wall_is_asked():
    samples = rays_of([200] * 1000)
    densities = torch.where(samples.starts > 1.0, 1e4, 0.0)
    times, _, asked = asked_of(samples, densities, 1e-4)
    assert asked == 1000 * FIRST
    assert int(times.reshape(1000, 200)[:, FIRST:].sum()) == 0


def test_what_is_no_number_hides_nothing():
    samples = rays_of([200] * 1000)
    densities = torch.full((len(samples),), math.nan)
    assert asked_of(samples, densities, 1e-4)[2] == len(samples)


def test_few_samples_are_asked_in_one_round():
    samples = rays_of([3, 0, 500])
    times, rounds, _ = asked_of(samples, torch.zeros(len(samples)), 1e-4)
    assert len(rounds) == 1
    assert bool((times == 1).all())


def test_no_samples():
    assert asked_of(rays_of([0, 0]), torch.zeros(0), 1e-4)[2] == 0
    assert asked_of(rays_of([]), torch.zeros(0), 1e-4)[2] == 0
