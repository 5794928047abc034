import pytest
import torch

from onefield.fields.analytic import SphereField
from onefield.losses.depth_distortion import NEAR, depth_distortion_term
from onefield.losses.term import Evidence
from onefield.types import Rendering


def spread(weights, depths):
    """The double sum over pairs."""
    pairs = weights[:, None] * weights[None] * (depths[:, None] - depths[None]).square()
    return pairs.triu(1).sum()


def evidence(weights, depths, **more) -> Evidence:
    color = torch.zeros(2, 3)
    rendering = Rendering(
        color,
        torch.stack([(weights * depths).sum() / weights.sum(), torch.zeros(())]),
        torch.stack([weights.sum(), torch.zeros(())]),
        distortion=torch.stack([spread(weights, depths), torch.zeros(())]),
    )
    return Evidence(color, color, SphereField(), rendering=rendering, **more)


def test_it_is_that_of_inverse_depths_where_depths_lie_together():
    weights = torch.tensor([0.2, 0.5, 0.1], dtype=torch.float64)
    depths = torch.tensor([3.0, 3.002, 3.003], dtype=torch.float64)
    found = depth_distortion_term().evaluate(evidence(weights, depths))
    # of two rays the other meets nothing
    expected = spread(weights, 1 - NEAR / depths) / 2
    assert float(found) == pytest.approx(float(expected), rel=2e-3)


def test_gradients_pull_depths_together_but_do_not_push_them_away():
    depths = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    depth_distortion_term().evaluate(evidence(torch.tensor([0.5, 0.5]).double(), depths)).backward()
    assert float(depths.grad[0]) == pytest.approx(-float(depths.grad[1]))
    assert float(depths.grad[0]) < 0


def test_it_begins_late_and_needs_what_was_splatted():
    weights, depths = torch.tensor([0.5, 0.5]), torch.tensor([3.0, 4.0])
    term = depth_distortion_term(begin=0.3)
    assert term.evaluate(evidence(weights, depths, progress=0.2)) == 0
    assert term.evaluate(evidence(weights, depths, progress=0.3)) > 0
    color = torch.zeros(2, 3)
    assert term.evaluate(Evidence(color, color, SphereField())) == 0
