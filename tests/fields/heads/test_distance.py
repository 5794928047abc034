import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.gradients import spatial_gradient
from onefield.fields.heads import DistanceHead
from onefield.fields.networks import Mlp, Siren
from onefield.types import Bounds


@pytest.mark.parametrize("kind", [Mlp, Siren])
def test_any_network_starts_at_the_sphere(kind):
    torch.manual_seed(0)
    center = (0.1, -0.2, 0.05)
    field = ComposedField(
        Bounds.cube(), IdentityEncoding(3), kind(3, 16, width=32, output_gain=1e-4), [DistanceHead(0.4, center)]
    )
    if kind is Siren:
        torch.nn.init.zeros_(field.network.biases[-1])
    direction = torch.nn.functional.normalize(torch.randn(200, 3), dim=-1)
    surface = torch.tensor(center) + 0.4 * direction
    assert field.query(surface).distance.abs().max() < 1e-3
    assert field.query(torch.tensor(center)).distance.item() == pytest.approx(-0.4, abs=1e-3)
    normal = spatial_gradient(field, surface, "distance")
    assert (normal * direction).sum(-1).min() > 0.99


def test_inside_out_turns_the_sign():
    features, points = torch.zeros(1, 1), torch.tensor([[0.0, 0.0, 0.9]])
    assert DistanceHead(0.5)(features, None, points) == pytest.approx(0.4)
    assert DistanceHead(0.5, inside_out=True)(features, None, points) == pytest.approx(-0.4)


def test_radius_zero_answers_the_features_alone():
    assert DistanceHead(0.0, scale=2.0)(torch.tensor([[3.0, 9.0]])) == pytest.approx(6.0)
    with pytest.raises(UsageError, match="needs points"):
        DistanceHead(0.5)(torch.zeros(1, 1))
