"""The distortion loss against its double sum, and its gradient against finite differences."""

from __future__ import annotations

import itertools

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.distortion import distortion


def packed(counts: list[int], dtype=torch.float32):
    total = sum(counts)
    lengths = torch.rand(total, dtype=dtype) * 0.1
    offsets = torch.tensor([0, *counts]).cumsum(0)
    running = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    starts = running[:-1] - torch.repeat_interleave(running[offsets[:-1]], torch.tensor(counts))
    return torch.rand(total, dtype=dtype) / 8, starts, starts + lengths, offsets


def double_sum(weights, starts, ends, offsets):
    losses = []
    for low, high in itertools.pairwise(offsets):
        w, s, e = weights[low:high], starts[low:high], ends[low:high]
        m = (s + e) / 2
        losses.append((w[:, None] * w * (m[:, None] - m).abs()).sum() + (w.square() * (e - s)).sum() / 3)
    return torch.stack(losses)


COUNTS = torch.randint(0, 40, (1000,), generator=torch.Generator().manual_seed(3)).tolist()


def test_equals_the_double_sum():
    inputs = packed(COUNTS, torch.float64)
    torch.testing.assert_close(distortion(*inputs), double_sum(*inputs), atol=1e-6, rtol=0)


def test_kernel_equals_the_reference_in_value_and_gradient():
    weights, *rest = packed(COUNTS)
    cotangent = torch.randn(len(COUNTS))
    answers = []
    for mode in ("fast", "reference"):
        leaf = weights.clone().requires_grad_(True)
        with use(mode):
            loss = distortion(leaf, *rest)
        answers.append((loss.detach(), torch.autograd.grad(loss, leaf, cotangent)[0]))
    torch.testing.assert_close(answers[0][0], double_sum(weights, *rest), atol=1e-6, rtol=1e-5)
    for fast, reference in zip(*answers, strict=True):
        torch.testing.assert_close(fast, reference, atol=1e-6, rtol=1e-5)


def test_gradient_matches_finite_differences():
    weights, *rest = packed([4, 0, 7], torch.float64)
    assert torch.autograd.gradcheck(lambda w: distortion(w, *rest), weights.requires_grad_(True))


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_one_thin_interval_is_not_distorted(mode):
    starts, weights = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.0, 1.0, 0.0])
    with use(mode):
        loss = distortion(weights, starts, starts + 1e-6, torch.tensor([0, 3, 3]))
    torch.testing.assert_close(loss, torch.zeros(2), atol=1e-6, rtol=0)
