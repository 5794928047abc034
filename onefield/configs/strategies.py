"""How fields change shape while they are trained, by the kind of their configuration."""

from __future__ import annotations

from onefield.configs.fields import STARTED_FROM_SCENE, DenseField, DistanceField, FieldConfig
from onefield.configs.objective import composed_part
from onefield.data.scene import Scene
from onefield.fields.encodings.hash_grid import grid_within
from onefield.fields.field import Field
from onefield.fields.section_opacity import DistanceAsOpacity
from onefield.training.growth import GridGrowth
from onefield.training.level_growth import LevelGrowth
from onefield.training.method import Strategy
from onefield.training.slope_annealing import SlopeAnnealing


def build_strategies(config: FieldConfig, field: Field, scene: Scene) -> tuple[Strategy, ...]:
    """The strategies that a field of this kind is trained with."""
    if isinstance(config, STARTED_FROM_SCENE):
        return config.strategies(scene)
    if isinstance(config, DenseField) and config.growth_stages > 0:
        return (GridGrowth(composed_part(field), config.resolution, config.growth_stages, config.growth_end),)
    return _of_distances(config, field) if isinstance(config, DistanceField) else ()


def _of_distances(config: DistanceField, field: Field) -> tuple[Strategy, ...]:
    strategies: list[Strategy] = []
    opacity = next((module for module in field.modules() if isinstance(module, DistanceAsOpacity)), None)
    if opacity is not None and config.anneal > 0:
        strategies.append(SlopeAnnealing(opacity, config.anneal))
    if config.first_levels > 0 and config.growth_end > 0:
        strategies.append(
            LevelGrowth(grid_within(composed_part(field).encoding), config.first_levels, config.growth_end)
        )
    return tuple(strategies)
