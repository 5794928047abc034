from dataclasses import replace

import pytest
import torch
from torch import nn

from onefield.errors import DataError, UsageError
from onefield.training.weight_space.learning import Sitting, digest, learn


def learned(sitting=None, steps=40, **changed):
    """A line through noisy samples, drawn anew in every step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Linear(1, 1)

    def loss(generator):
        x = torch.rand(64, 1, generator=generator)
        y = 2 * x + 1 + 0.01 * torch.randn(64, 1, generator=generator)
        return (network(x) - y).square().mean()

    settings = {"fields": digest(torch.ones(3))} | changed
    done = learn(network, loss, rate=0.2, steps=steps, seed=3, settings=settings, sitting=sitting)
    return network if done else None


def test_what_was_stopped_goes_on_to_the_same_numbers(tmp_path):
    whole = learned()
    assert whole.weight.item() == pytest.approx(2, abs=0.1)
    assert whole.bias.item() == pytest.approx(1, abs=0.1)
    asked = []
    sitting = Sitting(tmp_path / "unfinished.safetensors", lambda: bool(asked.append(0)) or len(asked) == 17)
    assert learned(sitting) is None
    again = learned(sitting)
    assert len(asked) == 40
    assert torch.equal(again.weight, whole.weight)
    assert torch.equal(learned(sitting).bias, whole.bias)
    assert len(asked) == 40


def test_other_settings_and_other_files_are_refused(tmp_path):
    sitting = Sitting(tmp_path / "unfinished.safetensors", lambda: True)
    assert learned(sitting) is None
    with pytest.raises(UsageError, match=r"was begun with steps 40, not 50"):
        learned(sitting, steps=50)
    with pytest.raises(UsageError, match=r"was begun with fields \w+, not others"):
        learned(sitting, fields="others")
    sitting.path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"unfinished\.safetensors holds no learning that was stopped"):
        learned(sitting)
    with pytest.raises(UsageError, match="positive number of steps, got 0"):
        learned(replace(sitting, path=tmp_path / "other.safetensors"), steps=0)
