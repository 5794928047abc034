"""Codes that are gradients, against the closed form of a linear decoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import DataError, UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.mlp import Mlp
from onefield.training.gradient_origin import (
    learn_gradient_origin,
    load_gradient_origin,
    origin_codes,
    squared_errors,
)
from onefield.training.recipes import recipe_for
from onefield.types import Bounds


def test_codes_of_a_linear_decoder_are_the_exact_gradient_and_can_be_differentiated():
    """``f(x, z) = a x + u z + b``: the code is ``2 sum_n u^T (y_n - a x_n - b)``."""
    torch.manual_seed(0)
    linear = Mlp(5, 2, hidden_layers=0)
    torch.nn.init.normal_(linear.biases[0])
    field = ComposedField(Bounds.cube(1.0, 5), IdentityEncoding(5), linear, [ValueHead()])
    points, values = torch.rand(7, 2) * 2 - 1, torch.randn(3, 7, 2)
    weight, bias = linear.weights[0].detach(), linear.biases[0].detach()
    rest = values - points @ weight[:, :2].T - bias
    expected = 2 * (rest @ weight[:, 2:]).sum(1)
    codes = origin_codes(field, points, values, 3)
    torch.testing.assert_close(codes, expected, rtol=1e-4, atol=1e-5)
    # the derivative of a code by the bias: -2 n u^T
    (slope,) = torch.autograd.grad(codes[0, 1], linear.biases[0])
    torch.testing.assert_close(slope, -2 * 7 * weight[:, 3], rtol=1e-4, atol=1e-5)
    answer = points @ weight[:, :2].T + bias + (codes @ weight[:, 2:].T)[:, None]
    torch.testing.assert_close(
        squared_errors(field, points, values, codes), (answer - values).square().sum((1, 2)), rtol=1e-4, atol=1e-4
    )


def blobs(count=6, size=8):
    down, across = np.mgrid[0:size, 0:size] / size
    centres = np.random.default_rng(0).uniform(0.2, 0.8, (count, 2))
    images = [np.exp(-((down - y) ** 2 + (across - x) ** 2) / 0.05) for y, x in centres]
    return [signal_of(image.astype(np.float32), "image") for image in images]


def test_a_set_of_signals_is_learned_and_kept_in_a_file(tmp_path):
    signals = blobs()
    recipe = recipe_for("siren", signals[0])
    recipe = replace(recipe, options=recipe.options | {"width": 24, "hidden_layers": 2})
    decoder = learn_gradient_origin(signals, recipe, code=6, steps=80, rate=2e-3)
    decoder.save(tmp_path / "set.safetensors")
    again = load_gradient_origin(tmp_path / "set.safetensors")
    mean = torch.stack([signal.values for signal in signals]).mean(0)
    for signal in signals[:3]:
        answer = again.values_of(again.code_of(signal))
        assert (answer - signal.values).square().mean() < 0.5 * (mean - signal.values).square().mean()
        torch.testing.assert_close(answer, decoder.values_of(decoder.code_of(signal)))
    drawn = decoder.drawn(20_000)
    torch.testing.assert_close(drawn.mean(0), decoder.mean, atol=float(drawn.std() * 0.05), rtol=0)
    scale = float(decoder.covariance.abs().max())
    torch.testing.assert_close(torch.cov(drawn.T), decoder.covariance, atol=0.05 * scale, rtol=0)
    with pytest.raises(UsageError, match="signals of shape"):
        decoder.code_of(signal_of(np.zeros((3, 4)), "image"))


def test_bad_input_is_named(tmp_path):
    with pytest.raises(UsageError, match="all of one shape"):
        learn_gradient_origin([*blobs(1), signal_of(np.zeros((3, 4)), "image")])
    with pytest.raises(UsageError, match="without unknown samples"):
        learn_gradient_origin([signal_of(np.array([[0.0, np.nan]]), "image")])
    with pytest.raises(UsageError, match="positive sizes"):
        learn_gradient_origin(blobs(1), steps=0)
    with pytest.raises(DataError, match="does not exist"):
        load_gradient_origin(tmp_path / "none.safetensors")
