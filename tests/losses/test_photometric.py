import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.losses.photometric import (
    absolute_error,
    charbonnier,
    covered_term,
    huber,
    photometric_term,
    squared_error,
)
from onefield.losses.term import Evidence
from onefield.types import Bounds, Rendering

PREDICTION = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
TARGET = torch.tensor([[0.05, 0.5], [0.6, 0.25]])


def test_closed_forms():
    assert squared_error(PREDICTION, TARGET).item() == pytest.approx((0.05**2 + 0.4**2) / 4)
    assert absolute_error(PREDICTION, TARGET).item() == pytest.approx(0.45 / 4)
    assert huber(PREDICTION, TARGET).item() == pytest.approx((0.05**2 / 0.2 + 0.4 - 0.05) / 4)
    expected = (math.hypot(0.05, 1e-3) + math.hypot(0.4, 1e-3) + 2e-3) / 4
    assert charbonnier(PREDICTION, TARGET).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["l2", "l1", "huber", "charbonnier"])
def test_term_is_finite_and_pulls_towards_the_target(kind):
    prediction = PREDICTION.clone().requires_grad_()
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), None, [])
    term = photometric_term(kind, 2.0)
    term.evaluate(Evidence(prediction, TARGET, field)).backward()
    assert term.weight == 2.0
    assert (torch.sign(prediction.grad) == torch.sign(PREDICTION - TARGET)).all()


def test_unknown_kind_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'huber'"):
        photometric_term("hubr")


def test_pixels_that_the_object_fills_in_part_are_left_to_outlines():
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), None, [])
    prediction, target = torch.full((4, 3), 0.5), torch.tensor([0.4, 0.1, 0.9, 0.3])[:, None].expand(4, 3)
    rendering = Rendering(prediction, None, torch.tensor([1.0, 0.9, 1.0, 1.0]))
    given = Evidence(prediction, target, field, rendering, target_opacity=torch.tensor([1.0, 1.0, 0.6, 1.0]))
    assert covered_term().evaluate(given).item() == pytest.approx((0.1 + 0.2) / 4)
    bare = Evidence(prediction, target, field, rendering)
    assert covered_term().evaluate(bare).item() == pytest.approx((0.1 + 0.4 + 0.4 + 0.2) / 4)
