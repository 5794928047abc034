"""Figures and pictures of views that were never trained on."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.data.batches import RayBatch
from onefield.data.images import write_image
from onefield.data.scene import Scene
from onefield.errors import DataError, UsageError, nearest_name
from onefield.renderers.background import composite_alpha
from onefield.training.held_out import (
    WHOLE,
    ShownView,
    protocol,
    protocol_details,
    scored_columns,
    scored_from,
    shown_view,
)
from onefield.training.lpips import LpipsWeights, lpips
from onefield.training.method import Method
from onefield.training.metrics import ms_ssim, psnr, ssim, whole_windows
from onefield.training.poses import rigid_motions

# Rays of a quick check: its PSNR scatters by a few hundredths of a decibel around that of the whole views.
QUICK_RAYS = 4096
QUICK_SEED = 20_000
# Renderers of whole pictures look at a few of them, or at windows of this many pixels.
QUICK_PICTURES, QUICK_PIXELS = 3, 2**18
QUICK_VIEWS = 10

_logger = logging.getLogger("onefield.training")


@dataclass(frozen=True)
class ViewScore:
    """Quality of one rendered view, and how far the view was corrected before.

    Attributes:
        psnr: dB with peak 1.
        ms_ssim: None where the picture is too small.
        lpips: None where it was not asked for.
        turned, moved: correction of the pose, degrees and the dataset's units; None where poses are taken as given.
        recolored: mean absolute change of the colours in [0, 1]; None where photos are taken as they are.
    """

    view: str
    psnr: float
    ssim: float
    ms_ssim: float | None
    lpips: float | None = None
    turned: float | None = None
    moved: float | None = None
    recolored: float | None = None


# Of a view's score; left out of files where no view has them.
_WHERE_ASKED_FOR = ("lpips", "turned", "moved", "recolored")


@dataclass(frozen=True)
class Evaluation:
    """Quality over views, which of them, over which background, and the network of LPIPS where it was asked for.

    Attributes:
        protocol: which part of the pictures is scored, and what was fitted before (see `held_out`).
        details: a sentence for each step of that protocol.
        scored_from: where the scored part of each picture begins, as a share of its width.
    """

    split: str
    background: str
    views: tuple[ViewScore, ...]
    lpips_network: str | None = None
    protocol: str = WHOLE
    details: tuple[str, ...] = ()
    scored_from: float = 0.0

    def summary(self) -> dict[str, float | str | int | None]:
        """Means over the views; LPIPS and its network only where they were asked for."""
        perceived = [view.lpips for view in self.views if view.lpips is not None]
        asked = {"lpips": float(np.mean(perceived)), "lpips_network": self.lpips_network} if perceived else {}
        multi = [view.ms_ssim for view in self.views if view.ms_ssim is not None]
        return {
            "split": self.split,
            "views": len(self.views),
            "background": self.background,
            "protocol": self.protocol,
            "psnr": float(np.mean([view.psnr for view in self.views])),
            "ssim": float(np.mean([view.ssim for view in self.views])),
            "ms_ssim": float(np.mean(multi)) if multi else None,
            **asked,
        }

    def as_json(self) -> dict:
        """Summary and every view, for files and machines."""
        rows = [asdict(view) for view in self.views]
        absent = {name for name in _WHERE_ASKED_FOR if all(row[name] is None for row in rows)}
        rows = [{name: value for name, value in row.items() if name not in absent} for row in rows]
        how = {"protocol_details": list(self.details), "scored_from": self.scored_from}
        return self.summary() | how | {"per_view": rows}


class QuickCheck:
    """PSNR over a fixed random set of rays of the held-out views, to watch a run by.

    Nothing is fitted to these views: where poses or colours are corrected in training, it is below the final score.
    """

    def __init__(self, scene: Scene, method: Method) -> None:
        """Draws the rays."""
        indices = scene.test_indices
        # a few views stand for all, so that hundreds need not be decoded
        indices = indices[:: max(1, len(indices) // QUICK_VIEWS)]
        self.batches: list[RayBatch] = []
        if len(indices):
            batches = method.batches(scene, indices, QUICK_SEED)
            pictures = method.renderer.takes_pictures
            times, count = (min(len(indices), QUICK_PICTURES), QUICK_PIXELS) if pictures else (1, QUICK_RAYS)
            self.batches = [batches.next(count) for _ in range(times)]

    @torch.no_grad()
    def psnr(self, method: Method) -> float | None:
        """In dB; None where no view is held out."""
        if not self.batches:
            return None
        shown, true = zip(*(self._pair(method, batch) for batch in self.batches), strict=True)
        return float(psnr(torch.cat(shown), torch.cat(true), value_range=1.0))

    def _pair(self, method: Method, batch: RayBatch) -> tuple[Tensor, Tensor]:
        """Colours as rendered and as they should be, of pixels that count."""
        background = method.renderer.background(batch.rays, None)
        rendering = method.renderer.render(method.field, batch.rays, None, background=background)
        shown, true = rendering.color.clamp(0, 1), composite_alpha(batch.colors, background)
        return (shown, true) if batch.counted is None else (shown[batch.counted], true[batch.counted])


def views_of(scene: Scene, split: str) -> Int[Tensor, "n"]:
    """The views of a split, ``"held-out"`` or ``"training"``.

    Raises:
        UsageError: another split.
    """
    views = {"held-out": scene.test_indices, "training": scene.train_indices}
    if split not in views:
        raise UsageError(f"Unknown split '{split}': {nearest_name(str(split), tuple(views))}.")
    return views[split]


def evaluate(
    method: Method,
    scene: Scene,
    split: str = "held-out",
    pictures: Path | None = None,
    observe: Callable[[int, int], None] = lambda done, total: None,
    perception: LpipsWeights | None = None,
) -> Evaluation:
    """Renders every view of a split in full and compares it with its photo.

    Args:
        split: ``"held-out"`` or ``"training"``.
        pictures: folder for one picture a view: truth, rendering and error side by side; None writes none.
        observe: told how many views are done, of how many.
        perception: weights for LPIPS; None leaves it out.

    Raises:
        UsageError: no such split.
        DataError: masks leave nothing to score.
    """
    indices = views_of(scene, split)
    files = picture_names([scene.image_names[int(index)] for index in indices])
    scores = []
    for done, index in enumerate(indices):
        index = int(index)
        truth = true_image(method, scene, index)
        columns = scored_columns(method, split, truth.shape[1])
        counted = None if scene.masks is None else scene.masks.mask(index)[:, columns]
        if counted is not None and not bool(whole_windows(counted).any()):
            _logger.warning("%s is not scored: its mask leaves too little of it.", scene.image_names[index])
            continue
        shown = shown_view(method, scene, index, truth, split)
        rendered = shown.picture.clamp(0, 1)
        score = _score(scene.image_names[index], rendered[:, columns], truth[:, columns], counted, perception)
        scores.append(replace(score, **_corrections(shown, scene)))
        if pictures is not None:
            write_image(pictures / files[done], comparison(truth, rendered))
        observe(done + 1, len(indices))
    if len(indices) and not scores:
        raise DataError(f"The masks of {scene.path} leave nothing of the {split} views to score; give --masks none.")
    network = None if perception is None else perception.network
    how, details = protocol(method, split), protocol_details(method, split)
    if scene.masks is not None:
        how += ", without the pixels that masks ignore"
        details += ("Pixels that masks ignore are neither fitted to nor scored.",) if details else ()
    background = method.renderer.background.name
    return Evaluation(split, background, tuple(scores), network, how, details, scored_from(method, split))


def _corrections(shown: ShownView, scene: Scene) -> dict[str, float | None]:
    if shown.twist is None:
        return {"recolored": shown.recolored}
    _, shift = rigid_motions(shown.twist[None])
    return {
        "turned": math.degrees(float(shown.twist[:3].norm())),
        "moved": float(scene.transform.invert_distances(shift[0].norm())),
        "recolored": shown.recolored,
    }


def _score(
    view: str,
    rendered: Float[Tensor, "H W 3"],
    truth: Float[Tensor, "H W 3"],
    counted: Bool[Tensor, "H W"] | None,
    perception: LpipsWeights | None,
) -> ViewScore:
    if counted is not None and not bool(counted.all()):
        # the other figures look at whole neighbourhoods of pixels, down to the coarsest scale
        error = psnr(rendered[counted], truth[counted], value_range=1.0)
        return ViewScore(view, error, ssim(rendered, truth, counted=counted), None)
    small = min(truth.shape[:2]) < MS_SSIM_SMALLEST
    return ViewScore(
        view=view,
        psnr=psnr(rendered, truth, value_range=1.0),
        ssim=ssim(rendered, truth),
        ms_ssim=None if small else ms_ssim(rendered, truth),
        lpips=None if perception is None else lpips(rendered, truth, perception),
    )


def picture_names(views: Sequence[str]) -> list[str]:
    """File names of the views' pictures: the last part of a view's name, or the whole name where that occurs twice."""
    stems = [PurePosixPath(view).stem for view in views]
    common = {stem for stem, count in Counter(stems).items() if count > 1}
    whole = ["-".join(part for part in PurePosixPath(view).parts if part not in ("/", "..")) for view in views]
    return [f"{long if stem in common else stem}.png" for stem, long in zip(stems, whole, strict=True)]


# Five halvings must leave the 11-pixel window of MS-SSIM (Wang et al. 2003) some room.
MS_SSIM_SMALLEST = 176


def true_image(method: Method, scene: Scene, index: int) -> Float[Tensor, "H W 3"]:
    """A view's photo, over the renderer's background where it has alpha."""
    image = scene.images.image(index)
    if image.shape[-1] == 3:
        return image
    rays = scene.image_rays(index)
    background = method.renderer.background(rays, None).reshape(*image.shape[:2], 3)
    return composite_alpha(image, background)


def comparison(truth: Float[Tensor, "H W 3"], rendered: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W3 3"]:
    """Truth, rendering and their absolute difference (times 4, so that small errors are seen) side by side."""
    error = ((truth - rendered).abs() * ERROR_GAIN).clamp(0, 1)
    return torch.cat([truth, rendered, error], dim=1)


ERROR_GAIN = 4.0
