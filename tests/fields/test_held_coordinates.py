"""Fields over the first axes of others."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.held_coordinates import HeldCoordinates
from onefield.types import Bounds


def test_it_answers_as_the_whole_field_does_there_and_keeps_its_code():
    domain = Bounds((0.0, 0.0, -1.0, -1.0), (2.0, 1.0, 1.0, 1.0))
    whole = ComposedField(domain, IdentityEncoding(4), None, [ValueHead()])
    held = HeldCoordinates(whole, torch.tensor([0.25, -0.5]))
    assert (held.domain.minimum, held.domain.maximum) == ((0.0, 0.0), (2.0, 1.0))
    answer = held.query(torch.tensor([[0.5, 0.75]])).value
    # places in their box become [-1, 1]; codes lie there already
    torch.testing.assert_close(answer, torch.tensor([[-0.5, 0.5, 0.25, -0.5]]))
    assert torch.equal(held.state_dict()["held"], torch.tensor([0.25, -0.5]))
    with pytest.raises(UsageError, match="can't have 4 of them held"):
        HeldCoordinates(whole, torch.zeros(4))
