import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.field import Field
from onefield.fields.gradients import closest_point_normals, spatial_gradient, spatial_laplacian
from onefield.fields.heads import ValueHead
from onefield.fields.networks import Siren
from onefield.types import Bounds, Sample
from tests.open_surfaces import ClosestPoints, disc, half_sphere


class Quadratic(Field):
    """distance = x A x / 2 and value = (x0 x1, x2^2), whose gradients are known."""

    domain = Bounds.cube()
    provides = frozenset({"distance", "value"})
    matrix = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 3.0]])

    def _evaluate(self, points, directions, time, want):
        matrix = self.matrix.to(points.dtype)
        value = torch.stack([points[:, 0] * points[:, 1], points[:, 2] ** 2], -1)
        return Sample(distance=((points @ matrix) * points).sum(-1) / 2, value=value)

    def gradient(self, points, quantity):
        return points @ self.matrix.to(points.dtype)


@pytest.mark.parametrize("method", ["autograd", "finite", "analytic"])
def test_scalar_gradient_is_exact(method):
    points = torch.rand(4, 5, 3, dtype=torch.float64)
    gradient = spatial_gradient(Quadratic(), points, "distance", method)
    torch.testing.assert_close(gradient, points @ Quadratic.matrix.double(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", ["autograd", "finite"])
def test_vector_gradient_has_the_axis_last(method):
    points = torch.rand(6, 3, dtype=torch.float64)
    gradient = spatial_gradient(Quadratic(), points, "value", method)
    zero = torch.zeros(6, dtype=torch.float64)
    expected = torch.stack(
        [torch.stack([points[:, 1], points[:, 0], zero], -1), torch.stack([zero, zero, 2 * points[:, 2]], -1)], 1
    )
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", ["autograd", "finite"])
def test_a_loss_on_gradients_reaches_parameters(method):
    torch.manual_seed(0)
    network = Siren(3, 1, width=8, hidden_layers=1, w0=3.0)
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), network, [ValueHead()]).double()
    points = torch.rand(5, 3, dtype=torch.float64)

    def loss() -> torch.Tensor:
        return spatial_gradient(field, points, "value", method, step=1e-4, create_graph=True).square().sum()

    loss().backward()
    weight = field.network.weights[0]
    slope = weight.grad[0, 0].item()
    with torch.no_grad():
        weight[0, 0] += 1e-6
        above = loss().item()
        weight[0, 0] -= 2e-6
        below = loss().item()
    assert slope == pytest.approx((above - below) / 2e-6, rel=1e-4)


def test_without_graph_nothing_is_kept():
    assert not spatial_gradient(Quadratic(), torch.rand(3, 3), "distance").requires_grad
    assert not spatial_gradient(Quadratic(), torch.rand(3, 3, requires_grad=True), "distance", "finite").requires_grad


def test_works_inside_no_grad():
    with torch.no_grad():
        gradient = spatial_gradient(Quadratic(), torch.ones(1, 3), "distance")
    torch.testing.assert_close(gradient, torch.ones(1, 3) @ Quadratic.matrix)


@pytest.mark.parametrize("ask", [spatial_gradient, spatial_laplacian])
def test_points_that_are_no_real_numbers_are_refused(ask):
    for wrong in (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3).numpy(), torch.zeros(())):
        with pytest.raises(UsageError, match="Quadratic"):
            ask(Quadratic(), wrong, "distance")


def test_unknown_methods_and_missing_forms_are_refused():
    with pytest.raises(UsageError, match="did you mean 'finite'"):
        spatial_gradient(Quadratic(), torch.rand(1, 3), "distance", "finit")
    plain = ComposedField(Bounds.cube(), IdentityEncoding(3), None, [ValueHead()])
    with pytest.raises(UsageError, match="closed form"):
        spatial_gradient(plain, torch.rand(1, 3), "value", "analytic")
    with pytest.raises(UsageError, match="positive step"):
        spatial_gradient(plain, torch.rand(1, 3), "value", "finite", step=0.0)


@pytest.mark.parametrize("method", ["autograd", "finite"])
def test_normals_of_closest_points_are_those_of_the_surface_up_to_sign(method):
    beside = torch.nn.functional.normalize(torch.rand(50, 3) - torch.tensor([0.5, 0.5, 0.0]), dim=-1)
    for factor in (0.59, 0.6, 0.61):
        normals = closest_point_normals(ClosestPoints(half_sphere), factor * beside, method)
        torch.testing.assert_close((normals * beside).sum(-1).abs(), torch.ones(50), atol=1e-4, rtol=0)
    flat = closest_point_normals(ClosestPoints(disc), torch.rand(50, 3) * 0.3, method)
    torch.testing.assert_close(flat[:, 2].abs(), torch.ones(50), atol=1e-4, rtol=0)


def test_laplacians_of_closed_forms():
    class Waves(Field):
        """``|x|^2 + x y z`` and ``sin(2 x) exp(y)``."""

        domain = Bounds.cube(1.0)
        provides = frozenset({"value", "distance"})

        def _evaluate(self, points, directions, time, want):
            x, y, z = points.unbind(-1)
            first, second = points.square().sum(-1) + x * y * z, torch.sin(2 * x) * torch.exp(y)
            return Sample(value=torch.stack([first, second], -1), distance=second)

    points = torch.rand(4, 5, 3, dtype=torch.float64)
    found = spatial_laplacian(Waves(), points, "value")
    assert not found.requires_grad
    truth = -3 * torch.sin(2 * points[..., 0]) * torch.exp(points[..., 1])
    torch.testing.assert_close(found, torch.stack([torch.full_like(truth, 6.0), truth], -1))
    torch.testing.assert_close(spatial_laplacian(Waves(), points, "distance"), truth)
    assert torch.equal(spatial_laplacian(Constant(), points, "distance"), torch.zeros(4, 5).double())


class Constant(Field):
    """No slope at all."""

    domain = Bounds.cube(1.0)
    provides = frozenset({"distance"})

    def _evaluate(self, points, directions, time, want):
        return Sample(distance=torch.ones_like(points[:, 0]))
