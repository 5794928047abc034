"""Options of ``onefield train`` about what photos are like: their size, poses, light, masks and depth maps."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from onefield.configs.runs import RunConfig
from onefield.data.scene import Scene
from onefield.training.held_out import WHOLE, protocol
from onefield.training.method import Method

_MASK_MEANINGS = {
    "ignore": "black pixels are never learned from and never scored",
    "carve": "nothing stands where they are black",
    "alpha": "they are the pictures' alpha",
}


@dataclass(frozen=True)
class PhotoOptions:
    """What to make of the photos, and of what lies beside them.

    Attributes:
        downscale: makes images this many times smaller.
        refine_poses: correct the cameras' poses while training; held-out views are then fitted on the left half of
            their picture and scored on the right half.
        appearance: what may differ from photo to photo: exposure (gain and offset a channel), affine (a colour matrix)
            or code (a small network); held-out views as with --refine-poses.
        masks: what black pixels mean: ignore (never learned from or scored), carve (nothing stands there) or alpha
            (the mask is the photo's alpha); auto follows the format, none disregards masks.
        depth_unit: units of the poses for one unit of the depth maps, such as 0.001 for millimetres; the format's own
            by default. Depth counts where losses.depth has a weight.
        depth_kind: depth maps hold depth along the optical axis (z) or distance along each ray; auto follows the
            format.
    """

    downscale: int = 1
    refine_poses: bool = False
    appearance: Literal["none", "exposure", "affine", "code"] = "none"
    masks: Literal["auto", "ignore", "carve", "alpha", "none"] = "auto"
    depth_unit: float | None = None
    depth_kind: Literal["auto", "z", "ray"] = "auto"

    def given(self) -> dict[str, bool]:
        """Which options, by the names that the command line has for them, differ from photos as they are."""
        return {
            each.name.replace("_", "-"): getattr(self, each.name) != getattr(AS_THEY_ARE, each.name)
            for each in fields(self)
        }

    def applied(self, config: RunConfig) -> RunConfig:
        """The configuration with what was asked for; the rest as it was."""
        method = config.method
        if self.refine_poses:
            method = replace(method, refine_poses=True)
        if self.appearance != "none":
            method = replace(method, appearance=self.appearance)
        return replace(
            config,
            method=method,
            downscale=self.downscale,
            masks=self.masks,
            depth_unit=self.depth_unit,
            depth_kind=self.depth_kind,
        )


AS_THEY_ARE = PhotoOptions()
"""Photos that are taken as they are."""


def supervision_lines(scene: Scene, method: Method) -> list[str]:
    """What masks and depth maps there are and what becomes of them, and what is corrected: a sentence each."""
    lines = []
    if scene.mask_meaning is not None:
        meaning = _MASK_MEANINGS[scene.mask_meaning]
        lines.append(f"masks: {scene.masked_views} of {len(scene)} views ({scene.mask_meaning}: {meaning})")
    if scene.depths is not None:
        use = "learned from" if method.wants_distances else "not used; --set losses.depth=0.1 learns from them"
        lines.append(f"depth maps: {scene.depths.count} of {len(scene)} views ({use})")
    if scene.normals is not None:
        use = "learned from" if method.wants_normals else "not used; --set losses.normals=0.05 learns from them"
        lines.append(f"normal maps: {scene.normals.count} of {len(scene)} views ({use})")
    how = protocol(method, "held-out")
    if how != WHOLE:
        lines.append(f"held-out views: {how}; figures while training are without that fit")
    return lines
