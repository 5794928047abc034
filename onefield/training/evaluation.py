"""Figures and pictures of views that were never trained on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from onefield.data.batches import RayBatches
from onefield.data.images import write_image
from onefield.data.scene import Scene
from onefield.errors import DataError
from onefield.renderers.background import composite_alpha
from onefield.training.held_out import WHOLE, protocol, scored_columns, shown_picture
from onefield.training.lpips import LpipsWeights, lpips
from onefield.training.method import Method
from onefield.training.metrics import ms_ssim, psnr, ssim, whole_windows

# Rays of a quick check: its PSNR scatters by a few hundredths of a decibel around that of the whole views.
QUICK_RAYS = 4096
QUICK_SEED = 20_000
QUICK_VIEWS = 10

_logger = logging.getLogger("onefield.training")


@dataclass(frozen=True)
class ViewScore:
    """Quality of one rendered view: PSNR in dB with peak 1, SSIM, MS-SSIM (None where the image is too small), LPIPS
    (None where it was not asked for)."""

    view: str
    psnr: float
    ssim: float
    ms_ssim: float | None
    lpips: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Quality over views, which of them, over which background, and the network of LPIPS where it was asked for.

    ``protocol`` says which part of the pictures is scored, and what was fitted before (see `held_out`).
    """

    split: str
    background: str
    views: tuple[ViewScore, ...]
    lpips_network: str | None = None
    protocol: str = WHOLE

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
        absent = {"lpips"} if self.lpips_network is None else set()
        views = [{name: value for name, value in asdict(view).items() if name not in absent} for view in self.views]
        return self.summary() | {"per_view": views}


class QuickCheck:
    """PSNR over a fixed random set of rays of the held-out views, to watch a run by.

    Nothing is fitted to these views: where poses or colours are corrected in training, it is below the final score.
    """

    def __init__(self, scene: Scene) -> None:
        """Draws the rays."""
        indices = scene.test_indices
        # a few views stand for all, so that hundreds need not be decoded
        indices = indices[:: max(1, len(indices) // QUICK_VIEWS)]
        self.batch = RayBatches(scene, indices, seed=QUICK_SEED).next(QUICK_RAYS) if len(indices) else None

    @torch.no_grad()
    def psnr(self, method: Method) -> float | None:
        """In dB; None where no view is held out."""
        if self.batch is None:
            return None
        rays, colors = self.batch.rays, self.batch.colors
        background = method.renderer.background(rays, None)
        rendering = method.renderer.render(method.field, rays, None, background=background)
        return float(psnr(rendering.color.clamp(0, 1), composite_alpha(colors, background), value_range=1.0))


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
        DataError: masks leave nothing to score.
    """
    indices = scene.test_indices if split == "held-out" else scene.train_indices
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
        rendered = shown_picture(method, scene, index, truth, split).clamp(0, 1)
        parts = (rendered[:, columns], truth[:, columns])
        scores.append(_score(scene.image_names[index], *parts, counted, perception))
        if pictures is not None:
            write_image(pictures / files[done], comparison(truth, rendered))
        observe(done + 1, len(indices))
    if len(indices) and not scores:
        raise DataError(f"The masks of {scene.path} leave nothing of the {split} views to score; give --masks none.")
    network = None if perception is None else perception.network
    how = protocol(method, split) + ("" if scene.masks is None else ", without the pixels that masks ignore")
    return Evaluation(split, method.renderer.background.name, tuple(scores), network, how)


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
