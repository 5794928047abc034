import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.losses.interlevel import interlevel, interlevel_term, outer_mass
from onefield.losses.term import Evidence
from onefield.types import Bounds, RaySamples, Rendering


def histogram(seed: int, rays: int, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.rand(rays, bins + 1, generator=generator).sort(-1).values
    return edges, torch.rand(rays, bins, generator=generator) / bins


def test_outer_mass_equals_the_double_loop():
    edges, _ = histogram(0, 5, 7)
    proposal_edges, proposal_weights = histogram(1, 5, 4)
    got = outer_mass(edges, proposal_edges, proposal_weights)
    for ray in range(5):
        for i in range(7):
            expected = sum(
                proposal_weights[ray, j].item()
                for j in range(4)
                if proposal_edges[ray, j] < edges[ray, i + 1] and proposal_edges[ray, j + 1] > edges[ray, i]
            )
            assert got[ray, i].item() == pytest.approx(expected, abs=1e-6)


def test_zero_for_an_envelope_and_closed_form_otherwise():
    edges = torch.tensor([[0.0, 0.25, 0.5, 1.0]])
    weights = torch.tensor([[0.1, 0.6, 0.2]])
    coarse = torch.tensor([[0.0, 0.5, 1.0]])
    assert interlevel(edges, weights, coarse, torch.tensor([[0.7, 0.2]])) < 1e-12
    short = torch.tensor([[0.4, 0.1]], requires_grad=True)
    loss = interlevel(edges, weights, coarse, short)
    assert loss.item() == pytest.approx(0.2**2 / 0.6 + 0.1**2 / 0.2, rel=1e-5)
    loss.backward()
    torch.testing.assert_close(short.grad, torch.tensor([[-2 * 0.2 / 0.6, -2 * 0.1 / 0.2]]))


def test_term_reads_the_rendering_and_gives_gradient_to_the_proposal_alone():
    edges, final = histogram(2, 3, 6)
    coarse, weights = histogram(3, 3, 4)
    final.requires_grad_()
    weights.requires_grad_()
    samples = RaySamples(
        torch.arange(3).repeat_interleave(6), edges[:, :-1].flatten(), edges[:, 1:].flatten(), torch.arange(4) * 6
    )
    color = torch.zeros(3, 3)
    rendering = Rendering(
        color, torch.zeros(3), torch.ones(3), samples=samples, weights=final.flatten(), proposals=((coarse, weights),)
    )
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), None, [])
    loss = interlevel_term().evaluate(Evidence(color, color, field, rendering=rendering))
    torch.testing.assert_close(loss, interlevel(edges, final, coarse, weights))
    loss.backward()
    assert final.grad is None
    assert weights.grad.abs().sum() > 0
    ragged = Rendering(color[:2], torch.zeros(2), torch.ones(2), samples=samples, proposals=((coarse, weights),))
    with pytest.raises(UsageError, match="proposal sampler"):
        interlevel_term().evaluate(Evidence(color, color, field, rendering=ragged))
