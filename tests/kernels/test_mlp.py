"""Layers against a plain formulation; sizes that batches are filled up to."""

import itertools

import pytest
import torch
from torch.nn import functional

from onefield.kernels.mlp import bfloat16_products, filled_size, relu_layers


def layers(*sizes):
    generator = torch.Generator().manual_seed(0)
    pairs = list(itertools.pairwise(sizes))
    weights = [torch.randn(o, i, generator=generator).mul_(i**-0.5).requires_grad_() for i, o in pairs]
    biases = [torch.randn(o, generator=generator).mul_(0.1).requires_grad_() for _, o in pairs]
    return weights, biases


def plain(inputs, weights, biases, kind):
    inputs = inputs.to(kind)
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        inputs = inputs @ weight.to(kind).T + bias.to(kind)
        if number + 1 < len(weights):
            inputs = inputs.clamp(min=0)
    return inputs.float()


@pytest.mark.parametrize(("precision", "tolerance"), [("full", 1e-5), ("mixed", 6e-2)])
@pytest.mark.parametrize("rows", [0, 1, 37, 1025])
def test_layers_and_their_gradients_agree_with_the_plain_formulation(precision, tolerance, rows):
    weights, biases = layers(7, 32, 32, 3)
    generator = torch.Generator().manual_seed(1)
    mixed = precision == "mixed" and bfloat16_products("cpu")
    kind = torch.bfloat16 if mixed else torch.float32
    results = []
    for compute in (lambda x: relu_layers(x, weights, biases, precision), lambda x: plain(x, weights, biases, kind)):
        inputs = torch.randn(rows, 7, generator=generator.manual_seed(1)).requires_grad_()
        answer = compute(inputs)
        assert answer.shape == (rows, 3)
        assert answer.dtype == torch.float32
        gradients = torch.autograd.grad(answer.square().sum(), [inputs, *weights, *biases])
        results.append((answer.detach(), *gradients))
    for found, expected in zip(*results, strict=True):
        # of the whole tensor: rounding turns a few units on or off
        error = float((found - expected).norm() / expected.norm().clamp(min=1e-3))
        assert error <= tolerance


def test_second_derivatives_in_double_precision():
    weights, biases = layers(3, 8, 1)
    tensors = [t.detach().double().requires_grad_() for t in (*weights, *biases)]

    def compute(inputs, *parameters):
        return relu_layers(inputs, parameters[:2], parameters[2:]).square()

    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(compute, [inputs, *tensors])


def test_a_layer_without_bias():
    weights, _ = layers(5, 4)
    inputs = torch.randn(9, 5)
    torch.testing.assert_close(relu_layers(inputs, weights, []), functional.linear(inputs, weights[0]))


def test_sizes_are_few_and_waste_little():
    sizes = [filled_size(count) for count in range(1, 2**14 + 1)]
    assert all(count <= size <= max(count * 17 / 16 + 1, count + 31) for count, size in enumerate(sizes, start=1))
    assert len({size for size in sizes if 2**13 < size <= 2**14}) == 16
    assert filled_size(0) == 0
    assert filled_size(2**15) == 2**15
