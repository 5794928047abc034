import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.heads import ExponentialDensity, SoftplusDensity
from onefield.fields.heads.density import truncated_exponential


def test_truncated_exponential_is_exp_below_the_limit():
    x = torch.linspace(-20, 14.9, 50, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(truncated_exponential(x), x.exp())
    assert torch.autograd.gradcheck(truncated_exponential, (x.detach()[::7].requires_grad_(),))


def test_truncated_exponential_holds_its_slope_beyond_the_limit():
    x = torch.tensor([20.0, 1000.0, 3e38], requires_grad=True)
    y = truncated_exponential(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    torch.testing.assert_close(x.grad, torch.full((3,), math.exp(15.0)))
    assert y[0].item() == pytest.approx(math.exp(20.0), rel=1e-5)


def test_exponential_density_reads_channel_0_and_starts_at_exp_shift():
    features = torch.zeros(4, 16)
    features[:, 1:] = 7.0
    torch.testing.assert_close(ExponentialDensity(-1.0)(features), torch.full((4,), math.exp(-1.0)))


@pytest.mark.parametrize("opacity", [1e-6, 1e-2, 0.5])
def test_softplus_density_starts_at_the_given_opacity(opacity):
    length = 0.02
    density = SoftplusDensity(opacity, length)(torch.zeros(1, 1, dtype=torch.float64))
    assert -math.expm1(-density.item() * length) == pytest.approx(opacity, rel=1e-6)


def test_softplus_density_puts_a_sharp_edge_inside_one_cell():
    # raw values -a and a at the ends of one cell, interpolated before activation: the step may be as steep as wanted
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    raw = ((2 * x - 0.6) * 4000)[:, None]
    density = SoftplusDensity(1e-2, 0.01)(raw)
    opacity = 1 - torch.exp(-density * 0.01)
    assert ((opacity > 0.5) == (x > 0.3)).float().mean() > 0.98
    assert ((opacity > 0.01) & (opacity < 0.99)).sum() <= 2


def test_softplus_density_refuses_an_opacity_of_one():
    with pytest.raises(UsageError, match="opacity"):
        SoftplusDensity(1.0, 0.1)
