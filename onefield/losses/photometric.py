"""Differences between predicted and true colours or values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.errors import UsageError, nearest_name
from onefield.losses.term import Evidence, LossTerm

# Colours in [0, 1]: errors below a tenth count as noise (squared), larger ones as outliers (linear), as in instant-ngp.
HUBER_WIDTH = 0.1
# mip-NeRF 360's padding of the square root: the error below which the loss is quadratic, far below one grey level.
CHARBONNIER_WIDTH = 1e-3


def squared_error(prediction: Float[Tensor, "*b"], target: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Mean of squared differences."""
    return functional.mse_loss(prediction, target)


def absolute_error(prediction: Float[Tensor, "*b"], target: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Mean of absolute differences."""
    return functional.l1_loss(prediction, target)


def huber(
    prediction: Float[Tensor, "*b"], target: Float[Tensor, "*b"], width: float = HUBER_WIDTH
) -> Float[Tensor, ""]:
    """Mean of ``e^2 / (2 width)`` where ``|e| < width``, else ``|e| - width / 2`` (Huber 1964, scaled to slope 1)."""
    return functional.smooth_l1_loss(prediction, target, beta=width)


def charbonnier(
    prediction: Float[Tensor, "*b"], target: Float[Tensor, "*b"], width: float = CHARBONNIER_WIDTH
) -> Float[Tensor, ""]:
    """Mean of ``sqrt(e^2 + width^2)`` (Charbonnier et al. 1994; mip-NeRF 360, section 5)."""
    return torch.sqrt((prediction - target).square() + width * width).mean()


_KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": squared_error,
    "l1": absolute_error,
    "huber": huber,
    "charbonnier": charbonnier,
}


def photometric_term(kind: str = "huber", weight: float = 1.0) -> LossTerm:
    """Prediction against target by ``"l2"``, ``"l1"``, ``"huber"`` or ``"charbonnier"``.

    Raises:
        UsageError: an unknown kind.
    """
    if kind not in _KINDS:
        raise UsageError(f"Unknown photometric loss '{kind}': {nearest_name(kind, tuple(_KINDS))}.")
    compare = _KINDS[kind]
    return LossTerm(kind, weight, lambda evidence: compare(evidence.prediction, evidence.target))


def covered_term(weight: float = 1.0) -> LossTerm:
    """Absolute error of the pixels that the object fills in photo and rendering, summed, by the number of all pixels.

    A pixel on an outline holds some of what the photo shows behind, and its colour is only guessed from inside the mask
    (`onefield.data.masks.colors_of_marked`); where the outline runs, `onefield.losses.opacity.silhouette_term` says (as
    in neural deferred shading, Worchel et al. 2022).
    Without alpha all pixels count.
    """

    def evaluate(evidence: Evidence) -> Tensor:
        error = (evidence.prediction - evidence.target).abs()
        if evidence.target_opacity is not None and evidence.rendering is not None:
            filled = (evidence.target_opacity == 1) & (evidence.rendering.opacity == 1)
            error = error * filled[:, None]
        return error.mean()

    return LossTerm("covered_l1", weight, evaluate)
