"""A field that starts again, once, while the poses stay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onefield.training.fresh_start import FreshStart
from onefield.training.optimizer import Adam, GroupRate
from tests.catalog import radiance_field


def drawn():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return radiance_field()


def trained():
    """A field, its optimiser that learns a pose, too, and both after two steps."""
    field, twist = drawn(), nn.Parameter(torch.zeros(6))
    parameters = {f"field.{name}": parameter for name, parameter in field.named_parameters()} | {"poses.twists": twist}
    optimizer = Adam(parameters, dict.fromkeys(parameters, "all"), {"all": GroupRate(0.1)})
    for _ in range(2):
        for parameter in parameters.values():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step(1.0)
    return field, twist, optimizer


def same(field, other):
    return all(torch.equal(a, b) for a, b in zip(field.parameters(), other.parameters(), strict=True))


def test_the_field_starts_again_where_it_is_time_and_the_poses_stay():
    field, twist, optimizer = trained()
    learned = twist.detach().clone()
    strategy = FreshStart(drawn, 0.25)
    strategy.before_step(field, optimizer, 0.24)
    assert not same(field, drawn())
    strategy.before_step(field, optimizer, 0.25)
    assert same(field, drawn())
    assert torch.equal(twist, learned)
    moments = optimizer.state_tensors()
    for name in moments:
        if name.startswith(("first.", "second.")):
            assert bool(moments[name].any()) == name.endswith("poses.twists"), name


def test_poses_slow_down_until_then_and_stay():
    _, twist, optimizer = trained()
    optimizer.groups["poses.twists"] = "poses"
    optimizer.rates["poses"] = FreshStart(drawn, 0.25).pose_rate(1e-3)
    steps = []
    for progress in (0.0, 0.125, 0.25, 0.26, 1.0):
        before = twist.detach().clone()
        twist.grad = torch.ones_like(twist)
        optimizer.step(1.0, progress)
        steps.append(float((before - twist.detach()).mean()))
    assert steps[1] / steps[0] == pytest.approx(0.03**0.5, rel=0.05)
    assert steps[2] / steps[0] == pytest.approx(0.03, rel=0.05)
    assert steps[3:] == [0.0, 0.0]


def test_it_happens_once_even_if_the_run_is_resumed():
    field, _, optimizer = trained()
    strategy = FreshStart(drawn, 0.25)
    strategy.before_step(field, optimizer, 0.3)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter += 1
    strategy.before_step(field, optimizer, 0.31)
    resumed = FreshStart(drawn, 0.25)
    resumed.load_state(strategy.state())
    resumed.before_step(field, optimizer, 0.4)
    assert not same(field, drawn())
