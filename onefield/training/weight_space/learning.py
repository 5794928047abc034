"""The loop by which models of weights learn, which can be stopped and gone on with."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.seeds import cpu_generator
from onefield.training.tensor_file import TensorFile
from onefield.training.weight_space.stored import named

_FILE = TensorFile("onefield_unfinished", 1, "learning that was stopped", "remove it")
_MODEL, _OPTIMIZER, _GENERATOR = "model.", "optimizer.", "generator"
# Adam's as in the paper of Kingma and Ba; tables of features want others.
_BETA2, _EPSILON = 0.999, 1e-8  # keeps the quotient finite where a gradient is 0
_REPORTS = 10


@dataclass(frozen=True)
class Sitting:
    """Learning that may be stopped, and gone on with to the same numbers.

    Attributes:
        path: where it leaves what it learned so far, ten times, when it is stopped, and at its end; it goes on from
            what is there. Who has saved the model removes it.
        should_stop: asked after every step.
    """

    path: Path
    should_stop: Callable[[], bool]


def digest(rows: Tensor) -> str:
    """By which data are known again."""
    return hashlib.sha256(rows.contiguous().numpy().tobytes()).hexdigest()[:16]


def learn(
    network: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    *,
    rate: float,
    steps: int,
    seed: int,
    settings: Mapping[str, object],
    observe: Callable[[str], None] | None = None,
    sitting: Sitting | None = None,
) -> bool:
    """Trains a network in place by Adam, at a rate that falls to 0 by half a cosine.

    Args:
        loss: of a batch that it draws with the generator.
        rate: at the first step.
        steps: of Adam.
        seed: of the generator.
        settings: plain JSON data that must be the same when learning goes on.
        observe: is told, ten times, the loss.
        sitting: where it is kept when it is stopped; None does not stop.

    Returns:
        Whether all steps are done.

    Raises:
        UsageError: a number of steps that is not positive, or a sitting that was begun with other settings.
        DataError: a sitting's file that can't be read.
    """
    if steps < 1:
        raise UsageError(f"Models of weights need a positive number of steps, got {steps}.")
    parameters = dict(network.named_parameters())
    optimizer = Adam(
        parameters, dict.fromkeys(parameters, "network"), {"network": GroupRate(rate)}, beta2=_BETA2, epsilon=_EPSILON
    )
    generator = cpu_generator(seed)
    known = json.loads(json.dumps({"steps": steps, "seed": seed} | dict(settings)))
    first = 0
    if sitting is not None and sitting.path.exists():
        first = _restore(sitting.path, network, optimizer, generator, known)
    for number in range(first, steps):
        value = loss(generator)
        optimizer.zero_gradients()
        value.backward()
        optimizer.step((1 + math.cos(math.pi * number / steps)) / 2)
        due = number % max(1, steps // _REPORTS) == 0
        if observe is not None and due:
            observe(f"{number / steps:4.0%}  step {number}  loss {value.item():.4g}")
        stopped = sitting is not None and sitting.should_stop()
        if sitting is not None and (due or stopped or number + 1 == steps):
            _keep(sitting.path, network, optimizer, generator, known | {"step": number + 1})
        if stopped and number + 1 < steps:
            return False
    return True


def _keep(path: Path, network: nn.Module, optimizer: Adam, generator: torch.Generator, facts: dict) -> None:
    tensors = {_MODEL + name: tensor for name, tensor in network.state_dict().items()}
    tensors |= {_OPTIMIZER + name: tensor for name, tensor in optimizer.state_tensors().items()}
    _FILE.write(path, facts, tensors | {_GENERATOR: generator.get_state()})


def _restore(path: Path, network: nn.Module, optimizer: Adam, generator: torch.Generator, known: dict) -> int:
    """The step to go on with."""
    with _FILE.opened(path) as (facts, tensors):
        for name, value in known.items():
            if facts.get(name) != value:
                began = facts.get(name)
                raise UsageError(f"{path} was begun with {name} {began}, not {value}; go on with that, or remove it.")
        network.load_state_dict(named(tensors, _MODEL))
        optimizer.load_tensors(named(tensors, _OPTIMIZER))
        generator.set_state(tensors[_GENERATOR])
        return int(facts["step"])
