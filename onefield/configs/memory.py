"""Whether a method and a scene fit into this machine's memory, asked before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from onefield.cameras import Cameras
from onefield.configs.fields import DenseField, FieldConfig, FourierField, sized_field
from onefield.configs.gaussian_hierarchy import HierarchySet
from onefield.configs.gaussians import GaussianSet
from onefield.configs.method import MethodConfig, outlook
from onefield.configs.pixel_gaussians import PixelSet
from onefield.configs.reading import changed, to_plain
from onefield.configs.renderers import WITHOUT_SAMPLER, RayCast
from onefield.configs.surfaces import SurfaceGrid
from onefield.data.scene import Scene
from onefield.data.segments import SegmentStore
from onefield.errors import ResourceError, UsageError
from onefield.fields.field import Field
from onefield.kernels.system import memory_available
from onefield.renderers.sampling.sampler import Sampler
from onefield.training.memory import (
    LIBRARIES,
    MemoryNeed,
    opening_need,
    refusal,
    rendering_need,
    require,
    training_need,
)

# A proposed setting is this share smaller than the last one that did not fit, and at least by one.
_SMALLER = 1 / 16
_LARGEST_DOWNSCALE = 16
# What two models hold, or one with its running average, which is copied to be drawn, of what one holds.
_MODELS = {"dual": 2.0, "ema": 1.5}


def require_training_memory(config: MethodConfig, scene: Scene, downscale: int = 1) -> None:
    """Refuses a training that this machine has no memory for.

    Args:
        downscale: factor by which the scene's pictures are smaller than their files.

    Raises:
        ResourceError: less memory is available than training needs; names both, and a setting that fits.
    """
    need = _training_need(config, scene, downscale)
    available = memory_available()
    if need.total > available:
        cure = _cure(config, scene, downscale, need, available)
        raise ResourceError(refusal(need, f"Training {scene.name} by {config.method}", cure, available))


def require_opening_memory(config: MethodConfig, scene: Scene) -> None:
    """Refuses to open a run that this machine has no memory for.

    Raises:
        ResourceError: less memory is available than the run and one of its views need.
    """
    field, sampler = sized_parts(config, scene)
    cure = "free memory, or open the run on a machine that has more"
    require(opening_need(field, sampler, scene.cameras), f"Opening the run of {scene.name}", cure)


def require_rendering_memory(cameras: Cameras, cure: str) -> None:
    """Refuses to render pictures that this machine has no memory for.

    Args:
        cure: what to do, an imperative.

    Raises:
        ResourceError: less memory is available than the pictures need.
    """
    task = f"Rendering at {int(cameras.width.max())} x {int(cameras.height.max())} pixels"
    require(rendering_need(cameras), task, cure)


def sized_parts(config: MethodConfig, scene: Scene) -> tuple[Field, Sampler | None]:
    """Field and sampler of a method for a scene as sizes without values: on the meta device, which allocates nothing.

    Raises:
        UsageError: parts that can't be built.
        ResourceError: sizes that no machine can address.
    """
    seen = outlook(scene)
    try:
        with torch.device("meta"):
            field = sized_field(config.field, scene)
            return field, None if isinstance(config.renderer, WITHOUT_SAMPLER) else config.sampler.build(seen)
    except (RuntimeError, OverflowError, MemoryError, TypeError) as error:
        raise ResourceError(
            f"The sizes of method '{config.method}' are beyond any machine ({str(error).splitlines()[0]}); lower "
            f"{_size_key(config.field)} or sampler.resolution."
        ) from error


def _training_need(config: MethodConfig, scene: Scene, downscale: int) -> MemoryNeed:
    field, sampler = sized_parts(config, scene)
    cast = isinstance(config.renderer, RayCast)
    need = training_need(field, sampler, config.training, scene, cast=cast, downscale=downscale)
    if config.distractors == "none":
        return need
    segments = SegmentStore(scene)
    return replace(
        need,
        parameters=int(need.parameters * _MODELS.get(config.distractors, 1.0)),
        pictures=need.pictures + sum(segments.byte_size(int(index)) for index in scene.train_indices),
    )


def _size_key(config: FieldConfig) -> str:
    """The setting by which a field of this kind grows fastest."""
    if isinstance(config, GaussianSet):
        return "field.most"
    if isinstance(config, HierarchySet):
        return "field.roots"
    if isinstance(config, (DenseField, SurfaceGrid)):
        return "field.resolution"
    return "field.width" if isinstance(config, FourierField) else "field.log2_table_size"


def _cure(config: MethodConfig, scene: Scene, downscale: int, need: MemoryNeed, available: int) -> str:
    """The mildest change of the largest part that fits."""
    if isinstance(config.field, PixelSet):
        if available <= LIBRARIES:
            return "free memory, or train on a machine that has more"
        # all else is by the pixel
        factor = math.ceil(downscale * math.sqrt((need.total - LIBRARIES) / (available - LIBRARIES)))
        return f"make the pictures, whose pixels become Gaussians, smaller with --downscale {factor}"
    if need.largest in ("pictures", "views"):
        others = need.total - need.pictures - max(need.views - need.samples, 0)
        for factor in range(downscale + 1, downscale + _LARGEST_DOWNSCALE):
            if others + (need.pictures + need.views) * (downscale / factor) ** 2 <= available:
                return f"make the pictures smaller with --downscale {factor}"
        return "free memory, or train on a machine that has more"
    step = "training.most_rays" if isinstance(config.renderer, WITHOUT_SAMPLER) else "training.samples_per_step"
    keys = {"parameters": _size_key(config.field), "grid": "sampler.resolution", "samples": step}
    key = keys[need.largest]
    part, name = key.split(".")
    value = to_plain(config)[part].get(name, 0)
    while value > 1:
        value -= max(1, int(value * _SMALLER))
        if key == "sampler.resolution":
            value -= value % 4  # cells come in blocks
        try:
            if _training_need(changed(config, [f"{key}={value}"]), scene, downscale).total <= available:
                return f"lower it with --set {key}={value}"
        except (UsageError, ResourceError):
            continue
    return f"lower the method's sizes, {key} among them"
