"""The grouped optimiser: it minimises, and its state survives a round trip."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onefield.errors import DataError, UsageError
from onefield.training.optimizer import Adam, GroupRate

RATES = {"encoding": GroupRate(0.1, skip_zeros=True), "network": GroupRate(0.05)}


def _problem() -> tuple[dict[str, nn.Parameter], Adam]:
    parameters = {"table": nn.Parameter(torch.zeros(5)), "weight": nn.Parameter(torch.ones(2))}
    return parameters, Adam(parameters, {"table": "encoding", "weight": "network"}, RATES)


def _step(parameters: dict[str, nn.Parameter], optimizer: Adam) -> float:
    optimizer.zero_gradients()
    loss = (parameters["table"][:3] - 2).square().sum() + (parameters["weight"] + 1).square().sum()
    loss.backward()
    optimizer.step(1.0)
    return loss.item()


def test_finds_the_minimum_and_leaves_unseen_entries() -> None:
    parameters, optimizer = _problem()
    for _ in range(400):
        _step(parameters, optimizer)
    torch.testing.assert_close(parameters["table"][:3].detach(), torch.full((3,), 2.0), atol=1e-2, rtol=0)
    assert parameters["table"][3:].abs().sum() == 0
    torch.testing.assert_close(parameters["weight"].detach(), torch.full((2,), -1.0), atol=1e-2, rtol=0)


def test_continues_to_the_same_numbers() -> None:
    parameters, optimizer = _problem()
    for _ in range(5):
        _step(parameters, optimizer)
    saved = {name: tensor.clone() for name, tensor in optimizer.state_tensors().items()}
    values = {name: p.detach().clone() for name, p in parameters.items()}
    expected = [_step(parameters, optimizer) for _ in range(5)]
    others, resumed = _problem()
    for name, value in values.items():
        others[name].data.copy_(value)
    resumed.load_tensors(saved)
    assert [_step(others, resumed) for _ in range(5)] == expected


def test_foreign_state_is_refused() -> None:
    _, optimizer = _problem()
    saved = optimizer.state_tensors() | {"first.table": torch.zeros(6)}
    with pytest.raises(DataError, match="'table'"):
        optimizer.load_tensors(saved)


def test_weight_decay_pulls_to_zero() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = Adam({"w": weight}, {"w": "network"}, {"network": GroupRate(0.01, weight_decay=1.0)})
    weight.grad = torch.zeros(3)
    optimizer.step(1.0)
    assert (weight < 1).all()


def test_averages_are_running_means_that_fresh_rows_start_anew() -> None:
    table = nn.Parameter(torch.zeros(3))
    optimizer = Adam({"table": table}, {"table": "network"}, RATES, average_decay=0.8)
    expected = torch.zeros(3)
    for _ in range(4):
        table.grad = torch.tensor([1.0, -2.0, 0.5])
        optimizer.step(1.0)
        expected = 0.8 * expected + 0.2 * table.detach()
    torch.testing.assert_close(optimizer.average("table"), expected)
    other = nn.Parameter(torch.tensor([5.0, 6.0, 7.0, 8.0]))
    optimizer.rearrange("table", other, torch.tensor([2, 0, 0, 1]), torch.tensor([False, False, True, False]))
    torch.testing.assert_close(
        optimizer.average("table"), torch.stack([*expected[[2, 0]], other[2].detach(), expected[1]])
    )
    saved = {name: tensor.clone() for name, tensor in optimizer.state_tensors().items()}
    again = Adam({"table": other}, {"table": "network"}, RATES, average_decay=0.8)
    again.load_tensors(saved)
    assert torch.equal(again.average("table"), optimizer.average("table"))
    optimizer.replace("table", nn.Parameter(torch.ones(2)))
    assert optimizer.average("table").tolist() == [1.0, 1.0]


def test_without_averages_asking_for_one_is_said() -> None:
    _, optimizer = _problem()
    with pytest.raises(UsageError, match="average_decay"):
        optimizer.average("table")
