import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads import DistanceHead
from onefield.fields.networks import Mlp
from onefield.losses.eikonal import eikonal, eikonal_term, sampled_points
from onefield.losses.term import Evidence
from onefield.types import Bounds, Rays, RaySamples, Rendering


def distance_field(gain: float) -> ComposedField:
    torch.manual_seed(0)
    network = Mlp(3, 1, width=8, output_gain=gain)
    return ComposedField(Bounds.cube(), IdentityEncoding(3), network, [DistanceHead(0.5)])


def test_closed_form():
    gradients = torch.tensor([[3.0, 4.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert eikonal(gradients).item() == pytest.approx((16 + 0 + 1) / 3)


@pytest.mark.parametrize("method", ["autograd", "finite"])
def test_term_is_zero_for_a_distance_and_teaches_any_other_field(method):
    points = torch.rand(64, 3) + 0.05
    empty = torch.zeros(0, 3)
    sphere = distance_field(1e-7)
    exact = eikonal_term(method=method).evaluate(Evidence(empty, empty, sphere, points=points))
    assert exact.item() < 1e-4
    bent = distance_field(1.0)
    loss = eikonal_term(method=method).evaluate(Evidence(empty, empty, bent, points=points))
    loss.backward()
    assert loss > 1e-3
    assert bent.network.weights[0].grad.abs().sum() > 0


def test_points_come_from_the_samples_of_rays():
    rays = Rays(torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    samples = RaySamples(
        torch.tensor([0, 0, 1]), torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 3])
    )
    color = torch.zeros(2, 3)
    rendering = Rendering(color, torch.zeros(2), torch.zeros(2), samples=samples)
    evidence = Evidence(color, color, distance_field(1.0), rendering=rendering, rays=rays)
    expected = torch.tensor([[0.5, 0.0, 0.0], [1.5, 0.0, 0.0], [0.0, 3.0, 0.0]])
    torch.testing.assert_close(sampled_points(evidence, 10), expected)
    torch.testing.assert_close(sampled_points(evidence, 2), expected[::2])
    with pytest.raises(UsageError, match="needs points"):
        sampled_points(Evidence(color, color, distance_field(1.0)), 10)
