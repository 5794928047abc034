"""All that a run must remember between two steps, to disk and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from onefield.data.batches import RayBatches
from onefield.data.picture_batches import PictureBatches
from onefield.errors import DataError
from onefield.training.checkpoints import Checkpoint, save_checkpoint
from onefield.training.method import Method
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.seeds import cpu_generator

_GENERATOR_KEY = "generator"
_BATCHES_PREFIX = "batches."
_STRATEGY_PREFIX = "strategy."
_COMPANION_PREFIX = "companion."
_COMPANION_MODEL_PREFIX = "companion.model."


@dataclass
class TrainingState:
    """One run between two steps.

    Attributes:
        rays_per_step: adapts so that a step has about the wanted number of samples.
        elapsed: seconds of training so far, over all sittings.
        rate_scale: falls when the run had to go back after values that were not finite.
        rollbacks: how often that happened.
        companion: of the method that is trained alongside; it goes by this one's clock.
    """

    method: Method
    batches: RayBatches | PictureBatches
    optimizer: Adam
    generator: torch.Generator
    step: int = 0
    elapsed: float = 0.0
    rays_per_step: int = 0
    rate_scale: float = 1.0
    rollbacks: int = 0
    recent_samples: list[float] = field(default_factory=list)
    companion: TrainingState | None = None

    @staticmethod
    def begin(method: Method, batches: RayBatches | PictureBatches) -> TrainingState:
        """The state before the first step."""
        settings = method.settings
        groups = method.parameter_groups()
        network = GroupRate(settings.network_rate, weight_decay=settings.network_decay)
        rates = dict.fromkeys(groups.values(), network)
        rates["encoding"] = GroupRate(settings.encoding_rate, skip_zeros=True)
        rates["poses"] = GroupRate(settings.pose_rate)
        rates["appearance"] = GroupRate(settings.appearance_rate)
        rates |= method.rates
        optimizer = Adam(
            dict(method.model().named_parameters()),
            groups,
            rates,
            beta2=settings.beta2,
            average_decay=None if method.distractors is None else method.distractors.average_decay,
        )
        companion = None
        if method.companion is not None:
            companion = TrainingState.begin(method.companion, batches.shuffled(method.companion.settings.seed))
        return TrainingState(
            method,
            batches,
            optimizer,
            cpu_generator(settings.seed),
            rays_per_step=settings.first_rays,
            companion=companion,
        )

    @property
    def progress(self) -> float:
        return self.method.settings.progress(self.step, self.elapsed)

    def follow(self, other: TrainingState) -> None:
        """Takes over another run's clock, and its learning rates' factor."""
        self.step, self.elapsed, self.rate_scale = other.step, other.elapsed, other.rate_scale

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint of the current step."""
        model, tensors, facts = self._record()
        if self.companion is not None:
            other, others, facts["companion"] = self.companion._record()
            tensors |= {_COMPANION_MODEL_PREFIX + name: tensor for name, tensor in other.items()}
            tensors |= {_COMPANION_PREFIX + name: tensor for name, tensor in others.items()}
        return save_checkpoint(folder, self.step, model, tensors, facts, method=self.method.name)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Takes over a checkpoint, to the same numbers.

        Raises:
            DataError: it belongs to another configuration.
        """
        self._take_over(checkpoint.model, checkpoint.optimizer, checkpoint.state)
        self.step = checkpoint.step
        if self.companion is None:
            return
        if "companion" not in checkpoint.state:
            raise DataError(
                f"{checkpoint.path} holds one model, but the method '{self.method.name}' trains two; use the "
                "configuration that the run was trained with."
            )
        model, memory = (_of(prefix, checkpoint.optimizer) for prefix in (_COMPANION_MODEL_PREFIX, _COMPANION_PREFIX))
        self.companion._take_over(model, memory, checkpoint.state["companion"])
        self.companion.step = checkpoint.step

    def _record(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict]:
        """The model, all other tensors, and plain facts."""
        tensors = self.optimizer.state_tensors() | {_GENERATOR_KEY: self.generator.get_state()}
        tensors |= {_BATCHES_PREFIX + name: tensor for name, tensor in self.batches.state().items()}
        for number, strategy in enumerate(self.method.strategies):
            tensors |= {f"{_STRATEGY_PREFIX}{number}.{name}": tensor for name, tensor in strategy.state().items()}
        facts = {
            "elapsed": self.elapsed,
            "rays_per_step": self.rays_per_step,
            "rate_scale": self.rate_scale,
            "rollbacks": self.rollbacks,
            "recent_samples": self.recent_samples,
        }
        model = {name: tensor.detach() for name, tensor in self.method.model().state_dict().items()}
        return model, tensors, facts

    def _take_over(self, model: dict[str, Tensor], tensors: dict[str, Tensor], facts: dict) -> None:
        for strategy in self.method.strategies:
            strategy.match(self.method.field, model, self.optimizer)
        load_model(self.method, model)
        self.optimizer.load_tensors(tensors)
        self.generator.set_state(tensors[_GENERATOR_KEY])
        self.batches.load_state(_of(_BATCHES_PREFIX, tensors))
        for number, strategy in enumerate(self.method.strategies):
            strategy.load_state(_of(f"{_STRATEGY_PREFIX}{number}.", tensors))
        self.elapsed = float(facts["elapsed"])
        self.rays_per_step = int(facts["rays_per_step"])
        self.rate_scale = float(facts["rate_scale"])
        self.rollbacks = int(facts["rollbacks"])
        self.recent_samples = [float(count) for count in facts["recent_samples"]]


def _of(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_model(method: Method, tensors: dict[str, Tensor]) -> None:
    """Fills field and renderer from a checkpoint's tensors.

    Raises:
        DataError: names or shapes differ from what the configuration builds.
    """
    model = method.model()
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise DataError(
                f"The checkpoint does not fit the method '{method.name}': '{name}' should have shape "
                f"{expected.get(name, 'none (it is not part of this method)')}, but the checkpoint has "
                f"{found.get(name, 'none')}; use the configuration that the run was trained with."
            )
    model.load_state_dict(tensors)
