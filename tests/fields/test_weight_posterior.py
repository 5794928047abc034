import numpy as np
import torch
from scipy.stats import multivariate_normal

from onefield.fields.weight_posterior import Moments, weight_posterior


def test_learned_deviations_are_those_of_the_greatest_evidence():
    drawn = np.random.default_rng(0)
    basis = drawn.normal(size=(60, 7))
    targets = np.stack([basis @ drawn.normal(size=7) * 0.5, 3 * basis[:, 0]], 1) + 0.2 * drawn.normal(size=(60, 2))
    phi, y = torch.from_numpy(basis), torch.from_numpy(targets)
    found = weight_posterior(Moments(phi.T @ phi, phi.T @ y, y.square().sum(0), 60))
    for channel in range(2):
        noise, prior = found.noise_variance[channel].item(), found.prior_variance[channel].item()

        def evidence(noise, prior, values=targets[:, channel]):
            return multivariate_normal.logpdf(values, cov=noise * np.eye(60) + prior * basis @ basis.T)

        best = evidence(noise, prior)
        assert all(evidence(noise * more, prior) < best for more in (0.95, 1.05))
        assert all(evidence(noise, prior * more) < best for more in (0.95, 1.05))


def test_weights_without_any_say_keep_the_prior():
    nothing = Moments(torch.zeros(3, 3).double(), torch.zeros(3, 1).double(), torch.ones(1).double(), 4)
    found = weight_posterior(nothing, prior_variance=torch.tensor([2.0]).double())
    torch.testing.assert_close(found.variances, torch.full((1, 3), 2.0).double())
    torch.testing.assert_close(found.mean, torch.zeros(3, 1).double())
    # what no weight explains is noise
    torch.testing.assert_close(found.noise_variance, torch.tensor([0.25]).double())
