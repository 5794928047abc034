"""The configuration of a whole method: field, sampler, objective, background, training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from onefield.configs.fields import FieldConfig, HashField
from onefield.configs.objective import build_objective
from onefield.configs.samplers import Occupancy, SamplerConfig
from onefield.configs.strategies import build_strategies
from onefield.data.scene import Scene
from onefield.errors import UsageError, nearest_name
from onefield.renderers.background import Background, Black, Learned, Random, White
from onefield.renderers.volume import VolumeRenderer
from onefield.training.method import Method
from onefield.training.settings import TrainingSettings

BACKGROUNDS: dict[str, type[Background]] = {"white": White, "black": Black, "random": Random, "learned": Learned}


# Points of structure from motion have outliers, and stand only where there is texture: half the depth of their nearest
# hundredth is a safe side. Without points, nobody photographs a scene from closer than a tenth of the usual distance.
POINT_QUANTILE, POINT_MARGIN = 0.01, 0.5
DISTANCE_SHARE = 0.1
# Enough points for a quantile.
FEWEST_POINTS = 100


def nearest_content(scene: Scene) -> float:
    """Distance from the cameras within which nothing is expected, normalised units.

    What floats close to a lens explains one photo and spoils all others, so samplers start behind it.
    """
    positions = scene.cameras.positions[scene.train_indices]
    usual = DISTANCE_SHARE * float(positions.norm(dim=-1).median())
    if scene.points is None or len(scene.points.points) < FEWEST_POINTS:
        return usual
    forwards = scene.cameras.forwards[scene.train_indices]
    offsets = scene.points.points.double()[None] - positions[:, None]
    depths = (offsets * forwards[:, None]).sum(-1)
    seen = depths[depths > 0]
    if len(seen) == 0:
        return usual
    ordered = seen.sort().values
    return max(usual, POINT_MARGIN * float(ordered[int(POINT_QUANTILE * (len(ordered) - 1))]))


@dataclass(frozen=True)
class MethodConfig:
    """A method, complete: rerunning it on the same scene repeats the run.

    Attributes:
        method: name of the preset that it started from.
        losses: weight of each summand of the objective, by name.
        background: ``auto`` takes what the scene's format asks for, else black for open scenes and white for photos
            with alpha.
        prefilter: ask for density without gradients first and train only on samples that are seen.
    """

    method: str
    field: FieldConfig = dataclasses.field(default_factory=HashField)
    sampler: SamplerConfig = dataclasses.field(default_factory=Occupancy)
    losses: dict[str, float] = dataclasses.field(default_factory=lambda: {"huber": 1.0})
    background: str = "auto"
    prefilter: bool = True
    training: TrainingSettings = dataclasses.field(default_factory=TrainingSettings)

    def build(self, scene: Scene) -> Method:
        """Makes the method for a scene, with all parameters drawn from the training seed.

        Raises:
            UsageError: parts that can't meet, or an unknown loss or background.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            built = self.field.build(scene.bounded, scene.extent_scale)
            sampler = self.sampler.build(scene.bounded, scene.extent_scale, nearest_content(scene))
            background = self._background(scene)
        renderer = VolumeRenderer(sampler, background, prefilter=self.prefilter)
        renderer.check(built)
        if isinstance(self.sampler, Occupancy):
            sampler.mark_invisible(scene.cameras[scene.train_indices])
        return Method(
            name=self.method,
            field=built,
            renderer=renderer,
            objective=build_objective(self.losses, built),
            settings=self.training,
            strategies=build_strategies(self.field, built),
        )

    def _background(self, scene: Scene) -> Background:
        name = self.background
        if name == "auto":
            name = scene.background or ("white" if scene.alpha else "black")
        if name not in BACKGROUNDS:
            raise UsageError(f"Unknown background '{name}': {nearest_name(name, ('auto', *BACKGROUNDS))}.")
        return BACKGROUNDS[name]()
