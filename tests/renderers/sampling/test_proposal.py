"""Inverse sampling of histograms, and proposals that find matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import Material, SphereField
from onefield.kernels.composite import rendering_weights
from onefield.renderers.sampling.proposal import ProposalSampler, histogram_weights, resample
from onefield.types import Rays


def rays(count: int = 40) -> Rays:
    origins = torch.randn(count, 3) * 0.2 + torch.tensor([-3.0, 0, 0])
    return Rays(origins, torch.tensor([1.0, 0, 0]).expand(count, 3))


def test_resampled_intervals_have_equal_mass():
    edges = torch.rand(50, 9, dtype=torch.float64).cumsum(-1)
    weights = torch.rand(50, 8, dtype=torch.float64)
    fine = resample(edges, weights, 5, 0.0, None)
    torch.testing.assert_close(fine[:, [0, -1]], edges[:, [0, -1]])
    cumulative = np.concatenate([np.zeros((50, 1)), (weights / weights.sum(-1, keepdim=True)).cumsum(-1)], axis=1)
    for row in range(50):
        mass = np.interp(fine[row], edges[row], cumulative[row])
        np.testing.assert_allclose(mass, np.linspace(0, 1, 6), atol=1e-9)


def test_padding_spreads_and_rays_without_mass_are_even():
    edges = torch.linspace(0, 1, 11).expand(2, 11)
    weights = torch.zeros(2, 10)
    weights[0, 4] = 0.7
    spread = resample(edges, weights, 100, 0.2, None)
    inside = ((spread[0] >= 0.4) & (spread[0] <= 0.5)).sum().item()
    assert 80 <= inside <= 84
    torch.testing.assert_close(spread[1], torch.linspace(0, 1, 101))


def test_jitter_keeps_order_and_ends():
    edges, weights = torch.rand(20, 9).cumsum(-1), torch.rand(20, 8)
    moved = resample(edges, weights, 30, 0.1, torch.Generator().manual_seed(1))
    assert (moved.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(moved[:, [0, -1]], edges[:, [0, -1]])


def test_weights_are_those_of_compositing():
    densities, edges = torch.rand(6, 12) * 5, torch.rand(6, 13).cumsum(-1)
    # so thick that a running sum loses what lies before
    densities[:, 3] = 1e9
    offsets = torch.arange(7) * 12
    flat = rendering_weights(densities.reshape(-1), edges[:, :-1].reshape(-1), edges[:, 1:].reshape(-1), offsets, 0.0)
    torch.testing.assert_close(histogram_weights(densities, edges).reshape(-1), flat)


def test_final_samples_gather_where_the_proposal_sees_matter():
    ball = SphereField(0.4, material=Material(density=100.0))
    sampling = ProposalSampler([ball, ball], (64, 48), 32)(rays(), ball)
    assert [tuple(edges.shape) for edges, _ in sampling.proposals] == [(40, 65), (40, 49)]
    assert (sampling.samples.offsets.diff() == 32).all()
    middles = sampling.samples.midpoints.reshape(40, 32)
    first_hit = sampling.proposals[0][1].argmax(-1)
    edges = sampling.proposals[0][0]
    near_surface = (middles - edges.gather(-1, first_hit[:, None])).abs() < 0.1
    hit = sampling.proposals[0][1].sum(-1) > 0.5
    assert hit.sum() > 20
    assert near_surface[hit].float().mean() > 0.7


def test_annealing_starts_flat_and_ends_sharp():
    ball = SphereField(0.4, material=Material(density=100.0))
    sampler = ProposalSampler([ball], (64,), 32, anneal_steps=100, padding=0.0)
    generator = torch.Generator().manual_seed(0)
    spreads = []
    for step in (0, 5, 100):
        sampler.update(ball, step, generator)
        spreads.append(sampler(rays(), ball).samples.starts.reshape(40, 32).std(-1).mean())
    assert spreads[0] > spreads[1] > spreads[2]
    assert float(sampler.anneal) == 1.0
    assert float(sampler.state_dict()["anneal"]) == 1.0


def test_histograms_carry_gradients_to_the_proposals_only_when_they_learn():
    class Fog(SphereField.__mro__[1]):
        def __init__(self) -> None:
            super().__init__(Material(), None)
            self.raw = torch.nn.Parameter(torch.tensor(1.0))

        def _distance(self, points):
            return points.norm(dim=-1)

        def _matter(self, points, distance):
            return distance, self.raw.expand(len(points))

    fog = Fog()
    sampler = ProposalSampler([fog], (16,), 8, anneal_steps=1)
    generator = torch.Generator().manual_seed(0)
    sampler.update(fog, 10, generator)
    weights = sampler(rays(), fog, generator).proposals[0][1]
    weights.sum().backward()
    assert fog.raw.grad.abs() > 0
    sampler.update(fog, 11, generator)
    assert not sampler(rays(), fog, generator).proposals[0][1].requires_grad
    assert [id(p) for p in sampler.parameter_groups()["network"]] == [id(fog.raw)]


def test_unpaired_settings_are_refused():
    with pytest.raises(UsageError, match="one count"):
        ProposalSampler([SphereField()], (64, 48), 32)
    for wrong in ({"near": -1.0}, {"padding": 1.5}, {"anneal_steps": 0}):
        with pytest.raises(UsageError, match="anneal_steps >= 1"):
            ProposalSampler([SphereField()], (64,), 32, **wrong)
