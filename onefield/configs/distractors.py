"""What a method gets that is trained on photos with passers-by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from onefield.data.scene import Scene
from onefield.data.segments import SegmentStore
from onefield.errors import UsageError, nearest_name
from onefield.fields.gaussians import GaussianField
from onefield.training.distractors import (
    AVERAGE_DECAY,
    AVERAGE_WEIGHT,
    DUAL_WEIGHT,
    Distractors,
    HardMask,
    SoftMask,
)
from onefield.training.method import Method
from onefield.training.patch_features import LocalDescriptor, patch_size

DISTRACTORS = ("none", "dual", "ema")


def against_distractors(kind: str, scene: Scene, alone: Method, another: Callable[[], Method]) -> Method:
    """A method with masks for distractors, and with a second model where it is ``dual``.

    Args:
        alone: the method without.
        another: makes the same method from other random numbers.

    Raises:
        UsageError: an unknown kind, or a method that does not splat Gaussians.
    """
    if kind not in DISTRACTORS:
        raise UsageError(f"Unknown distractors '{kind}': {nearest_name(kind, DISTRACTORS)}.")
    if not (alone.renderer.takes_pictures and isinstance(alone.field, GaussianField)):
        raise UsageError(
            f"distractors={kind} looks at whole pictures of Gaussians, which method '{alone.name}' does not; train "
            "with '--method splat', or leave it out."
        )
    sizes = [picture.size for picture in scene.images.pictures]
    patch = patch_size(max(max(size) for size in sizes))
    features = LocalDescriptor(patch)
    hard, soft = HardMask(SegmentStore(scene)), SoftMask(sizes, patch)
    if kind == "ema":
        return replace(alone, distractors=Distractors((hard, soft), features, AVERAGE_WEIGHT, AVERAGE_DECAY))
    companion = replace(another(), distractors=Distractors((soft,), features, DUAL_WEIGHT))
    return replace(alone, distractors=Distractors((hard,), features, DUAL_WEIGHT), companion=companion)
