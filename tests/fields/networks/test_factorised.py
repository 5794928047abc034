"""Factorised networks: points against grids, and against their sums written out."""

from __future__ import annotations

import itertools

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.factorised import CpNetwork, TensorTrainNetwork, TuckerNetwork
from onefield.fields.networks.mlp import Mlp
from onefield.fields.networks.siren import Siren


def sine(inputs, outputs):
    return Siren(inputs, outputs, 8, 1, w0=3.0)


KINDS = {"cp": CpNetwork, "tensor train": TensorTrainNetwork, "tucker": TuckerNetwork}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", [2, 3, 4])
def test_points_and_grids_agree(kind, dimension):
    network = KINDS[kind](dimension, 2, 3, sine).double()
    axes = [torch.rand(size, dtype=torch.float64) for size in (4, 3, 5, 2)[:dimension]]
    grid = network.on_grid(axes)
    assert grid.shape == (*[len(axis) for axis in axes], 2)
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, dimension)
    torch.testing.assert_close(network(points), grid.reshape(-1, 2), atol=1e-12, rtol=1e-10)


def test_cp_is_a_sum_of_products():
    network, points = CpNetwork(3, 2, 4, sine), torch.rand(7, 3)
    factors = [axis(points[:, [d]]).reshape(7, 4, 2) for d, axis in enumerate(network.axes)]
    torch.testing.assert_close(network(points), (factors[0] * factors[1] * factors[2]).sum(1))


def test_a_tensor_train_is_a_product_of_matrices():
    network, points = TensorTrainNetwork(3, 2, 4, sine), torch.rand(7, 3)
    first, middle, last = (axis(points[:, [d]]) for d, axis in enumerate(network.axes))
    wanted = first.reshape(7, 2, 1, 4) @ middle.reshape(7, 2, 4, 4) @ last.reshape(7, 2, 4, 1)
    torch.testing.assert_close(network(points), wanted[..., 0, 0])


def test_tucker_mixes_by_its_core():
    network, points = TuckerNetwork(3, 2, 3, sine), torch.rand(7, 3)
    factors = [axis(points[:, [d]]) for d, axis in enumerate(network.axes)]
    wanted = torch.zeros(7, 2)
    for i, j, k in itertools.product(range(3), repeat=3):
        wanted += network.core[:, i, j, k] * (factors[0][:, i] * factors[1][:, j] * factors[2][:, k])[:, None]
    torch.testing.assert_close(network(points), wanted)


def test_refuses_axes_of_more_than_one_input():
    with pytest.raises(UsageError, match="1 input each, got 2, 2"):
        CpNetwork(2, 1, 3, lambda _, outputs: Mlp(2, outputs))
    with pytest.raises(UsageError, match="2 or more axes"):
        TensorTrainNetwork(1, 1, 3, sine)
