"""What a training run consists of, once a configuration has been built for a scene."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onefield.fields.field import Field
from onefield.losses.term import LossTerm
from onefield.renderers.volume import VolumeRenderer
from onefield.training.appearance import Appearance
from onefield.training.optimizer import Adam
from onefield.training.poses import PoseRefinement
from onefield.training.settings import TrainingSettings

# Losses that compare with known distances.
DEPTH_TERMS = ("depth", "line_of_sight")


class Strategy(ABC):
    """Changes the field while it is trained: growing, densifying, pruning."""

    @abstractmethod
    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Edits the field and the optimiser's state, where ``progress`` in [0, 1] says that it is time."""

    @abstractmethod
    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Gives the field's parameters the shapes of a checkpoint that was saved later in the run.

        Args:
            saved: the checkpoint's tensors, under the names of `Method.model`.
            optimizer: whose state takes the same shapes; None where the field is only looked at.
        """


@dataclass(frozen=True)
class Method:
    """A field with the renderer, objective and settings that train it.

    Attributes:
        name: of the preset, as checkpoints record it.
        objective: summands; those of weight 0 are left out by whoever builds it.
        strategies: in the order in which they act.
        poses: corrections of the training cameras; None takes the poses as they are.
        appearance: corrections of colours, image by image; None takes photos as they are.
    """

    name: str
    field: Field
    renderer: VolumeRenderer
    objective: tuple[LossTerm, ...]
    settings: TrainingSettings
    strategies: tuple[Strategy, ...] = ()
    poses: PoseRefinement | None = None
    appearance: Appearance | None = None

    def model(self) -> nn.ModuleDict:
        """Everything that is learned or grown, under the names that checkpoints use."""
        corrections = {"poses": self.poses, "appearance": self.appearance}
        return nn.ModuleDict(
            {"field": self.field, "renderer": self.renderer}
            | {name: module for name, module in corrections.items() if module is not None}
        )

    @property
    def wants_distances(self) -> bool:
        """Whether the objective compares with measured depth."""
        return any(term.name in DEPTH_TERMS for term in self.objective)

    def parameter_groups(self) -> dict[str, str]:
        """The rate group of every parameter, by the name it has in `model`."""
        group_of = {
            id(parameter): group
            for owner in (self.field, self.renderer)
            for group, parameters in owner.parameter_groups().items()
            for parameter in parameters
        }
        for group, module in (("poses", self.poses), ("appearance", self.appearance)):
            group_of |= {id(parameter): group for parameter in (() if module is None else module.parameters())}
        return {name: group_of.get(id(p), "network") for name, p in self.model().named_parameters()}


def cpu_generator(seed: int) -> torch.Generator:
    """The source of all random numbers of a run."""
    return torch.Generator().manual_seed(seed)
