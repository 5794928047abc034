import pytest
import torch

from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.wrappers import ContractedField
from onefield.losses.distortion import distortion_term, normalized_distance
from onefield.losses.term import Evidence
from onefield.types import Bounds, RaySamples, Rendering


def test_term_equals_the_double_sum_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    edges = torch.rand(3, 6, generator=generator).sort(-1).values * 4
    weights = (torch.rand(3, 5, generator=generator) / 5).requires_grad_()
    samples = RaySamples(
        torch.arange(3).repeat_interleave(5), edges[:, :-1].flatten(), edges[:, 1:].flatten(), torch.arange(4) * 5
    )
    color = torch.zeros(3, 3)
    rendering = Rendering(color, torch.zeros(3), torch.ones(3), samples=samples, weights=weights.flatten())
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), None, [])
    loss = distortion_term().evaluate(Evidence(color, color, field, rendering=rendering))
    unit = edges / 12**0.5
    middles = (unit[:, 1:] + unit[:, :-1]) / 2
    pairs = weights[:, :, None] * weights[:, None] * (middles[:, :, None] - middles[:, None]).abs()
    expected = (pairs.sum((1, 2)) + (weights.square() * unit.diff(dim=-1)).sum(-1) / 3).mean()
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, weights, retain_graph=True)
    (exact,) = torch.autograd.grad(expected, weights)
    torch.testing.assert_close(gradient, exact)


def test_without_samples_there_is_nothing_to_gather():
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), None, [])
    color = torch.zeros(2, 3)
    assert distortion_term().evaluate(Evidence(color, color, field)) == 0


def test_distances_of_unbounded_space_stay_below_one():
    inner = ComposedField(Bounds.cube(2.0), IdentityEncoding(3), None, [])
    far = torch.tensor([0.0, 1.0, 1e6])
    assert normalized_distance(far, ContractedField(inner)).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-5)
