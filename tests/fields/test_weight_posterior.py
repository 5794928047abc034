import numpy as np
import torch
from scipy.stats import multivariate_normal

from onefield.fields.weight_posterior import Moments, weight_posterior


def test_learned_deviations_are_those_of_the_greatest_evidence():
    drawn = np.random.default_rng(0)
    basis = drawn.normal(size=(60, 7))
    targets = np.stack([basis @ drawn.normal(size=7) * 0.5, 3 * basis[:, 0]], 1) + 0.2 * drawn.normal(size=(60, 2))
    phi, y = torch.from_numpy(basis), torch.from_numpy(targets)
    found = weight_posterior(Moments(phi.T @ phi, phi.T @ y, y.square().sum(0), 60).spectrum())
    for channel in range(2):
        noise, prior = found.noise_variance[channel].item(), found.prior_variance[channel].item()

        def evidence(noise, prior, values=targets[:, channel]):
            return multivariate_normal.logpdf(values, cov=noise * np.eye(60) + prior * basis @ basis.T)

        best = evidence(noise, prior)
        assert all(evidence(noise * more, prior) < best for more in (0.95, 1.05))
        assert all(evidence(noise, prior * more) < best for more in (0.95, 1.05))


def test_evidence_compares_priors_that_know_more_and_less():
    drawn = np.random.default_rng(1)
    basis, deviations = drawn.normal(size=(40, 5)), np.array([1.0, 1.0, 0.1, 0.0, 2.0])
    targets = basis @ (deviations * drawn.normal(size=5)) + 0.3 * drawn.normal(size=40)
    phi, y = torch.from_numpy(basis), torch.from_numpy(targets)[:, None]
    moments, variances = Moments(phi.T @ phi, phi.T @ y, y.square().sum(0), 40), torch.tensor([0.09]).double()

    def told(relative):
        found = weight_posterior(moments.spectrum(torch.from_numpy(relative)), variances, torch.ones(1).double())
        covariance = 0.09 * np.eye(40) + basis * relative**2 @ basis.T
        return found.log_evidence - multivariate_normal.logpdf(targets, cov=covariance)

    assert abs(told(deviations) - told(np.ones(5))) < 1e-6


def test_weights_without_any_say_keep_the_prior():
    nothing = Moments(torch.zeros(3, 3).double(), torch.zeros(3, 1).double(), torch.ones(1).double(), 4)
    found = weight_posterior(nothing.spectrum(), prior_variance=torch.tensor([2.0]).double())
    torch.testing.assert_close(found.variances, torch.full((3, 1), 2.0).double())
    torch.testing.assert_close(found.mean, torch.zeros(3, 1).double())
    # what no weight explains is noise
    torch.testing.assert_close(found.noise_variance, torch.tensor([0.25]).double())
