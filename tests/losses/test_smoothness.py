import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.losses.smoothness import (
    decay_term,
    normalized_decay,
    squared_variation,
    total_variation,
    variation_term,
)
from onefield.losses.term import Evidence
from onefield.types import Bounds


def test_variation_of_a_ramp():
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    ramp = (2 * x + 3 * y)[None]
    assert squared_variation(ramp).item() == pytest.approx(4 + 9)
    inner, right, below = 4 * 6 * math.hypot(2, 3), 4 * 3.0, 6 * 2.0
    assert total_variation(ramp).item() == pytest.approx((inner + right + below) / 35, rel=1e-5)


def test_constant_grids_have_none_and_finite_slope():
    grid = torch.full((2, 4, 4, 4), 3.0, requires_grad=True)
    loss = squared_variation(grid) + total_variation(grid)
    assert loss.item() < 1e-5
    loss.backward()
    assert torch.isfinite(grid.grad).all()


def test_descent_on_variation_smooths_noise():
    torch.manual_seed(0)
    grid = torch.randn(1, 16, 16, requires_grad=True)
    before = total_variation(grid)
    before.backward()
    assert total_variation(grid.detach() - 5 * grid.grad) < before


def test_decay_weighs_levels_alike():
    levels = [torch.full((2, 2), 2.0), torch.full((1000, 2), 1.0)]
    assert normalized_decay(levels).item() == pytest.approx(4 + 1)


def test_terms_pick_their_tensors_from_the_field():
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), None, [])
    field.grid = torch.nn.Parameter(torch.arange(4.0)[None])
    evidence = Evidence(torch.zeros(0), torch.zeros(0), field)
    assert variation_term(lambda f: [f.grid]).evaluate(evidence).item() == pytest.approx(1.0)
    assert decay_term(lambda f: [f.grid]).evaluate(evidence).item() == pytest.approx(14 / 4)
    with pytest.raises(UsageError, match="Unknown variation"):
        variation_term(lambda f: [f.grid], kind="cubic")
