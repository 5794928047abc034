"""Laws of level sets against functions that obey them, by derivatives in closed form."""

import torch

from onefield.losses.level_set import mean_curvature_residual, morphing_residual, transport_residual

POINTS = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TIMES = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def derivatives(function):
    """Value, rate, gradient and Hessian of a function of points and times."""
    points, times = POINTS.clone().requires_grad_(True), TIMES.clone().requires_grad_(True)
    values = function(points, times)
    gradients, rates = torch.autograd.grad(values.sum(), (points, times), create_graph=True)
    rows = [torch.autograd.grad(part.sum(), points, retain_graph=True)[0] for part in gradients.unbind(1)]
    return values.detach(), rates.detach(), gradients.detach(), torch.stack(rows, 1)


def test_what_is_carried_along_obeys_transport():
    velocity = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)

    def carried(points, times):
        return torch.sin(points - velocity * times[:, None]).prod(-1)

    _, rates, gradients, _ = derivatives(carried)
    torch.testing.assert_close(transport_residual(rates, gradients, velocity.expand(50, 3)), torch.zeros_like(rates))
    assert transport_residual(rates, gradients, -velocity.expand(50, 3)).abs().max() > 0.1


def test_spheres_shrink_by_their_mean_curvature():
    # level sets of |x|^2 + 4 s t are spheres of squared radius c - 4 s t, however the function is bent
    for bent in (lambda x: x, torch.exp):
        _, rates, gradients, hessians = derivatives(lambda p, t, bent=bent: bent(p.square().sum(-1) / 4 + 0.7 * t))
        residual = mean_curvature_residual(rates, gradients, hessians, 0.7)
        torch.testing.assert_close(residual, torch.zeros_like(residual), atol=1e-9, rtol=0)
        assert mean_curvature_residual(rates, gradients, hessians, 0.6).abs().min() > 1e-3


def test_a_sphere_goes_evenly_to_a_concentric_one():
    first, last = 0.5, 0.8
    _, rates, gradients, _ = derivatives(lambda p, t: p.norm(dim=-1) - (1 - t) * first - t * last)
    on = torch.zeros_like(TIMES)
    radius = (1 - TIMES) * first + TIMES * last
    residual = morphing_residual(rates, gradients, on, radius - last, 1 - TIMES, 1.0)
    torch.testing.assert_close(residual, torch.zeros_like(residual))
    assert morphing_residual(rates, gradients, on, radius - first, 1 - TIMES, 1.0).abs().min() > 1e-3
