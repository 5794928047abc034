import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads import (
    ClosestPointHead,
    ColorHead,
    DistanceHead,
    ExponentialDensity,
    OccupancyHead,
    PlainColor,
    UnsignedDistanceHead,
    ValueHead,
)
from onefield.fields.networks import Mlp, Siren
from onefield.fields.networks.factorised import CpNetwork, TensorTrainNetwork
from onefield.types import Bounds


class Learned(Encoding):
    """Scales its input by a parameter."""

    input_dimension = 3
    output_dimension = 3

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(3))

    def forward(self, points):
        return points * self.gain


def radiance_field() -> ComposedField:
    torch.manual_seed(0)
    heads = [ExponentialDensity(), ColorHead(7, IdentityEncoding(3))]
    return ComposedField(Bounds.cube(2.0), Learned(), Mlp(3, 8), heads)


def test_the_encoding_sees_the_unit_cube():
    field = ComposedField(Bounds((0.0, -2.0), (4.0, 2.0)), IdentityEncoding(2), None, [ValueHead()])
    corners = torch.tensor([[0.0, -2.0], [4.0, 2.0], [2.0, 0.0]])
    torch.testing.assert_close(field.query(corners).value, torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]))


def test_each_parameter_is_in_one_group_with_its_owner():
    field = radiance_field()
    groups = field.parameter_groups()
    assert set(groups) == {"encoding", "network"}
    assert [id(p) for p in groups["encoding"]] == [id(field.encoding.gain)]
    listed = [id(p) for group in groups.values() for p in group]
    assert sorted(listed) == sorted(id(p) for p in field.parameters())


def test_groups_without_parameters_are_left_out():
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), Mlp(3, 1), [ValueHead()])
    assert set(field.parameter_groups()) == {"network"}


def test_density_alone_needs_no_directions_and_never_runs_the_colour():
    field = radiance_field()
    calls = []
    field.heads["color"].register_forward_hook(lambda *_: calls.append(1))
    points = torch.rand(2, 5, 3)
    alone = field.query(points, want=("density",))
    assert alone.color is None
    assert alone.features is None
    assert not calls
    both = field.query(points, directions=torch.randn(2, 5, 3), want=("density", "color"))
    assert calls
    torch.testing.assert_close(alone.density, both.density)
    with pytest.raises(UsageError, match="directions"):
        field.query(points)


def test_features_are_the_networks_output():
    field = radiance_field()
    points = torch.rand(4, 3)
    features = field.query(points, want=("features",)).features
    torch.testing.assert_close(features, field.network(field.domain.to_unit(points)))


def test_no_points_give_no_answers():
    assert radiance_field().query(torch.empty(0, 3), want=("density",)).density.shape == (0,)


def test_points_and_what_comes_with_them_must_fit():
    field, points = radiance_field(), torch.zeros(2, 3)
    # corners of the domain would be rounded like the points
    for wrong in (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.bool)):
        with pytest.raises(UsageError, match=r"real points, but was asked at points of torch\.(int64|bool)"):
            field.query(wrong)
    with pytest.raises(UsageError, match="as a tensor, got ndarray"):
        field.query(points.numpy())
    for directions in (torch.ones(3), torch.ones(1, 3), torch.ones(2, 2)):
        with pytest.raises(UsageError, match=r"need directions of shape \(2, 3\)"):
            field.query(points, directions=directions)
    with pytest.raises(UsageError, match=r"need time of shape \(2,\), got \(3,\)"):
        field.query(points, directions=points, time=torch.zeros(3))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="2 axes"):
        ComposedField(Bounds.cube(1.0, 2), IdentityEncoding(3), None, [])
    with pytest.raises(UsageError, match="network takes 4"):
        ComposedField(Bounds.cube(), IdentityEncoding(3), Mlp(4, 1), [])
    with pytest.raises(UsageError, match="one head"):
        ComposedField(Bounds.cube(), IdentityEncoding(3), None, [ValueHead(), ValueHead()])


@pytest.mark.parametrize(
    ("dimension", "head", "words"),
    [
        (3, ColorHead(3), "reads 3 features from channel 1 on, but of 3 there are 2"),
        (3, PlainColor(), "reads 3 features from channel 1 on, got 3"),
        (3, OccupancyHead(channel=3), "reads channel 3, but there are 3"),
        (2, DistanceHead(), "3 coordinates, but points have 2"),
        (2, ClosestPointHead(), "got 2 of 2-D points"),
        (2, UnsignedDistanceHead(), "got 2 of 2-D points"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_heads_that_find_too_little_are_refused(dimension, head, words):
    with pytest.raises(UsageError, match=words):
        ComposedField(Bounds.cube(1.0, dimension), IdentityEncoding(dimension), None, [head])


@pytest.mark.parametrize("kind", [CpNetwork, TensorTrainNetwork])
def test_whole_grids_are_answered_as_points_are(kind):
    domain = Bounds((1.0, 0.0, -1.0), (2.0, 3.0, 1.0))
    network = kind(3, 2, 3, lambda inputs, outputs: Siren(inputs, outputs, 6, 1, 3.0))
    field = ComposedField(domain, IdentityEncoding(3, scale=2.0), network, [ValueHead(0.5, 2.0)])
    plain = ComposedField(domain, IdentityEncoding(3), Mlp(3, 2, 6), [ValueHead(0.5, 2.0)])
    axes = [torch.rand(4) + 1, torch.rand(3) * 3, torch.rand(5) * 2 - 1]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    for each in (field, plain):
        for name in ("value", "features"):
            answer = getattr(each.query_grid(axes, want=(name,)), name)
            torch.testing.assert_close(answer, getattr(each.query(points, want=(name,)), name), atol=1e-5, rtol=1e-5)
    assert field.separable
    assert not plain.separable
    with pytest.raises(UsageError, match="3-D points"):
        field.query_grid(axes[:2])
