"""Training on photos that show passers-by: masks for what a model can't explain, and a second one that must agree.

What stands in one photo alone is no part of the scene. Two models with masks of different kinds err differently, so
each is held to what the other shows: Li et al., "Asymmetric dual 3DGS for robust in-the-wild scene reconstruction"
(2025). Instead of the second model, a running average of the first one can do.

A masked pixel keeps its part in the value of every loss, and gets no gradient: the rendering is replaced there by
itself, detached.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from onefield.cameras import Picture
from onefield.data.batches import RayBatch
from onefield.data.segments import SegmentStore
from onefield.errors import UsageError
from onefield.kernels.adam import adam_step
from onefield.losses.photometric import absolute_error
from onefield.training.optimizer import EPSILON

WARM_UP = 1 / 3
"""Share of the run before models are held to each other, and soft masks learn: the paper's 1,000 steps, of 3,000 that
the preset takes. After a thirtieth of a short run, as of the paper's 30,000, models have nothing yet to agree on."""
# The paper's, where nothing else is said.
DUAL_WEIGHT, AVERAGE_WEIGHT = 1.0, 0.1
AVERAGE_DECAY = 0.8
QUANTILE = 0.9
STEEPNESS = 8.0
# A weight of 0.98. The paper's 1 takes twice the visits to the photo to fall to a half, of which short runs have few.
FIRST_LOGIT = 0.5
# Pieces of even colour are more and smaller than segments of things, so that many are a little denser by chance.
DENSER = 3.0
MASK_RATE, MASK_BETAS = 0.1, (0.9, 0.999)

PatchFeatures = Callable[[Float[Tensor, "h w 3"]], Float[Tensor, "a b f"]]
"""What patches of a picture look like: vectors whose directions are compared, on a grid of any size over it."""


@dataclass(frozen=True)
class Residuals:
    """How far a rendering is from a photo, pixel by pixel, without gradient.

    Attributes:
        view: of the scene.
        corner: row and column of the first pixel in its photo.
        colors: mean absolute difference of the channels.
        features: one less the cosine of the patches' features.
        counted: pixels that the scene's own masks leave.
    """

    view: int
    corner: tuple[int, int]
    colors: Float[Tensor, "h w"]
    features: Float[Tensor, "h w"]
    counted: Bool[Tensor, "h w"]


class DistractorMask(nn.Module, ABC):
    """Says which pixels of a photo show the scene."""

    @abstractmethod
    def forward(self, residuals: Residuals) -> Float[Tensor, "h w"]:
        """Weights in [0, 1], without gradient: 1 for the scene, 0 for what is no part of it."""

    def learn(self, residuals: Residuals) -> None:
        """Takes in what a step has shown, once the step was taken."""


class HardMask(DistractorMask):
    """The multi-cue mask: segments in which pixels that stand out, in colour and in features, are denser than overall.

    A pixel stands out whose residuals both lie above their 90 % quantile in the picture. Segments of a file must only
    be denser, as in the paper; those that were cut by colour three times as dense.
    """

    def __init__(self, segments: SegmentStore) -> None:
        super().__init__()
        self.segments = segments

    def forward(self, residuals: Residuals) -> Float[Tensor, "h w"]:
        """See `DistractorMask`."""
        outstanding = standing_out(residuals)
        labels = self.segments.labels(residuals.view, residuals.corner, tuple(outstanding.shape))
        factor = 1.0 if self.segments.given(residuals.view) else DENSER
        return 1.0 - dense_segments(labels, outstanding, residuals.counted, factor).to(residuals.colors)


def standing_out(residuals: Residuals) -> Bool[Tensor, "h w"]:
    """Pixels whose residuals both lie above their 90 % quantile among the pixels that count."""
    counted = residuals.counted
    if not bool(counted.any()):
        return torch.zeros_like(counted)
    above = counted.clone()
    for values in (residuals.colors, residuals.features):
        # not torch.quantile, which refuses pictures of more than 16 million pixels
        ordered = values[counted].sort().values
        above &= values > ordered[int(QUANTILE * (len(ordered) - 1))]
    return above


def dense_segments(
    labels: Int[Tensor, "h w"], outstanding: Bool[Tensor, "h w"], counted: Bool[Tensor, "h w"], factor: float = 1.0
) -> Bool[Tensor, "h w"]:
    """The pixels of segments that hold more than ``factor`` times the share of outstanding pixels of the picture."""
    flat = labels.reshape(-1)
    sizes = torch.bincount(flat, weights=counted.reshape(-1).double())
    found = torch.bincount(flat, weights=outstanding.reshape(-1).double())
    overall = found.sum() / sizes.sum().clamp(min=1)
    return (found > factor * overall * sizes)[flat].reshape(labels.shape)


class SoftMask(DistractorMask):
    """The self-supervised mask: logits of each photo that learn to be one less the residual of features.

    A logit m stands for a cell of ``cell`` x ``cell`` pixels and weighs them by ``sigmoid(8 m)``. It follows
    ``1 - r``, where r is the residual of features stretched to [0, 1] over the picture, by the slope of
    ``|sigmoid(8 m) - (1 - r)|`` and Adam at a rate of 0.1, whose steps are counted photo by photo.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], cell: int) -> None:
        """Starts with all of every photo.

        Args:
            sizes: width and height of each view's photo.
            cell: edge in pixels.
        """
        super().__init__()
        self.cell = cell
        self.grids = tuple((-(-height // cell), -(-width // cell)) for width, height in sizes)
        ends = torch.tensor([rows * columns for rows, columns in self.grids]).cumsum(0).tolist()
        self.starts = (0, *ends)
        self.register_buffer("logits", torch.full((ends[-1],), FIRST_LOGIT))
        self.register_buffer("first", torch.zeros(ends[-1]))
        self.register_buffer("second", torch.zeros(ends[-1]))
        self.register_buffer("visits", torch.zeros(len(sizes), dtype=torch.int64))

    def forward(self, residuals: Residuals) -> Float[Tensor, "h w"]:
        """See `DistractorMask`."""
        own, places = self._cells(residuals)
        return torch.sigmoid(STEEPNESS * self.logits[own])[places].to(residuals.colors)

    @torch.no_grad()
    def learn(self, residuals: Residuals) -> None:
        """One step of Adam for the logits that the pixels lie in."""
        own, places = self._cells(residuals)
        flat, counted = places.reshape(-1), residuals.counted.reshape(-1)
        logits = self.logits[own]
        counts = torch.bincount(flat[counted], minlength=len(logits))
        sums = torch.bincount(flat[counted], residuals.features.reshape(-1)[counted].double(), minlength=len(logits))
        seen = counts > 0
        if not bool(seen.any()):
            return
        means = (sums / counts.clamp(min=1)).to(logits)
        low, high = means[seen].min(), means[seen].max()
        spread = high - low
        wanted = 1 - (means - low) / spread if spread > 0 else torch.ones_like(means)
        weights = torch.sigmoid(STEEPNESS * logits)
        slopes = torch.sign(weights - wanted) * STEEPNESS * weights * (1 - weights) / seen.sum()
        self.visits[residuals.view] += 1
        adam_step(
            logits, torch.where(seen, slopes, 0.0), self.first[own], self.second[own], MASK_RATE, *MASK_BETAS, EPSILON,
            int(self.visits[residuals.view]), True,
        )  # fmt: skip

    def _cells(self, residuals: Residuals) -> tuple[slice, Int[Tensor, "h w"]]:
        """Where the view's logits lie, and which of them each pixel belongs to."""
        (top, left), (height, width) = residuals.corner, residuals.colors.shape
        rows = torch.arange(top, top + height) // self.cell
        columns = torch.arange(left, left + width) // self.cell
        view = residuals.view
        return slice(*self.starts[view : view + 2]), rows[:, None] * self.grids[view][1] + columns[None, :]


@dataclass(frozen=True)
class Judgement:
    """What a step takes from a photo.

    Attributes:
        prediction: colours whose gradient is cut where the photo does not show the scene.
        residuals: what the mask looked at.
    """

    prediction: Float[Tensor, "R 3"]
    residuals: Residuals


class Distractors(nn.Module):
    """How one model is kept from learning what only single photos show."""

    def __init__(
        self,
        masks: Sequence[DistractorMask],
        features: PatchFeatures,
        consistency: float,
        average_decay: float | None = None,
    ) -> None:
        """Makes it.

        Args:
            masks: taken in turn, one a step.
            features: of rendering and photo.
            consistency: weight of the mean absolute difference to what the other model shows.
            average_decay: of the running average of this model that is the other one; None where it is one of its own.
        """
        super().__init__()
        self.masks = nn.ModuleList(masks)
        self.features = features
        self.consistency = consistency
        self.average_decay = average_decay

    def judge(
        self, prediction: Float[Tensor, "R 3"], target: Float[Tensor, "R 3"], batch: RayBatch, step: int
    ) -> Judgement:
        """Holds a rendering against its photo.

        Args:
            prediction, target: colours of a picture or a window of one, after corrections of the photo's light.

        Raises:
            UsageError: the batch is no picture.
        """
        if not isinstance(batch.rays, Picture) or batch.corner is None:
            raise UsageError("Masks against distractors look at whole pictures; splat them (--method splat).")
        with torch.no_grad():
            shape = batch.rays.shape
            shown, true = prediction.reshape(*shape, 3), target.reshape(*shape, 3)
            counted = torch.ones(shape, dtype=torch.bool) if batch.counted is None else batch.counted.reshape(shape)
            residuals = Residuals(
                view=int(batch.rays.camera_indices[0]),
                corner=batch.corner,
                colors=(shown - true).abs().mean(-1),
                features=feature_residual(self.features(shown), self.features(true), shape),
                counted=counted,
            )
            weights = self._mask(step)(residuals).reshape(-1, 1)
        return Judgement(weights * prediction + (1 - weights) * prediction.detach(), residuals)

    def agreement(self, shown: Float[Tensor, "R 3"], other: Float[Tensor, "R 3"]) -> Float[Tensor, ""]:
        """The weighed difference to what the other model shows, both without corrections of the photo's light."""
        return self.consistency * absolute_error(shown, other)

    def learn(self, judgement: Judgement, step: int) -> None:
        """Lets the mask of a step learn from it."""
        self._mask(step).learn(judgement.residuals)

    def _mask(self, step: int) -> DistractorMask:
        return self.masks[step % len(self.masks)]


def feature_residual(
    shown: Float[Tensor, "a b f"], true: Float[Tensor, "a b f"], shape: tuple[int, int]
) -> Float[Tensor, "h w"]:
    """One less the cosine of the features of a rendering and its photo, spread over the pixels of their patches."""
    residual = 1 - functional.cosine_similarity(shown, true, dim=-1)
    return functional.interpolate(residual[None, None], shape, mode="nearest")[0, 0]
