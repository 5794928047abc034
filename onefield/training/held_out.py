"""What a view looks like to a method that corrects poses or colours, and how such a method is scored honestly.

A view that was held out has no correction of its own, and its photo can't be met without one. So its pose and its
colours, and nothing else, are fitted to the left half of its picture, and only the right half is scored (the protocol
of Martin-Brualla et al., "NeRF in the Wild" (2021), section 5, with poses as Lin et al., "BARF" (2021), section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from onefield.cameras import Picture
from onefield.data.scene import Scene
from onefield.training.appearance import PRIOR_WEIGHT
from onefield.training.method import Method
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.poses import PoseRefinement, moved_cameras, moved_rays
from onefield.training.seeds import cpu_generator
from onefield.types import Rays

WHOLE = "whole pictures"
# Rays and steps that settle six numbers: more change a view's PSNR by hundredths of a decibel.
POSE_RAYS, POSE_STEPS, POSE_RATE = 1024, 100, 3e-3
# Half a picture leaves some motions nearly free, and what the field got wrong there would take the pose along: so a
# motion as large as the training views' corrections costs this much, in units of colour, and one is never taken to be
# likelier than the least spread (radians, and units of the normalised scene) says.
POSE_PRIOR, LEAST_SPREAD = 1e-2, 1e-3
# Renderers of whole pictures fit to half of one, made so small.
POSE_PIXELS = 2**14
# Colours are fitted on pixels that are rendered once, so that steps cost next to nothing.
COLOR_PIXELS, COLOR_STEPS, COLOR_RATE = 2**14, 200, 3e-2
# Rates fall to this share, so that the last steps no longer jump about.
FINAL_RATE = 0.03
_SEED = 30_000


def protocol(method: Method, split: str) -> str:
    """How the views of a split are scored, in words for tables."""
    corrected = [name for name, part in (("pose", method.poses), ("colours", method.appearance)) if part is not None]
    if not corrected:
        return WHOLE
    what = " and ".join(corrected)
    if split != "held-out":
        return f"{WHOLE} with the {what} that training found for each view"
    return f"{what} of each view fitted on the left half of its picture, scored on the right half"


def protocol_details(method: Method, split: str) -> tuple[str, ...]:
    """What was fitted to a view before it was scored, and by which means: a sentence for each step, if there is any."""
    if split != "held-out" or protocol(method, split) == WHOLE:
        return ()
    details = [
        "Nothing was learned for a held-out view, so what the method corrects in every photo is fitted to the left "
        "half of this view's photo; field, sampler and background stay as they were trained."
    ]
    if method.poses is not None:
        free = "" if method.appearance is None else "; its colours are free meanwhile"
        details.append(
            f"Pose: a turn and a shift (six numbers) from the pose as given, {POSE_STEPS} steps of Adam over "
            f"{POSE_RAYS:,} random pixels each, at a rate of {POSE_RATE:g} that falls to {FINAL_RATE:.0%} of it{free}; "
            "of mean absolute errors, and corrections larger than the training views' cost more than they bring."
        )
    if method.appearance is not None:
        details.append(
            f"Colours: the {method.appearance.numbers} numbers of '{type(method.appearance).__name__.lower()}' from "
            f"none, {COLOR_STEPS} steps over at most {COLOR_PIXELS:,} pixels, with the prior of training."
        )
    details += [
        "Scored: the columns from the middle of the picture to its right edge, and nothing else.",
        "Such figures can be held against figures of the same protocol only; curves of the held-out PSNR are without "
        "any fit, hence lower.",
    ]
    return tuple(details)


def scored_from(method: Method, split: str) -> float:
    """Where the scored part of a picture begins, as a share of its width."""
    return 0.0 if split != "held-out" or protocol(method, split) == WHOLE else 0.5


def scored_columns(method: Method, split: str, width: int) -> slice:
    """The columns of a picture that are scored."""
    return slice(int(scored_from(method, split) * width), width)


@dataclass(frozen=True, eq=False)
class ShownView:
    """A whole view as a method shows it.

    Attributes:
        picture: not clamped.
        twist: correction of the view's pose, see `poses`; None where poses are taken as given.
        recolored: mean absolute change of the colours by the view's own correction; None where there is none.
    """

    picture: Float[Tensor, "H W 3"]
    twist: Float[Tensor, "6"] | None = None
    recolored: float | None = None


def shown_view(method: Method, scene: Scene, index: int, truth: Float[Tensor, "H W 3"], split: str) -> ShownView:
    """A view with what was learned for it, or else fitted to its left half.

    Args:
        truth: the view's photo.
        split: of the view, ``"held-out"`` or ``"training"``.
    """
    held_out = split == "held-out"
    usable = _usable(scene, index, truth)
    cameras, twist = scene.cameras, None
    if method.poses is not None:
        twists = method.poses.corrections().detach().clone()
        if held_out:
            twists[index] = fitted_pose(method, scene, index, truth, usable)
        cameras, twist = moved_cameras(cameras, twists), twists[index]
    image = method.renderer.render_image(method.field, cameras, index, limits=lambda rays: scene.limited(rays, cameras))
    if method.appearance is None:
        return ShownView(image.color, twist)
    behind = method.renderer.background(scene.limited(cameras.image_rays(index), cameras), None).detach()
    seen = (image.color.reshape(-1, 3), image.opacity.reshape(-1), behind)
    if held_out:
        pixels = usable.reshape(-1).nonzero()[:, 0]
        pixels = pixels[:: max(1, len(pixels) // COLOR_PIXELS)]
        values = fitted_colors(method, tuple(part[pixels] for part in seen), truth.reshape(-1, 3)[pixels])
    else:
        values = method.appearance.corrections()[index : index + 1].detach()
    with torch.no_grad():
        picture = method.appearance(*seen, values).reshape(truth.shape)
    return ShownView(picture, twist, float((picture - image.color).abs().mean()))


def _usable(scene: Scene, index: int, truth: Tensor) -> Bool[Tensor, "H W"]:
    """The pixels that a held-out view may be fitted to."""
    usable = torch.ones(truth.shape[:2], dtype=torch.bool) if scene.masks is None else scene.masks.mask(index).clone()
    usable[:, truth.shape[1] // 2 :] = False
    return usable


def fitted_pose(
    method: Method, scene: Scene, index: int, truth: Float[Tensor, "H W 3"], usable: Bool[Tensor, "H W"]
) -> Float[Tensor, "6"]:
    """The twist under which a view agrees best with the usable pixels of its photo; its colours are free, too.

    Returns:
        Zeros where no pixel is usable.
    """
    pixels = usable.nonzero()
    twist = nn.Parameter(torch.zeros(1, 6))
    numbers = 0 if method.appearance is None else method.appearance.numbers
    values = nn.Parameter(torch.zeros(1, numbers))
    generator = cpu_generator(_SEED + index)

    picture = _left_half(scene, index, truth, usable) if method.renderer.takes_pictures else None
    spread = _spread(method.poses, scene.train_indices)

    def drawn() -> tuple[Rays, Tensor, Tensor]:
        if picture is not None:
            return picture
        chosen = pixels[torch.randint(len(pixels), (POSE_RAYS,), generator=generator)]
        rays = scene.cameras.rays(torch.full((POSE_RAYS,), index), chosen.flip(-1).double() + 0.5)
        return scene.limited(rays), truth[chosen[:, 0], chosen[:, 1]], torch.ones(POSE_RAYS, 1)

    def error() -> Tensor:
        rays, wanted, counted = drawn()
        rays = moved_rays(replace(rays, camera_indices=torch.zeros_like(rays.camera_indices)), twist)
        behind = method.renderer.background(rays, None)
        rendering = method.renderer.render(method.field, rays, None, background=behind)
        color = rendering.color
        if method.appearance is not None:
            color = method.appearance(color, rendering.opacity, behind, values.expand(len(rays), -1))
        return ((color - wanted) * counted).abs().mean() + POSE_PRIOR * (twist / spread).square().mean()

    if len(pixels):
        with _frozen(method):
            _minimise(error, {"twist": twist, "values": values}, {"twist": POSE_RATE, "values": COLOR_RATE}, POSE_STEPS)
    return twist[0].detach()


def _spread(poses: PoseRefinement, trained: Int[Tensor, "T"]) -> Float[Tensor, "6"]:
    """How large the corrections of the training views are along an axis: three times for turns, three for shifts."""
    found = poses.corrections().detach()[trained].reshape(-1, 2, 3)
    return found.square().mean(dim=(0, 2)).sqrt().clamp(min=LEAST_SPREAD).repeat_interleave(3)


def _left_half(
    scene: Scene, index: int, truth: Float[Tensor, "H W 3"], usable: Bool[Tensor, "H W"]
) -> tuple[Picture, Float[Tensor, "R 3"], Float[Tensor, "R 1"]]:
    """The left half of a view, made smaller, its colours, and which of them count."""
    height, width = truth.shape[0], max(1, truth.shape[1] // 2)
    camera = scene.cameras[index].cropped(0, 0, width, height)
    small = camera.scaled(min(1.0, math.sqrt(POSE_PIXELS / (height * width))))
    rays = small.image_rays(0)

    def resized(image: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(image[:, :width].movedim(-1, 0)[None], rays.shape)[0]
        return pooled.movedim(0, -1).reshape(len(rays), -1)

    return rays, resized(truth), (resized(usable[..., None].float()) == 1).float()


def fitted_colors(method: Method, seen: tuple[Tensor, ...], truth: Float[Tensor, "n 3"]) -> Float[Tensor, "1 k"]:
    """The numbers of the appearance under which rendered pixels agree best with a photo.

    Args:
        seen: colour, opacity and background of the pixels.
    """
    values = nn.Parameter(torch.zeros(1, method.appearance.numbers))

    def error() -> Tensor:
        color = method.appearance(*seen, values.expand(len(truth), -1))
        return (color - truth).square().mean() + PRIOR_WEIGHT * values.square().mean()

    if len(truth):
        with _frozen(method):
            _minimise(error, {"values": values}, {"values": COLOR_RATE}, COLOR_STEPS)
    return values.detach()


def _minimise(
    error: Callable[[], Tensor], parameters: dict[str, nn.Parameter], rates: dict[str, float], steps: int
) -> None:
    groups = {name: GroupRate(rate) for name, rate in rates.items()}
    optimizer = Adam(parameters, {name: name for name in parameters}, groups)
    for step in range(steps):
        optimizer.zero_gradients()
        loss = error()
        if loss.requires_grad and torch.isfinite(loss):
            loss.backward()
            optimizer.step(FINAL_RATE ** (step / steps))


@contextmanager
def _frozen(method: Method) -> Iterator[None]:
    """Within the context nothing of the method learns, and no gradient is computed for it."""
    learned = [parameter for parameter in method.model().parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
