import pytest
import torch
from torch.nn import functional

from onefield.errors import UsageError
from onefield.fields.unet import UNet


@pytest.mark.parametrize("dimension", [2, 3])
def test_one_level_is_two_normalised_convolutions_and_a_linear_map(dimension):
    net = UNet(dimension, 2, 3, width=4, levels=1)
    maps = torch.randn(2, 2, *(5, 6, 7)[:dimension])
    expected = maps
    for layer in net.down[0]:
        expected = layer(expected)
        spread = (expected.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        expected = functional.relu((expected - expected.mean(1, keepdim=True)) / spread)
    expected = torch.einsum("oc,bc...->bo...", net.last.weight, expected)
    expected = expected + net.last.bias.reshape(-1, *[1] * dimension)
    torch.testing.assert_close(net(maps), expected)


@pytest.mark.parametrize("dimension", [2, 3])
def test_it_moves_with_its_input_by_whole_coarse_cells(dimension):
    torch.manual_seed(0)
    net = UNet(dimension, 1, 2, width=2, levels=2)
    side, inner = 36, slice(14, 22)
    maps = torch.zeros(1, 1, *[side] * dimension)
    maps[(..., *[inner] * dimension)] = torch.randn([8] * dimension)
    axes = list(range(2, 2 + dimension))
    answer, moved = net(maps), net(maps.roll([2] * dimension, axes))
    safe = (..., *[slice(11, -11)] * dimension)
    torch.testing.assert_close(answer.roll([2] * dimension, axes)[safe], moved[safe])
    assert answer[safe].std() > 0
    odd = net(maps.roll([1] * dimension, axes))
    assert not torch.allclose(answer.roll([1] * dimension, axes)[safe], odd[safe])


def test_coarse_levels_carry_far():
    torch.manual_seed(0)
    net = UNet(2, 1, 1, width=4, levels=4)
    maps = torch.randn(1, 1, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(maps)[0, 0, 16, 16], maps)
    reached = gradient[0, 0].abs().sum(0).nonzero().flatten()
    assert reached.max() - reached.min() > 20


def test_sides_that_cannot_be_halved_are_named():
    with pytest.raises(UsageError, match=r"multiples of 4, got \(6, 8\)"):
        UNet(2, 1, 1, levels=3)(torch.zeros(1, 1, 6, 8))
    with pytest.raises(UsageError, match="dimension 4"):
        UNet(4, 1, 1)
