"""Composited features against sums by hand, and what they teach a black wall that colours don't."""

import math

import pytest
import torch

from onefield.fields.analytic import SphereField
from onefield.losses.feature_color import feature_color, feature_color_term
from onefield.losses.term import Evidence
from onefield.types import RaySamples, Rendering

SAMPLES = RaySamples(
    torch.tensor([0, 0, 2]), torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 2.0, 1.0]), torch.tensor([0, 2, 2, 3])
)


def evidence(weights, colors, target, opacity=None):
    rendering = Rendering(target, None, weights.new_ones(3), samples=SAMPLES, weights=weights, colors=colors)
    return Evidence(target, target, SphereField(), rendering, target_opacity=opacity)


def test_features_are_summed_before_they_are_decoded():
    colors = torch.tensor([[0.2, 0.5, 0.9], [0.6, 0.5, 0.1], [0.3, 0.3, 0.3]], dtype=torch.float64)
    weights = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    found = feature_color(weights, colors, SAMPLES)
    odds = (0.2 / 0.8) ** 0.25 * (0.6 / 0.4) ** 0.5
    assert found[0, 0].item() == pytest.approx(odds / (1 + odds))
    # a ray that meets nothing is grey, and one sample alone keeps its colour
    torch.testing.assert_close(found[1:], torch.tensor([[0.5] * 3, [0.3] * 3], dtype=torch.float64))
    weights.requires_grad_(True)
    colors.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda w, c: feature_color(w, c, SAMPLES), (weights, colors))


def test_a_black_sample_tells_its_weight_what_it_should_be():
    weights = torch.tensor([0.5, 0.0, 1.0], requires_grad=True)
    colors = torch.full((3, 3), 1e-3)
    black = torch.full((3, 3), 1e-3)
    feature_color_term().evaluate(evidence(weights, colors, black)).backward()
    decoded = 1 / (1 + math.exp(-0.5 * math.log(1e-3 / 0.999)))
    slope = decoded * (1 - decoded) * math.log(1e-3 / 0.999) / 3
    assert weights.grad[0].item() == pytest.approx(slope, rel=1e-4)
    # by the colour itself it would be a thousandth of a third
    assert abs(slope) > 100 * 1e-3 / 3


def test_with_alpha_only_filled_pixels_count():
    colors = torch.full((3, 3), 0.25)
    weights = torch.tensor([1.0, 0.0, 1.0])
    target = torch.tensor([[0.5] * 3, [0.9] * 3, [0.9] * 3])
    loss = feature_color_term().evaluate(evidence(weights, colors, target, torch.tensor([1.0, 0.0, 0.99])))
    assert loss.item() == pytest.approx(0.25)
    nothing = Evidence(target, target, SphereField())
    assert feature_color_term().evaluate(nothing) == 0
