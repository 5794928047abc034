"""Fourier encodings against their formulas."""

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.encodings import FourierEncoding, GaussianFourierEncoding


def test_positional_encoding_matches_the_formula():
    encoding = FourierEncoding(dimension=2, frequencies=3)
    point = [0.3, 0.8]
    expected = [2 * x - 1 for x in point]
    expected += [math.sin(2**k * math.pi * x) for k in range(3) for x in point]
    expected += [math.cos(2**k * math.pi * x) for k in range(3) for x in point]
    torch.testing.assert_close(encoding(torch.tensor([point]))[0], torch.tensor(expected))
    assert encoding.output_dimension == len(expected)


def test_without_input_opposite_faces_differ():
    encoding = FourierEncoding(dimension=1, frequencies=1, include_input=False)
    low, high = encoding(torch.tensor([[0.0], [1.0]]))
    assert encoding.output_dimension == 2
    assert (low - high).abs().max() > 1


def test_gaussian_kernel_is_stationary_and_has_the_right_width():
    """The features' inner product approaches exp(-2 (pi scale distance)^2), the spectrum's transform."""
    encoding = GaussianFourierEncoding(dimension=2, features=20_000, scale=1.5, seed=3)
    points = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    features = encoding(points)
    kernel = features @ features.T / 10_000
    distance = torch.cdist(points, points)
    torch.testing.assert_close(kernel, torch.exp(-2 * (math.pi * 1.5 * distance) ** 2), rtol=0, atol=0.03)


def test_seed_chooses_the_frequencies_and_they_are_saved():
    first, same, other = (GaussianFourierEncoding(3, 8, 2.0, seed) for seed in (1, 1, 2))
    assert torch.equal(first.frequencies, same.frequencies)
    assert not torch.equal(first.frequencies, other.frequencies)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.frequencies, other.frequencies)
    assert not list(first.parameters())


def test_meaningless_arguments_are_refused():
    with pytest.raises(UsageError, match="0"):
        FourierEncoding(frequencies=0)
    with pytest.raises(UsageError, match="7"):
        GaussianFourierEncoding(features=7)
    with pytest.raises(UsageError, match="-1"):
        GaussianFourierEncoding(scale=-1.0)
