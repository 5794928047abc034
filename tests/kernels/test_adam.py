"""Adam's kernels against its formula, and skipped entries."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.adam import adam_step


def _run(steps: int, skip_zeros: bool, size: int = 9000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    parameter = torch.randn(size, generator=generator)
    first, second = torch.zeros(size), torch.zeros(size)
    for step in range(1, steps + 1):
        gradient = torch.randn(size, generator=generator)
        gradient[torch.rand(size, generator=generator) < 0.7] = 0
        adam_step(parameter, gradient, first, second, 1e-2, 0.9, 0.99, 1e-15, step, skip_zeros)
    return parameter, second


@pytest.mark.parametrize("skip_zeros", [False, True])
def test_kernel_agrees_with_reference(skip_zeros: bool) -> None:
    fast = _run(4, skip_zeros)
    with use("reference"):
        slow = _run(4, skip_zeros)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_agrees_with_torch_adam_where_nothing_is_skipped() -> None:
    ours, theirs = torch.linspace(-1, 1, 50), torch.nn.Parameter(torch.linspace(-1, 1, 50))
    first, second = torch.zeros(50), torch.zeros(50)
    optimizer = torch.optim.Adam([theirs], lr=1e-2, betas=(0.9, 0.99), eps=1e-8)
    for step in range(1, 6):
        gradient = torch.sin(torch.arange(50.0) * step) + 0.1
        theirs.grad = gradient.clone()
        optimizer.step()
        adam_step(ours, gradient, first, second, 1e-2, 0.9, 0.99, 1e-8, step, False)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_entries_without_gradient_keep_value_and_moments() -> None:
    parameter, first, second = torch.ones(3), torch.full((3,), 0.5), torch.full((3,), 0.25)
    adam_step(parameter, torch.tensor([0.0, 1.0, 0.0]), first, second, 0.1, 0.9, 0.99, 1e-15, 7, True)
    assert parameter[0] == 1
    assert parameter[2] == 1
    assert first.tolist()[0] == 0.5
    assert second.tolist()[2] == 0.25
    assert parameter[1] != 1


def test_first_step_moves_by_the_rate() -> None:
    parameter, first, second = torch.zeros(1), torch.zeros(1), torch.zeros(1)
    adam_step(parameter, torch.tensor([1e-6]), first, second, 0.01, 0.9, 0.99, 1e-15, 1, True)
    assert math.isclose(parameter.item(), -0.01, rel_tol=1e-4)


def test_what_does_not_lie_in_one_piece_is_changed_where_it_lies() -> None:
    gradient, answers = torch.randn(4, 3), []
    for turned in (False, True):
        parameter, first, second = (
            torch.full((3, 4), value).T if turned else torch.full((4, 3), value) for value in (1.0, 0.0, 0.0)
        )
        adam_step(parameter, gradient, first, second, 0.1, 0.9, 0.99, 1e-15, 1, False)
        answers.append((parameter, first, second))
    for plain, turned in zip(*answers, strict=True):
        assert torch.equal(plain, turned)
    torch.testing.assert_close(answers[1][0], 1 - 0.1 * gradient.sign())
