import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.heads import ValueHead


def test_is_affine_in_all_channels():
    features = torch.tensor([[-1.0, 0.0, 1.0]])
    torch.testing.assert_close(ValueHead(0.5, 0.25)(features), torch.tensor([[0.25, 0.5, 0.75]]))


def test_refuses_scale_zero():
    with pytest.raises(UsageError, match="scale"):
        ValueHead(scale=0.0)
