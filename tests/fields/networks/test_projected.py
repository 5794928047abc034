"""Networks generated from one vector."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.networks.projected import ProjectedNetwork
from onefield.fields.networks.siren import Siren

PROGRAM = """
import torch
from onefield.fields.networks.projected import ProjectedNetwork
from onefield.fields.networks.siren import Siren
network = ProjectedNetwork(lambda: Siren(2, 1, 16, 1, 5.0), 20, seed=7)
network.latent.data = torch.linspace(-1, 1, 20)
print(network(torch.linspace(-1, 1, 10).reshape(5, 2)).flatten().tolist())
"""


def make():
    return Siren(2, 1, 16, 1, 5.0)


def test_only_the_latent_vector_is_learned_and_saved():
    network = ProjectedNetwork(make, 20)
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [(20,)]
    assert list(network.state_dict()) == ["latent"]
    network(torch.rand(9, 2)).sum().backward()
    assert bool((network.latent.grad != 0).all())


def test_the_seed_and_the_vector_are_the_signal_in_another_process_too():
    network = ProjectedNetwork(make, 20, seed=7)
    network.latent.data = torch.linspace(-1, 1, 20)
    here = network(torch.linspace(-1, 1, 10).reshape(5, 2)).flatten().tolist()
    there = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert there.strip() == str(here)


def test_generated_numbers_begin_with_the_deviations_of_the_recipe():
    network, behind = ProjectedNetwork(lambda: Siren(2, 1, 64, 2, 30.0), 400), Siren(2, 1, 64, 2, 30.0)
    generated = network.generated()
    for name, parameter in behind.named_parameters():
        if parameter.numel() > 500:
            assert float(generated[name].std()) == pytest.approx(float(parameter.std()), rel=0.2)


def test_the_output_is_that_of_the_network_behind():
    network, points = ProjectedNetwork(make, 20), torch.rand(9, 2)
    behind = make()
    behind.load_state_dict(network.generated())
    torch.testing.assert_close(network(points), behind(points))


def test_refuses_an_empty_vector():
    with pytest.raises(UsageError, match="got 0"):
        ProjectedNetwork(make, 0)


def test_sizing_counts_numbers_without_drawing_projections():
    with torch.device("meta"):
        network = ProjectedNetwork(make, 10**6)
    assert {buffer.device.type for buffer in network.buffers()} == {"meta"}
    assert sum(buffer.numel() for buffer in network.buffers()) == 10**6 * sum(p.numel() for p in make().parameters())
