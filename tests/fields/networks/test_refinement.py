import pytest
import torch
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.networks.refinement import RefinementNetwork


def test_answers_are_running_sums_of_the_shared_perceptron():
    network = RefinementNetwork(2, turns=2, width=5, hidden_layers=1, memory=3)
    features = torch.randn(4, 2)
    first, last = network.layers

    def turn(memory, which):
        hidden = functional.leaky_relu(first(torch.cat([features, memory, which.expand(4, 2)], dim=-1)))
        return last(hidden)

    one = turn(torch.zeros(4, 3), torch.tensor([1.0, 0.0]))
    two = turn(one[:, 1:], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(network(features), torch.stack([one[:, 0] + two[:, 0], one[:, 0]], dim=-1))


def test_sizes_must_be_positive():
    with pytest.raises(UsageError, match="0 turns"):
        RefinementNetwork(2, turns=0)
