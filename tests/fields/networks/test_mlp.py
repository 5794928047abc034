import numpy as np
import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks import Mlp


def test_equals_matrix_products_in_numpy():
    torch.manual_seed(0)
    network = Mlp(3, 2, width=8, hidden_layers=2)
    for bias in network.biases:
        torch.nn.init.normal_(bias)
    points = torch.randn(5, 3)
    x = points.double().numpy()
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        x = x @ weight.detach().double().numpy().T + bias.detach().double().numpy()
        x = np.maximum(x, 0) if layer < 2 else x
    np.testing.assert_allclose(network(points).detach().numpy(), x, rtol=1e-5, atol=1e-6)


def test_first_weights_keep_the_second_moment_through_depth():
    torch.manual_seed(1)
    network = Mlp(256, 256, width=256, hidden_layers=6)
    answer = network(torch.randn(512, 256))
    assert 0.3 < answer.square().mean() < 1.5


def test_without_hidden_layer_it_is_linear_and_without_bias_it_keeps_zero():
    linear = Mlp(4, 2, hidden_layers=0)
    a, b = torch.randn(2, 3, 4)
    torch.testing.assert_close(linear(a + b), linear(a) + linear(b))
    assert Mlp(4, 2, bias=False)(torch.zeros(1, 4)).abs().max() == 0
    assert len(Mlp(4, 2, bias=False).biases) == 0


def test_output_gain_scales_the_first_output():
    torch.manual_seed(2)
    full = Mlp(4, 2)
    torch.manual_seed(2)
    faint = Mlp(4, 2, output_gain=1e-3)
    points = torch.randn(6, 4)
    torch.testing.assert_close(faint(points), full(points) * 1e-3)


@pytest.mark.parametrize("sizes", [(0, 1, 4), (1, 0, 4), (1, 1, 0)])
def test_refuses_sizes_that_are_not_positive(sizes):
    with pytest.raises(UsageError, match="positive sizes"):
        Mlp(*sizes)
