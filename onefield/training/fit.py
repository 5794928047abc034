"""Fitting a field to a signal in one call."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal, load_signal, signal_of
from onefield.data.slices import Slices
from onefield.data.tiled_images import TiledImage
from onefield.errors import DivergedError, UsageError
from onefield.fields.bayesian_tucker import BayesianTucker
from onefield.fields.field import Field
from onefield.fields.flexicubes import FlexiCubesField
from onefield.training.closest_points import ClosestPointSource, score_closest_points
from onefield.training.conditioning import condition, refuse_posterior, withheld
from onefield.training.fit_methods import FitMethod, FitParts, joined, methods_of
from onefield.training.fit_samples import GridSamples, ShapeSamples, SignalSamples, shape_samples
from onefield.training.fit_tiles import POOL, TileSamples, score_tiles, tiled_target
from onefield.training.fitted import Fitted
from onefield.training.memory import fitting_need, require
from onefield.training.mesh_views import MeshViews, start_at
from onefield.training.metrics import intersection_over_union, psnr, ssim
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.point_fit import OrientedPoints, PointSource, oriented, pulled_field, score_points
from onefield.training.recipes import (
    CLOSEST_POINT_NAME,
    Recipe,
    Target,
    build_field,
    initial_field,
    recipe_for,
    target_of,
)
from onefield.training.slices import plan_slices, plane_agreement, train_slices
from onefield.training.tasks import Task, task_named
from onefield.training.tasks.task import Evidence
from onefield.types import Mesh, PointCloud

_logger = logging.getLogger("onefield.training")
# So many steps in a row without a finite loss and gradient mean that rates are too high for the signal.
_MOST_BROKEN_STEPS = 10
_REPORTS = 20
_HELD_OUT = 2**17
_WARMUP_STEPS = 20


def fit(
    signal: str | Path | np.ndarray | Tensor | Signal | TiledImage | Shape | Points | Slices | Mesh | PointCloud,
    field: str | Recipe | Field = "auto",
    *,
    methods: Sequence[str | FitMethod] = (),
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    task: str | Task | None = None,
    observe: Callable[[str], None] | None = None,
) -> Fitted:
    """Fits a field to an image, sound, video, volume, shape, cloud of points or slices of a solid.

    Args:
        signal: a file, an array, or what `load_signal` gives; pictures larger than memory as `open_tiled` gives them.
        field: ``"auto"``, a representation (``"hash"``, ``"siren"``, ...; ``"csp"`` for open surfaces), a recipe such
            as `recipe_for` gives for a number of parameters, or a field of the caller's own, trained in place.
        methods: ways of fitting that go with any representation, names (``"teaching"``, ``"s3im"``, ...; see
            `onefield.training.fit_methods`) or objects with settings of one's own.
        steps: how many; None takes the recipe's.
        seconds: limit of training time instead, counted from the end of the first step (which may compile kernels);
            the learning rate falls as the time runs out.
        seed: of all random numbers. Equal seeds and steps give equal fields on one machine.
        task: what the signal shows in part and the field should show in whole: one of `onefield.training.tasks`, or its
            name, such as ``"denoise"``; None fits the signal itself.
        observe: is told, some twenty times, how far the fit is.

    Raises:
        UsageError: an unknown representation or method, one that does not suit the signal, or a budget that is not
            positive.
        DataError: a signal without samples or with infinite values, or a file that can't be read.
        ResourceError: the machine has less memory than the fit needs.
        DivergedError: loss or gradients were not finite ten times in a row.
    """
    loaded, chosen = _loaded(signal), methods_of(methods)
    if task is not None:
        named = task_named(task) if isinstance(task, str) else task
        return _fit_task(named, loaded, field, chosen, steps, seconds, seed, observe)
    if isinstance(loaded, Slices):
        _refuse(chosen, "Slices are")
        return _fit_slices(loaded, field, steps, seconds, seed, observe)
    if isinstance(loaded, TiledImage):
        _refuse(chosen, "Pictures are, by tiles,")
        return _fit_tiles(loaded, field, steps, seconds, seed, observe)
    return _fit_whole(loaded, field, chosen, steps, seconds, seed, observe)


def _fit_whole(
    loaded: Signal | Shape | Points,
    field: str | Recipe | Field,
    chosen: list[FitMethod],
    steps: int | None,
    seconds: float | None,
    seed: int,
    observe: Callable[[str], None] | None,
) -> Fitted:
    generator = torch.Generator().manual_seed(seed)
    by_recipe = not isinstance(field, Field)
    recipe = _recipe_of(field, loaded)
    target = target_of(loaded, recipe.field)
    solved = isinstance(loaded, Points) and by_recipe and recipe.field == "dense"
    _check_budget(steps, seconds, solved)
    _refuse(chosen if solved else [], "The grid of a cloud is")
    recipe = _adapted(recipe, chosen, field, loaded, target, seed)
    _check_memory(field, recipe, target, loaded)
    began = time.perf_counter()
    if isinstance(loaded, Points):
        loaded, cloud = _oriented(loaded, target)
        if cloud is not None and solved:
            grid, recipe, found = pulled_field(cloud, recipe, target, seed=seed, observe=observe)
            found["seconds"] = time.perf_counter() - began
            return _scored(Fitted(grid, target, loaded.kind, (), {}, recipe), loaded, generator, found)
    trained = initial_field(recipe, target, seed) if by_recipe else _checked(field, target)
    draws = (recipe.steps if steps is None else int(steps)) * recipe.batch // 2
    if isinstance(trained, FlexiCubesField) and isinstance(loaded, Shape) and by_recipe:
        start_at(trained, loaded)
    shown, held = withheld(loaded, generator) if isinstance(trained, BayesianTucker) else (loaded, None)
    parts = _begun(chosen, trained, shown, target, generator)
    source, began = _source(shown, trained, target, draws, generator, parts), time.perf_counter()
    done = _train(trained, source, recipe, steps, seconds, observe, parts)
    found = {} if held is None else condition(trained, loaded, shown, held)
    facts = found | {"steps": float(done), "seconds": time.perf_counter() - began}
    kept, axes = recipe if by_recipe else None, loaded.shape if isinstance(loaded, Signal) else ()
    return _scored(Fitted(trained, target, loaded.kind, axes, {}, kept), loaded, generator, facts)


def _oriented(points: Points, target: Target) -> tuple[Points, OrientedPoints | None]:
    """The points with what is known of their sides, where the target has sides."""
    cloud = oriented(points) if target.quantity == "distance" else None
    found = points if cloud is None else cloud.points
    for note in found.notes:
        _logger.warning("%s", note)
    return found, cloud


def _begun(
    methods: list[FitMethod],
    field: Field,
    signal: Signal | Shape | Points,
    target: Target,
    generator: torch.Generator,
) -> FitParts:
    return joined(methods, [method.begin(field, signal, target, generator) for method in methods])


def _refuse(methods: list[FitMethod], what: str) -> None:
    if methods:
        raise UsageError(f"{what} fitted without the method '{methods[0].name}'; leave it out.")


def _adapted(
    recipe: Recipe,
    methods: list[FitMethod],
    field: str | Recipe | Field,
    signal: Signal | Shape | Points,
    target: Target,
    seed: int,
) -> Recipe:
    """The recipe that the methods make of a representation's own."""
    for method in methods:
        adapted = method.adapt(recipe, signal, target, seed)
        if adapted.options is not recipe.options and isinstance(field, Field):
            raise UsageError(
                f"The method '{method.name}' chooses how a field is built, but got a {type(field).__name__}; name a "
                "representation instead."
            )
        recipe = adapted
    return recipe


def _fit_task(
    task: Task,
    signal: Signal | TiledImage | Shape | Points | Slices,
    field: str | Recipe | Field,
    chosen: list[FitMethod],
    steps: int | None,
    seconds: float | None,
    seed: int,
    observe: Callable[[str], None] | None,
) -> Fitted:
    if not isinstance(signal, Signal):
        raise UsageError(
            f"The task '{task.name}' is about signals on a grid in memory, but this is {signal.description}."
        )
    _check_budget(steps, seconds, solved=False)
    generator = torch.Generator().manual_seed(seed)
    problem = task.problem(signal, generator)
    recipe = _recipe_of(field, problem.guide, problem.places)
    target = target_of(problem.guide, recipe.field)
    if target.quantity != "value":
        raise UsageError(f"The task '{task.name}' needs a field of values; '{recipe.field}' represents surfaces.")
    recipe = _adapted(recipe, chosen, field, problem.guide, target, seed)
    _check_memory(field, recipe, target, problem.guide)
    trained = _checked(field, target) if isinstance(field, Field) else initial_field(recipe, target, seed)
    refuse_posterior(trained, f"The task '{task.name}'")
    parts = _begun(chosen, trained, problem.guide, target, generator)
    if parts.on_samples:
        names = ", ".join(method.name for method in chosen)
        raise UsageError(f"The task '{task.name}' says itself what is made small, beside {names}; leave these out.")
    started = time.perf_counter()
    done = _train(trained, problem.evidence, recipe, steps, seconds, observe, parts)
    facts = {"steps": float(done), "seconds": time.perf_counter() - started} | problem.finish(trained)
    fitted = Fitted(trained, target, signal.kind, problem.shape, {}, None if isinstance(field, Field) else recipe)
    facts["parameters"] = float(sum(p.numel() for p in trained.parameters()))
    return replace(fitted, metrics=problem.score(fitted.reconstruction()) | facts)


def _fit_tiles(
    image: TiledImage,
    field: str | Recipe | Field,
    steps: int | None,
    seconds: float | None,
    seed: int,
    observe: Callable[[str], None] | None,
) -> Fitted:
    _check_budget(steps, seconds, solved=False)
    recipe, target = _recipe_of(field, image), tiled_target(image)
    # what is in memory at once, with room for a tile's answer and error
    _check_memory(field, recipe, target, image, (POOL + 1) * image.tile**2 * image.channels)
    trained = _checked(field, target) if isinstance(field, Field) else initial_field(recipe, target, seed)
    refuse_posterior(trained, "A picture read by tiles")
    generator = torch.Generator().manual_seed(seed)
    started = time.perf_counter()
    done = _train(trained, TileSamples(image, target.scale, generator), recipe, steps, seconds, observe, FitParts())
    facts = {"steps": float(done), "seconds": time.perf_counter() - started}
    facts["parameters"] = float(sum(p.numel() for p in trained.parameters()))
    fitted = Fitted(trained, target, image.kind, image.shape, {}, None if isinstance(field, Field) else recipe)
    return replace(fitted, metrics=score_tiles(fitted, image, generator) | facts)


def _fit_slices(
    slices: Slices,
    field: str | Recipe | Field,
    steps: int | None,
    seconds: float | None,
    seed: int,
    observe: Callable[[str], None] | None,
) -> Fitted:
    if not isinstance(field, str):
        raise UsageError(f"Slices are fitted by fields of Onefield's own, got a {type(field).__name__}; take 'auto'.")
    _check_budget(steps, seconds, solved=False)
    generator = torch.Generator().manual_seed(seed)
    recipe, target = plan_slices(field, slices)
    trained = initial_field(recipe, target, seed)
    started = time.perf_counter()
    budget = (recipe.steps if steps is None else int(steps), seconds)
    done = train_slices(trained, recipe, slices, budget, generator, observe)
    elapsed = time.perf_counter() - started
    fitted = Fitted(trained, target, slices.kind, (), {}, recipe)

    def is_inside(points: Tensor) -> Tensor:
        return fitted(points) < 0 if target.quantity == "distance" else fitted(points) > 0.5

    parameters = sum(p.numel() for p in trained.parameters())
    facts = {"steps": float(done), "seconds": elapsed, "parameters": float(parameters)}
    return replace(fitted, metrics={"plane_iou": plane_agreement(is_inside, slices, generator)} | facts)


def _check_budget(steps: int | None, seconds: float | None, solved: bool) -> None:
    for name, budget in (("steps", steps), ("seconds", seconds)):
        if budget is not None and not (math.isfinite(budget) and budget > 0):
            raise UsageError(f"fit needs a positive number of {name}, got {budget}.")
        if budget is not None and solved:
            raise UsageError("The grid of a cloud is solved for, without training steps; limit 'hash' or 'siren'.")


def _recipe_of(
    field: str | Recipe | Field, signal: Signal | TiledImage | Shape | Points, places: int | None = None
) -> Recipe:
    if isinstance(field, Recipe):
        return field if places is None else replace(field, batch=min(field.batch, places))
    return recipe_for(field if isinstance(field, str) else _name_of(field), signal, places)


def _name_of(field: Field) -> str:
    """The recipe by which a field of the caller's own is trained."""
    if "closest_point" in field.provides:
        return CLOSEST_POINT_NAME
    return "flexicubes" if isinstance(field, FlexiCubesField) else "siren"


def _source(
    signal: Signal | Shape | Points,
    field: Field,
    target: Target,
    draws: int,
    generator: torch.Generator,
    parts: FitParts,
) -> Evidence:
    if not isinstance(signal, Signal) and target.quantity == "closest_point":
        return ClosestPointSource(signal, draws, generator)
    if isinstance(signal, Points):
        return PointSource(signal, generator)
    if isinstance(field, FlexiCubesField) and isinstance(signal, Shape):
        return MeshViews(signal, max(field.cells), generator)
    if isinstance(signal, Shape):
        return ShapeSamples(signal, draws, generator)
    if field.separable and not parts.on_samples:
        return GridSamples(signal, target, generator)
    return SignalSamples(signal, target, generator, parts)


def _scored(
    fitted: Fitted, signal: Signal | Shape | Points, generator: torch.Generator, facts: dict[str, float]
) -> Fitted:
    parameters = float(sum(p.numel() for p in fitted.field.parameters()))
    return replace(fitted, metrics=_score(fitted, signal, generator) | facts | {"parameters": parameters})


def _check_memory(
    field: str | Recipe | Field,
    recipe: Recipe,
    target: Target,
    signal: Signal | TiledImage | Shape | Points,
    held: int = 0,
) -> None:
    if not isinstance(field, Field):
        with torch.device("meta"):  # sizes without values
            sized: Field = build_field(recipe.field, recipe.options, target)
    else:
        sized = field
    numbers = math.prod(signal.shape) * signal.channels if isinstance(signal, Signal) else held
    cure = "take a smaller signal, a field of fewer numbers such as 'siren', or read a large picture by tiles (--tile)"
    require(fitting_need(sized, recipe.batch, numbers), f"Fitting {signal.kind} by '{recipe.field}'", cure)


def _loaded(
    signal: str | Path | np.ndarray | Tensor | Signal | TiledImage | Shape | Points | Slices | Mesh | PointCloud,
) -> Signal | TiledImage | Shape | Points | Slices:
    if isinstance(signal, PointCloud):
        return Points.of(signal)
    if isinstance(signal, Signal | TiledImage | Shape | Points | Slices):
        return signal
    if isinstance(signal, Mesh):
        return Shape.of(signal)
    return load_signal(signal) if isinstance(signal, str | Path) else signal_of(signal)


def _checked(field: Field, target: Target) -> Field:
    if target.quantity not in field.provides or field.domain.dimension != target.domain.dimension:
        raise UsageError(
            f"The signal needs a field of '{target.quantity}' on {target.domain.dimension} axes, but "
            f"{type(field).__name__} provides {', '.join(sorted(field.provides))} on {field.domain.dimension}."
        )
    return field


def _train(
    field: Field,
    source: Evidence,
    recipe: Recipe,
    steps: int | None,
    seconds: float | None,
    observe: Callable[[str], None] | None,
    parts: FitParts,
) -> int:
    """Steps that were taken."""
    optimizer = _optimizer(field, recipe)
    last = recipe.steps if steps is None else steps
    started = time.perf_counter()
    broken = step = 0
    reported = 0.0
    while True:
        share = step / last if seconds is None else (time.perf_counter() - started) / seconds
        at_end = share >= 1 and step > 0
        for advance in parts.advance:
            advance(field, min(share, 1.0))
        if at_end:
            return step
        optimizer.zero_gradients()
        loss = source.loss(field, recipe.batch)
        loss.backward()
        if _finite(loss, optimizer):
            warm = min(1.0, (step + 1) / _WARMUP_STEPS)
            fall = recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * min(share, 1))) / 2
            optimizer.step(warm * fall)
            broken = 0
        else:
            broken += 1
            if broken >= _MOST_BROKEN_STEPS:
                raise DivergedError(
                    f"The fit lost all finite values at step {step}; use another field than '{recipe.field}'."
                )
        step += 1
        if step == 1:
            started = time.perf_counter()
        if observe is not None and share >= reported:
            reported += 1 / _REPORTS
            observe(f"{min(share, 1):4.0%}  step {step}  loss {loss.item():.3g}")


def _finite(loss: Tensor, optimizer: Adam) -> bool:
    gradients = [p.grad for p in optimizer.parameters.values() if p.grad is not None]
    # a sum is finite only if no summand is NaN or infinite; large but finite ones don't occur near float32's limit
    return bool(torch.isfinite(loss.detach() + sum(g.sum() for g in gradients)))


def _optimizer(field: Field, recipe: Recipe) -> Adam:
    names = {id(parameter): name for name, parameter in field.named_parameters()}
    rates = {"encoding": GroupRate(recipe.encoding_rate, skip_zeros=True)}
    groups = {names[id(p)]: group for group, members in field.parameter_groups().items() for p in members}
    for group in set(groups.values()) - {"encoding"}:
        rates[group] = GroupRate(recipe.network_rate)
    parameters = {name: p for name, p in field.named_parameters() if name in groups}
    return Adam(parameters, groups, rates)


@torch.no_grad()
def _score(fitted: Fitted, signal: Signal | Shape | Points, generator: torch.Generator) -> dict[str, float]:
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
    # FlexiCubes are their surface, whatever the values of their grid
    distance = Shape.of(fitted.field.mesh()).distance if isinstance(fitted.field, FlexiCubesField) else fitted
    agreement = intersection_over_union(distance(uniform) <= 0, shape.contains(uniform))
    near = shape_samples(shape, _HELD_OUT // 4, generator)[_HELD_OUT // 16 :]
    error = (distance(near) - shape.distance(near)).abs().mean().item() / shape.scale
    return {"iou": agreement, "distance_error": error}
