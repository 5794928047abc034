import numpy as np
import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.iterative import IterativeField, blended, refined
from onefield.fields.networks import Siren
from onefield.types import Bounds


def iterative(steps):
    backbone = ComposedField(Bounds((0.0, 0.0), (2.0, 1.0)), IdentityEncoding(2), Siren(2, 5, 8, 1), [ValueHead()])
    return IterativeField(backbone, 2, 3, ValueHead(10.0, 4.0), steps)


def test_a_true_estimate_leads_back_along_the_blends():
    signal, start = torch.rand(2, 7, 2, dtype=torch.float64)
    current = blended(signal, start, torch.full((7,), 0.8, dtype=torch.float64))
    torch.testing.assert_close(current, 0.2 * signal + 0.8 * start)
    torch.testing.assert_close(refined(signal, current, 0.3, 0.8), 0.7 * signal + 0.3 * start)


def test_states_keep_to_the_schedule_and_one_step_is_the_backbone():
    field, points = iterative(steps=4), torch.rand(6, 2)
    backbone = field.backbone.query(points, want=("value",)).value[:, :2]
    # what is fused begins at 0, so that each estimate is the backbone's
    for state, time in zip(field.states(points), (1, 0.75, 0.5, 0.25, 0), strict=True):
        torch.testing.assert_close(state, (1 - time) * backbone)
    with torch.no_grad():
        field.fusion[-1].weight.normal_()
    torch.testing.assert_close(field.states(points, 1)[-1], backbone)
    assert (field.states(points)[-1] - backbone).abs().max() > 0.05


def test_answers_follow_the_equations_on_set_weights():
    field, points = iterative(steps=3), torch.rand(5, 2)
    with torch.no_grad():
        for parameter in field.fusion.parameters():
            parameter.normal_()
        seen = field.backbone.query(points, want=("value",)).value.double().numpy()
        answer = field.query(points).value
    weights = {name: value.double().numpy() for name, value in field.state_dict().items()}

    def layers(name, inputs):
        hidden = inputs @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"]
        return hidden / (1 + np.exp(-hidden)) @ weights[f"{name}.2.weight"].T + weights[f"{name}.2.bias"]

    current = np.zeros((5, 2))
    for time, earlier in ((1, 2 / 3), (2 / 3, 1 / 3), (1 / 3, 0)):
        fed_back = layers("feedback", np.c_[current, np.full(5, time)])
        estimate = seen[:, :2] + (1 - time) * layers("fusion", np.c_[seen[:, 2:], fed_back])
        current = (1 - earlier / time) * estimate + earlier / time * current
    np.testing.assert_allclose(answer, 10 + 4 * current, rtol=1e-4)


def test_sizes_must_be_positive():
    with pytest.raises(UsageError, match="steps of 1 or more"):
        iterative(steps=0)
