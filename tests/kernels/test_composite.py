"""Compositing against closed forms, a loop in plain Python, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.composite import composite, rendering_weights


def packed(counts: list[int], dtype=torch.float32, channels: int = 3, scale: float = 4.0):
    """Random densities, colours and touching intervals for rays of the given lengths."""
    total = sum(counts)
    lengths = torch.rand(total, dtype=dtype) * 0.2 + 0.02
    offsets = torch.tensor([0, *counts]).cumsum(0)
    running = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    starts = running[:-1] - torch.repeat_interleave(running[offsets[:-1]], torch.tensor(counts)) + 0.5
    densities, colors = torch.rand(total, dtype=dtype) * scale, torch.rand(total, channels, dtype=dtype)
    return densities, colors, starts, starts + lengths, offsets


COUNTS = [5, 0, 17, 1, 64, 0, 3]


def loop(densities, colors, starts, ends, offsets, early_stop):
    weights = [0.0] * len(densities)
    color, depth, opacity = [], [], []
    for r in range(len(offsets) - 1):
        transmittance, c, d, o = 1.0, [0.0] * colors.shape[1], 0.0, 0.0
        for i in range(int(offsets[r]), int(offsets[r + 1])):
            if transmittance < early_stop:
                break
            alpha = 1 - math.exp(-float(densities[i]) * float(ends[i] - starts[i]))
            weights[i] = w = transmittance * alpha
            transmittance *= 1 - alpha
            c = [a + w * float(b) for a, b in zip(c, colors[i], strict=True)]
            d += w * float(starts[i] + ends[i]) / 2
            o += w
        color.append(c)
        depth.append(d)
        opacity.append(o)
    return weights, color, depth, opacity


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_values_are_those_of_a_plain_loop(mode, channels):
    inputs = packed(COUNTS, channels=channels, scale=30.0)
    with use(mode):
        found = composite(*inputs, early_stop=0.05)
        alone = rendering_weights(inputs[0], *inputs[2:], early_stop=0.05)
    for value, truth in zip(found, loop(*inputs, 0.05), strict=True):
        torch.testing.assert_close(value, torch.tensor(truth), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(alone, found.weights, atol=1e-7, rtol=0)
    assert int((found.weights == 0).sum()) > 10


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("solid", [1e9, math.inf])
def test_a_solid_sample_gets_what_the_fog_before_it_lets_through(mode, solid):
    with use(mode):
        starts = torch.arange(3.0)
        weights = rendering_weights(torch.tensor([2.0, solid, 1.0]), starts, starts + 1, torch.tensor([0, 3]), 0.0)
    torch.testing.assert_close(weights, torch.tensor([1 - math.exp(-2), math.exp(-2), 0.0]))


def test_constant_density_is_a_homogeneous_slab():
    edges = torch.linspace(1.0, 3.0, 33)
    offsets = torch.tensor([0, 32])
    result = composite(torch.full((32,), 0.7), torch.ones(32, 1), edges[:-1], edges[1:], offsets, early_stop=0.0)
    assert result.opacity.item() == pytest.approx(1 - math.exp(-0.7 * 2), abs=1e-6)
    torch.testing.assert_close(result.weights, torch.exp(-0.7 * (edges[:-1] - 1)) - torch.exp(-0.7 * (edges[1:] - 1)))
    # integral of t sigma exp(-sigma (t - 1)) over the slab
    truth = (1 + 1 / 0.7) - (3 + 1 / 0.7) * math.exp(-1.4)
    assert result.depth.item() == pytest.approx(truth, abs=1e-3)


def test_gradients_match_finite_differences():
    densities, colors, *rest = packed([3, 0, 6], dtype=torch.float64)
    inputs = densities.requires_grad_(True), colors.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda d, c: tuple(composite(d, c, *rest, early_stop=0.0)), inputs)


@pytest.mark.parametrize("used", [(0,), (1,), (2, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("early_stop", [0.0, 0.05])
def test_kernel_gradients_match_the_reference(used, early_stop):
    densities, colors, *rest = packed(COUNTS, scale=20.0)
    cotangents = None
    answers = []
    for mode in ("fast", "reference"):
        leaves = densities.clone().requires_grad_(True), colors.clone().requires_grad_(True)
        with use(mode):
            outputs = [composite(*leaves, *rest, early_stop)[k] for k in used]
        cotangents = cotangents or [torch.randn_like(output) for output in outputs]
        gradients = torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True)
        answers.append([torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)])
    for fast, reference in zip(*answers, strict=True):
        torch.testing.assert_close(fast, reference, atol=3e-6, rtol=1e-4)


def test_faint_matter_keeps_its_digits():
    starts = torch.zeros(1)
    result = composite(torch.tensor([1e-5]), torch.ones(1, 1), starts, starts + 1e-3, torch.tensor([0, 1]))
    assert result.opacity.item() == pytest.approx(1e-8, rel=1e-4)


def test_not_a_number_is_not_hidden():
    inputs = packed([4, 4])
    inputs[0][5] = math.nan
    result = composite(*inputs)
    assert torch.isfinite(result.color[0]).all()
    assert torch.isnan(result.color[1]).all()


def test_no_samples_at_all():
    empty = torch.zeros(0, requires_grad=True)
    result = composite(empty, torch.zeros(0, 3), torch.zeros(0), torch.zeros(0), torch.zeros(3, dtype=torch.int64))
    assert result.color.tolist() == [[0, 0, 0], [0, 0, 0]]
    result.color.sum().backward()
    with use("reference"):
        composite(empty, torch.zeros(0, 3), torch.zeros(0), torch.zeros(0), torch.zeros(3, dtype=torch.int64))


def test_operator_contracts_hold():
    densities, colors, *rest = packed([3, 0, 5])
    from onefield.kernels.composite import composite_operation

    torch.library.opcheck(
        composite_operation._operator,
        (densities.requires_grad_(True), colors.requires_grad_(True), *rest, 1e-4),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
