"""Backgrounds and compositing of pictures with alpha."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.renderers.background import Black, Learned, Random, White, composite_alpha
from onefield.types import Rays


def rays(count: int = 500) -> Rays:
    directions = torch.nn.functional.normalize(torch.randn(count, 3), dim=-1)
    return Rays(torch.zeros(count, 3), directions)


def test_plain_colors():
    assert (White()(rays()) == 1).all()
    assert (Black()(rays()) == 0).all()


def test_random_is_random_in_training_only():
    some = rays()
    first, again, other = (Random()(some, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 1
    torch.testing.assert_close(first.mean(0), torch.full((3,), 0.5), atol=0.06, rtol=0)
    assert (Random()(some) == 1).all()


def test_learned_takes_on_a_sky():
    sky, some = Learned(), rays()
    assert (sky(some) == 0.5).all()
    up = some.directions[:, 2:]
    truth = torch.sigmoid(torch.cat([up, -up, up * up], dim=-1))
    optimizer = torch.optim.LBFGS(sky.parameters(), max_iter=60)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = (sky(some) - truth).square().mean()
        error.backward()
        return error

    optimizer.step(loss)
    assert (sky(some) - truth).abs().max() < 0.02
    assert len(sky.parameter_groups()["network"]) == 1
    with pytest.raises(UsageError, match="degree"):
        Learned(3)


def test_alpha_shows_what_lies_behind():
    pixels = torch.tensor([[1.0, 0.0, 0.0, 0.25], [0.2, 0.4, 0.6, 1.0]])
    behind = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(composite_alpha(pixels, behind), torch.tensor([[0.25, 0.75, 0.0], [0.2, 0.4, 0.6]]))
    assert torch.equal(composite_alpha(pixels[:, :3], behind), pixels[:, :3])
