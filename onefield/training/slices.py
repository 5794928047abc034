"""Fitting a field to slices: which, how long, and how well it keeps to the contours."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from onefield.data.slice_samples import sample_slices
from onefield.data.slices import Slices
from onefield.errors import UsageError, nearest_name
from onefield.fields.field import Field
from onefield.kernels.point_mesh import build_tree, signed_distance
from onefield.training.fit_steps import FitBudget
from onefield.training.metrics import intersection_over_union
from onefield.training.orex import OrexSettings, train_orex
from onefield.training.recipes import Recipe, Target
from onefield.training.slice_grid import GridSettings, train_grid
from onefield.training.slice_task import SliceTask
from onefield.types import Mesh

SLICE_FIELDS = ("grid", "orex")
_AUTOMATIC = "grid"
_REPORTS = 20
_CHUNK = 2**17


def plan_slices(name: str, slices: Slices) -> tuple[Recipe, Target]:
    """The recipe of a representation for slices, and what its field answers.

    Args:
        name: one of `SLICE_FIELDS`, or ``"auto"``, which is the grid.

    Raises:
        UsageError: an unknown name.
    """
    chosen = _AUTOMATIC if name == "auto" else name
    if chosen == "grid":
        settings = GridSettings()
        options = {"vertices": settings.levels[-1]}
        recipe = Recipe("grid", options, settings.rate, settings.rate, 0.05, settings.batch, 600)
        return recipe, Target("distance", slices.bounds, 1, 0.0, max(slices.bounds.extent) / 2)
    if chosen == "orex":
        rate, batch = OrexSettings().rate, OrexSettings().batch
        options = {"frequencies": 5, "turns": 5, "width": 64, "hidden_layers": 3, "memory": 32}
        recipe = Recipe("orex", options, rate, rate, 0.02, batch, 2000)
        return recipe, Target("occupancy", slices.domain, 1, 0.0, 1.0)
    raise UsageError(f"Slices can't be fitted by '{name}': {nearest_name(name, ('auto', *SLICE_FIELDS))}.")


def train_slices(
    field: Field,
    recipe: Recipe,
    slices: Slices,
    budget: FitBudget,
    generator: torch.Generator,
) -> dict[str, float]:
    """Trains a field of `plan_slices` in place.

    Returns:
        ``steps`` that were taken and ``seconds`` of training.

    Raises:
        DivergedError: the loss is not finite.
    """
    began = time.perf_counter()
    samples = sample_slices(slices, generator)
    steps, seconds = budget.steps_of(recipe), budget.seconds
    started = time.perf_counter()
    told = 0.0

    def share_done(step: int) -> float:
        return step / steps if seconds is None else (time.perf_counter() - started) / seconds

    def tell(share: float, step: int, loss: float) -> None:
        nonlocal told
        if budget.observe is not None and share >= told:
            told += 1 / _REPORTS
            budget.observe(f"{min(share, 1):4.0%}  step {step}  loss {loss:.3g}")

    task = SliceTask(slices, samples, generator, share_done, tell)
    if recipe.field == "grid":
        done = train_grid(field, task, GridSettings())
    else:
        done = train_orex(field, task, OrexSettings())
    return {"steps": float(done), "seconds": time.perf_counter() - began}


@torch.no_grad()
def plane_agreement(is_inside: Callable[[Tensor], Tensor], slices: Slices, generator: torch.Generator) -> float:
    """Intersection over union of solid and contours on the planes themselves.

    Args:
        is_inside: of world points.
    """
    held_out = sample_slices(slices, generator, 2**16, hierarchical=False)
    answers = torch.cat([is_inside(part) for part in held_out.points.split(_CHUNK)])
    return intersection_over_union(answers, held_out.inside)


def contour_errors(slices: Slices, mesh: Mesh, count: int = 2**13) -> tuple[float, float]:
    """Mean and greatest distance of points on the contours from a mesh, in parts of the slices' diagonal.

    Args:
        count: points, spread over all contours.
    """
    points = sample_slices(slices, torch.Generator().manual_seed(0), 2).contour
    picked = points[:: max(1, len(points) // count)]
    distance = signed_distance(picked, build_tree(mesh.vertices, mesh.faces)).abs() / slices.bounds.diagonal
    return float(distance.mean()), float(distance.max())
