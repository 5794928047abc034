import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.residual import ResidualBlock, ResidualNetwork


def test_a_new_block_passes_on_what_it_is_given():
    features = torch.randn(5, 4)
    block = ResidualBlock(4, 4)
    torch.testing.assert_close(block(features), features + block.second.bias)


def test_blocks_worked_out_one_number_at_a_time():
    network = ResidualNetwork(2, 1, width=1, blocks=2)
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.fill_(0.5 if number % 2 else 2.0)

    def block(x: float) -> float:
        return x + 2.0 * max(2.0 * max(x, 0.0) + 0.5, 0.0) + 0.5

    given = 2.0 * (0.3 - 0.1) + 0.5
    expected = 2.0 * max(block(block(given) + given), 0.0) + 0.5
    assert network(torch.tensor([[0.3, -0.1]])).item() == pytest.approx(expected, rel=1e-6)


def test_sizes_are_positive():
    with pytest.raises(UsageError, match="0 blocks"):
        ResidualNetwork(3, 1, blocks=0)
