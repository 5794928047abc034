import numpy as np
import pytest
import torch

from onefield.errors import DataError, UsageError
from onefield.fields.bayesian_tucker import BayesianTucker
from onefield.fields.networks.factorised import TuckerNetwork
from onefield.fields.networks.network import Network
from onefield.fields.weight_posterior import weight_posterior
from onefield.types import Bounds


class Cosines(Network):
    """cos(k (x + 1)), k = 0, 1, ..."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.input_dimension, self.output_dimension = inputs, outputs

    def forward(self, features):
        return torch.cos((features + 1) * torch.arange(self.output_dimension))


DOMAIN = Bounds((0.0, -1.0), (2.0, 1.0))
OFFSET, SCALE = 3.0, 2.0
NOISE, PRIOR = torch.tensor([0.3, 0.1]).double(), torch.tensor([0.8, 1.5]).double()


DEVIATIONS = torch.cat([torch.full((16,), 1.2), torch.linspace(0.9, 0.3, 9)]).double()


def known_basis(points):
    """The same functions by NumPy, in the order of the weights; the domain's halves are 1."""
    x, y = np.asarray(points).T
    network = [np.cos(i * x) * np.cos(j * (y + 1)) for i in range(4) for j in range(4)]
    half_turns = [np.cos(np.pi / 2 * i * x) * np.cos(np.pi / 2 * j * (y + 1)) for i in range(3) for j in range(3)]
    return np.stack(network + half_turns, 1)


def conditioned(known_variances=True):
    """A field given the left half of a grid without some of its samples, the grid's points, and its values."""
    torch.manual_seed(0)
    field = BayesianTucker(DOMAIN, TuckerNetwork(2, 2, 4, Cosines), 3, 1.0, OFFSET, SCALE).double()
    coordinates = [torch.linspace(0.0, 1.0, 9).double(), torch.linspace(-0.9, 0.8, 8).double()]
    points = torch.cartesian_prod(*coordinates)
    values = OFFSET + torch.sin(3 * points[:, :1] + points) + NOISE * torch.randn(72, 2).double()
    values[torch.randperm(72)[:20], 1] = torch.nan
    moments = field.moments(coordinates, values.reshape(9, 8, 2))
    variances = [NOISE.square() / SCALE**2, PRIOR.square()] if known_variances else []
    field.condition(weight_posterior(moments.spectrum(DEVIATIONS), *variances))
    return field, points, values


def test_mean_and_covariance_are_those_of_linear_regression():
    field, points, values = conditioned()
    known = ~values.isnan().any(1)
    basis, asked = known_basis(points[known]), torch.rand(30, 2).double() * 2 - torch.tensor([0.0, 1.0])
    at, answer = known_basis(asked), field.query(asked)
    for channel in range(2):
        beta, alpha = (SCALE / NOISE[channel].item()) ** 2, 1 / PRIOR[channel].item() ** 2
        targets = (values[known, channel].numpy() - OFFSET) / SCALE
        covariance = np.linalg.inv(alpha * np.diag(DEVIATIONS.numpy() ** -2.0) + beta * basis.T @ basis)
        mean = beta * covariance @ basis.T @ targets
        told = field.directions @ torch.diag(field.variances[channel]) @ field.directions.T
        np.testing.assert_allclose(told.numpy(), covariance, atol=1e-5 * covariance.max(), rtol=1e-5)
        np.testing.assert_allclose(answer.value[:, channel].detach(), OFFSET + SCALE * at @ mean, rtol=1e-5)
        variance = SCALE**2 * np.einsum("nk,kl,nl->n", at, covariance, at) + NOISE[channel].item() ** 2
        np.testing.assert_allclose(answer.deviation[:, channel].detach(), np.sqrt(variance), rtol=1e-5)
    torch.testing.assert_close(field.noise, NOISE)


def test_deviation_grows_away_from_the_samples():
    field, points, _ = conditioned()
    away = field.query(torch.tensor([[1.3, 0.0], [1.6, 0.0], [1.9, 0.0]]).double(), want=["deviation"]).deviation
    near = field.query(points, want=["deviation"]).deviation
    assert (away.diff(dim=0) > 0).all()
    assert (away[-1] > 1.5 * near.mean(0)).all()


def test_a_grid_is_answered_as_its_points():
    field, _, _ = conditioned(known_variances=False)
    coordinates = [torch.rand(3).double(), torch.rand(5).double()]
    whole, alone = field.query_grid(coordinates), field.query(torch.cartesian_prod(*coordinates).reshape(3, 5, 2))
    torch.testing.assert_close(whole.value, alone.value)
    torch.testing.assert_close(whole.deviation, alone.deviation)


def test_the_order_of_prior_deviations_is_that_of_the_weights():
    field, _, _ = conditioned()
    found = field.relative_deviations(4.0, 0.5)
    assert (found[:16] == 2).all()
    assert torch.equal(found[16:], field.process.deviations(0.5))


def test_what_can_not_be_conditioned_on_is_named():
    field, _, values = conditioned()
    with pytest.raises(UsageError, match=r"coordinates for \(2, 3, 2\), but values of \(72, 2\)"):
        field.moments([torch.rand(2), torch.rand(3)], values)
    with pytest.raises(DataError, match="no known value"):
        field.moments([torch.rand(2), torch.rand(3)], torch.full((2, 3, 2), torch.nan))
