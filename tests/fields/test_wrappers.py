import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.gradients import spatial_gradient
from onefield.fields.heads import ClosestPointHead, ColorHead, DistanceHead, ExponentialDensity, UnsignedDistanceHead
from onefield.fields.networks import Mlp
from onefield.fields.wrappers import (
    ContractedField,
    Cropped,
    DistanceAsDensity,
    Frozen,
    Transformed,
    contract,
    uncontract,
)
from onefield.types import Bounds


def sphere(radius: float = 0.5) -> ComposedField:
    """Exact distance to a sphere, and some colour."""
    network = Mlp(3, 4, width=8)
    torch.nn.init.zeros_(network.weights[-1])
    return ComposedField(Bounds.cube(), IdentityEncoding(3), network, [DistanceHead(radius), ColorHead(3)])


def cloud(half_extent: float = 1.0) -> ComposedField:
    torch.manual_seed(3)
    return ComposedField(
        Bounds.cube(half_extent), IdentityEncoding(3), Mlp(3, 4, width=8), [ExponentialDensity(), ColorHead(3)]
    )


@pytest.mark.parametrize("shape", ["ball", "cube"])
def test_contraction_round_trip_from_tiny_to_huge_norms(shape):
    torch.manual_seed(0)
    norms = torch.logspace(-6, 4, 400, dtype=torch.float64)[:, None]
    points = norms * torch.nn.functional.normalize(torch.randn(400, 3, dtype=torch.float64), dim=-1)
    inner = contract(points, shape)
    assert torch.linalg.vector_norm(inner, ord=2.0 if shape == "ball" else torch.inf, dim=-1).max() < 2
    error = (uncontract(inner, shape) - points).norm(dim=-1) / norms[:, 0]
    assert error.max() < 1e-5
    near = points[norms[:, 0] < 30].float()
    torch.testing.assert_close(uncontract(contract(near, shape), shape), near, rtol=3e-4, atol=1e-7)


def test_contraction_follows_the_paper():
    points = torch.tensor([[0.3, 0.4, 0.0], [3.0, 4.0, 0.0]])
    expected = torch.tensor([[0.3, 0.4, 0.0], [1.8 * 0.6, 1.8 * 0.8, 0.0]])
    torch.testing.assert_close(contract(points), expected)
    torch.testing.assert_close(contract(points, "cube")[1], torch.tensor([1.75 * 0.75, 1.75, 0.0]))


@pytest.mark.parametrize("shape", ["ball", "cube"])
def test_contraction_is_the_identity_to_first_order_at_the_origin(shape):
    jacobian = torch.autograd.functional.jacobian(lambda x: contract(x, shape), torch.zeros(3))
    torch.testing.assert_close(jacobian, torch.eye(3))
    assert torch.isfinite(uncontract(torch.tensor([2.0, 0.0, 5.0]), shape)).all()


def test_contracted_field_asks_the_inner_one_at_contracted_points():
    inner = cloud(2.0)
    field = ContractedField(inner, "cube", extent=50.0)
    points = torch.randn(30, 3) * 10
    got = field.query(points, want=("density",)).density
    torch.testing.assert_close(got, inner.query(contract(points, "cube"), want=("density",)).density)
    assert field.domain == Bounds.cube(50.0)
    with pytest.raises(UsageError, match="cube"):
        ContractedField(cloud(1.0))
    assert "distance" not in ContractedField(DistanceAsDensity(_on_two(sphere()))).provides


def _on_two(field: ComposedField) -> ComposedField:
    return ComposedField(Bounds.cube(2.0), field.encoding, field.network, list(field.heads.values()))


def test_laplace_density_is_the_distribution_function_of_the_law():
    field = DistanceAsDensity(sphere(), "laplace", beta=0.05)
    x = torch.tensor([0.3, 0.5, 0.7])
    density = field.query(torch.stack([x, 0 * x, 0 * x], -1), want=("density",)).density
    tail = 0.5 * math.exp(-0.2 / 0.05)
    torch.testing.assert_close(density, torch.tensor([1 - tail, 0.5, tail]) / 0.05, rtol=1e-4, atol=1e-5)


def test_opacity_through_the_surface_is_near_one_and_none_outside():
    for law in ("laplace", "logistic"):
        field = DistanceAsDensity(sphere(), law, beta=0.01)
        t = torch.linspace(-1, 1, 2001)
        density = field.query(torch.stack([t, 0 * t, 0 * t], -1), want=("density",)).density
        optical = torch.cumsum(density, 0) * 1e-3
        assert optical[t < -0.6].max() < 1e-2
        assert 1 - torch.exp(-optical[-1]) > 0.999


def test_the_width_learns_in_its_own_group():
    field = DistanceAsDensity(sphere(), beta=0.1)
    groups = field.parameter_groups()
    assert [id(p) for p in groups["density"]] == [id(field.raw_beta)]
    field.query(torch.rand(20, 3), want=("density",)).density.sum().backward()
    assert field.raw_beta.grad.abs() > 0
    assert field.beta.item() == pytest.approx(0.1)
    assert "density" not in DistanceAsDensity(sphere(), learn_beta=False).parameter_groups()
    answered = field.query(torch.rand(2, 3), want=("density", "color"))
    assert answered.distance is None
    assert answered.color is not None
    with pytest.raises(UsageError, match="distances"):
        DistanceAsDensity(cloud())


def test_cropped_is_empty_outside_and_the_cut_shape_in_distance():
    box = Bounds((0.0, -1.0, -1.0), (1.0, 1.0, 1.0))
    points = torch.tensor([[-0.2, 0.0, 0.0], [0.2, 0.0, 0.0]])
    density = Cropped(cloud(), box).query(points, want=("density",)).density
    assert density[0] == 0
    assert density[1] > 0
    distance = Cropped(sphere(), box).query(points, want=("distance",)).distance
    torch.testing.assert_close(distance, torch.tensor([0.2, -0.2]))
    with pytest.raises(UsageError, match="does not meet"):
        Cropped(cloud(), Bounds((5.0, 5.0, 5.0), (6.0, 6.0, 6.0)))


def test_transformed_sphere_is_the_sphere_elsewhere():
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.7, 0.2], [0.7, 0.0, 0.4], [-0.2, -0.4, 0.0]]))
    field = Transformed(sphere(0.5), 3.0, turn, (1.0, 2.0, 3.0))
    points = torch.tensor([1.0, 2.0, 3.0]) + torch.randn(50, 3)
    expected = (points - torch.tensor([1.0, 2.0, 3.0])).norm(dim=-1) - 1.5
    torch.testing.assert_close(field.query(points, want=("distance",)).distance, expected, rtol=1e-4, atol=1e-5)
    gradient = spatial_gradient(field, points, "distance")
    torch.testing.assert_close(gradient.norm(dim=-1), torch.ones(50), rtol=1e-4, atol=1e-4)


def test_closest_points_move_along_and_end_where_space_is_bent_or_cut():
    inner = ComposedField(
        Bounds.cube(2.0), IdentityEncoding(3), None, [ClosestPointHead(0.1), UnsignedDistanceHead(0.1)]
    )
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    points = torch.rand(9, 3)
    sample = Transformed(inner, 3.0, turn, (1, 2, 3)).query(points, want=("closest_point", "distance"))
    torch.testing.assert_close((points - sample.closest_point).norm(dim=-1), sample.distance)
    for wrapped in (ContractedField(inner), Cropped(inner, Bounds.cube())):
        assert wrapped.provides == {"features"}
    for arguments in ((1.0, torch.eye(2)), (1.0, None, (1.0, 0.0))):
        with pytest.raises(UsageError, match=r"Transformed needs a .* of 3"):
            Transformed(inner, *arguments)


def test_transformed_keeps_optical_thickness_and_turns_directions():
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    inner = ComposedField(
        Bounds.cube(),
        IdentityEncoding(3),
        Mlp(3, 4, width=8),
        [ExponentialDensity(), ColorHead(3, IdentityEncoding(3))],
    )
    field = Transformed(inner, 2.0, turn)
    before, looking = torch.rand(9, 3), torch.nn.functional.normalize(torch.randn(9, 3), dim=-1)
    new = field.query(2 * before @ turn.T, directions=looking @ turn.T, want=("density", "color"))
    old = inner.query(before, directions=looking, want=("density", "color"))
    torch.testing.assert_close(new.density * 2, old.density)
    torch.testing.assert_close(new.color, old.color)
    assert field.query(torch.tensor([[2.5, 0.0, 0.0]]), want=("density",)).density == 0
    with pytest.raises(UsageError, match="rotation"):
        Transformed(inner, 1.0, torch.diag(torch.tensor([1.0, 1.0, -1.0])))


def test_frozen_learns_nothing_but_has_spatial_gradients():
    field = Frozen(sphere())
    assert field.parameter_groups() == {}
    assert not any(p.requires_grad for p in field.parameters())
    gradient = spatial_gradient(field, torch.tensor([[0.6, 0.0, 0.0]]), "distance")
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.0, 0.0]]))
