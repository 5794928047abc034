"""Scores of a fit: over the signal's known samples, or on points of a shape that were not trained on."""

from __future__ import annotations

import math

import torch

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.fields.flexicubes import FlexiCubes
from onefield.training.closest_points import score_closest_points
from onefield.training.fit_samples import shape_samples
from onefield.training.fitted import Fitted
from onefield.training.metrics import intersection_over_union, psnr, ssim
from onefield.training.point_fit import score_points

_HELD_OUT = 2**17


@torch.no_grad()
def score(fitted: Fitted, signal: Signal | Shape | Points, generator: torch.Generator) -> dict[str, float]:
    """How near a fitted field comes to its signal, by the metrics that `Fitted` tells of."""
    if not isinstance(signal, Signal) and fitted.target.quantity == "closest_point":
        return score_closest_points(fitted.field, signal, generator)
    if isinstance(signal, Points):
        return score_points(fitted.reconstruction(), signal, generator)
    if isinstance(signal, Shape):
        return _score_shape(fitted, signal, generator)
    known = signal.known()
    answer = fitted.reconstruction()
    flat = answer.reshape(-1, signal.channels)[known]
    metrics = {"psnr": psnr(flat, signal.at(known), signal.value_range)}
    if len(known) < math.prod(signal.shape):
        metrics["unknown_samples"] = float(math.prod(signal.shape) - len(known))
    elif signal.kind == "image" and min(signal.shape) >= 11:
        metrics["ssim"] = ssim(answer, signal.values, signal.value_range)
    return metrics


def _score_shape(fitted: Fitted, shape: Shape, generator: torch.Generator) -> dict[str, float]:
    corners = shape.mesh.vertices[shape.mesh.faces.long()].reshape(-1, 3)
    low, high = corners.amin(0), corners.amax(0)
    uniform = low + (high - low) * torch.rand(_HELD_OUT, 3, generator=generator)
    if fitted.target.quantity == "occupancy":
        return {"iou": intersection_over_union(fitted(uniform) > 0.5, shape.contains(uniform))}
    # FlexiCubes are their surface, whatever the values of their grid
    distance = Shape.of(fitted.field.mesh()).distance if isinstance(fitted.field, FlexiCubes) else fitted
    agreement = intersection_over_union(distance(uniform) <= 0, shape.contains(uniform))
    near = shape_samples(shape, _HELD_OUT // 4, generator)[_HELD_OUT // 16 :]
    error = (distance(near) - shape.distance(near)).abs().mean().item() / shape.scale
    return {"iou": agreement, "distance_error": error}
