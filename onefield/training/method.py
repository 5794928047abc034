"""What a training run consists of, once a configuration has been built for a scene."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from onefield.data.batches import RayBatches
from onefield.data.picture_batches import PictureBatches
from onefield.data.scene import Scene
from onefield.fields.field import Field
from onefield.losses.term import LossTerm
from onefield.renderers.renderer import Renderer
from onefield.training.appearance import Appearance
from onefield.training.distractors import Distractors
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.poses import PoseRefinement
from onefield.training.settings import TrainingSettings
from onefield.types import Rendering

# Losses that compare with known depth in an unknown unit.
RELATIVE_TERMS = ("relative_depth", "occupied_relative_depth")
# Losses that compare with known distances.
DEPTH_TERMS = ("depth", "line_of_sight", "occupied_depth", *RELATIVE_TERMS)
# Losses that compare with known normals.
NORMAL_TERMS = ("normals", "occupied_normals")


class Strategy(ABC):
    """Changes the field while it is trained: growing, densifying, pruning."""

    @abstractmethod
    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Edits the field and the optimiser's state, where ``progress`` in [0, 1] says that it is time."""

    def after_step(
        self, field: Field, optimizer: Adam, rendering: Rendering, progress: float, generator: torch.Generator
    ) -> None:
        """Looks at what a step rendered, with its gradients, once the parameters have moved."""
        del field, optimizer, rendering, progress, generator

    def state(self) -> dict[str, Tensor]:
        """What a strategy remembers from step to step, for `load_state` to go on from."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state` gave; called after `match`."""
        del state

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
        rates: of groups of parameters that don't learn at the rates of the settings.
        distractors: masks for what single photos show and the scene does not; None trusts photos as they are.
        companion: a second method that is trained alongside on views of its own, and held to what this one shows as
            this one is to it; all that is asked of a trained method is asked of the first one.
    """

    name: str
    field: Field
    renderer: Renderer
    objective: tuple[LossTerm, ...]
    settings: TrainingSettings
    strategies: tuple[Strategy, ...] = ()
    poses: PoseRefinement | None = None
    appearance: Appearance | None = None
    rates: dict[str, GroupRate] = field(default_factory=dict)
    distractors: Distractors | None = None
    companion: Method | None = None

    def model(self) -> nn.ModuleDict:
        """Everything that is learned or grown, under the names that checkpoints use."""
        others = {"poses": self.poses, "appearance": self.appearance, "distractors": self.distractors}
        return nn.ModuleDict(
            {"field": self.field, "renderer": self.renderer}
            | {name: module for name, module in others.items() if module is not None}
        )

    def lasting(self, steps: int) -> Method:
        """The same with another budget: so many steps, whatever it was before."""
        companion = None if self.companion is None else self.companion.lasting(steps)
        return replace(self, settings=self.settings.lasting(steps), companion=companion)

    def batches(self, scene: Scene, indices: Sequence[int] | Tensor, seed: int) -> RayBatches | PictureBatches:
        """What to train on or to check against: rays of many views, or whole pictures, as the renderer takes them."""
        if self._weighs(RELATIVE_TERMS):
            # points have distances in the scene's unit, and maps have not
            scene = replace(scene, sightings=None)
        if self.renderer.takes_pictures:
            return PictureBatches(scene, indices, seed=seed, distances=self.wants_distances)
        return RayBatches(scene, indices, seed=seed, distances=self.wants_distances, normals=self.wants_normals)

    @property
    def wants_distances(self) -> bool:
        """Whether the objective compares with measured depth."""
        return self._weighs(DEPTH_TERMS)

    @property
    def wants_normals(self) -> bool:
        """Whether the objective compares with known normals."""
        return self._weighs(NORMAL_TERMS)

    def _weighs(self, names: tuple[str, ...]) -> bool:
        return any(term.name in names for term in self.objective)

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
