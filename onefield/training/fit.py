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
from onefield.errors import UsageError
from onefield.fields.bayesian_tucker import BayesianTucker
from onefield.fields.field import Field
from onefield.fields.flexicubes import FlexiCubes
from onefield.training.closest_points import ClosestPointSource
from onefield.training.conditioning import condition, refuse_posterior, withheld
from onefield.training.fit_methods import FitMethod, FitParts, LearnedStart, joined, methods_of
from onefield.training.fit_samples import GridSamples, OccupancySamples, ShapeSamples, SignalSamples
from onefield.training.fit_scores import score
from onefield.training.fit_steps import FitBudget, train
from onefield.training.fit_tiles import POOL, TileSamples, score_tiles, tiled_target
from onefield.training.fitted import Fitted
from onefield.training.memory import fitting_need, require
from onefield.training.mesh_views import MeshViews, start_at
from onefield.training.point_fit import OrientedPoints, PointSource, oriented, poisson_field, pulled_field
from onefield.training.recipes import (
    CLOSEST_POINT_NAME,
    POISSON_NAME,
    SOLVED_NAMES,
    Recipe,
    Target,
    build_field,
    initial_field,
    recipe_for,
    target_of,
)
from onefield.training.seeds import cpu_generator
from onefield.training.slices import plan_slices, plane_agreement, train_slices
from onefield.training.tasks import Task, task_named
from onefield.training.tasks.task import Evidence
from onefield.types import Mesh, PointCloud

_logger = logging.getLogger("onefield.training")


def fit(
    signal: str | Path | np.ndarray | Tensor | Signal | TiledImage | Shape | Points | Slices | Mesh | PointCloud,
    field: str | Recipe | Field = "auto",
    *,
    methods: Sequence[str | FitMethod] = (),
    steps: int | None = None,
    seconds: float | None = None,
    parameters: int | None = None,
    seed: int = 0,
    task: str | Task | None = None,
    observe: Callable[[str], None] | None = None,
) -> Fitted:
    """Fits a field to an image, sound, video, volume, shape, cloud of points or slices of a solid.

    Args:
        signal: a file, an array, or what `load_signal` gives; pictures larger than memory as `open_tiled` gives them.
            Shapes are fitted by their signed distance; `Shape.of` makes one by its occupancy.
        field: ``"auto"``, a representation (``"hash"``, ``"siren"``, ...; ``"csp"`` for open surfaces), a recipe such
            as `recipe_for` gives for a number of parameters, or a field of the caller's own, trained in place. Of
            points also ``"poisson"``, by Open3D.
        methods: ways of fitting that go with any representation, names (``"teaching"``, ``"s3im"``, ...; see
            `onefield.training.fit_methods`) or objects with settings of one's own.
        steps: how many; None takes the recipe's.
        seconds: limit of training time instead, counted from the end of the first step (which may compile kernels);
            the learning rate falls as the time runs out.
        parameters: makes the field as large as so many numbers allow, see `recipe_for`; None takes the recipe's size.
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
    _check_parts(field, task)
    loaded, chosen, budget = _loaded(signal), methods_of(methods or ()), FitBudget(steps, seconds, observe)
    if parameters is not None:
        _check_sizable(field, loaded, chosen)
    if task is not None:
        named = task_named(task) if isinstance(task, str) else task
        return _fit_task(named, loaded, field, chosen, budget, parameters, seed)
    if isinstance(loaded, Slices):
        _refuse(chosen, "Slices are")
        return _fit_slices(loaded, field, budget, seed)
    if isinstance(loaded, TiledImage):
        _refuse(chosen, "Pictures are, by tiles,")
        return _fit_tiles(loaded, field, budget, seed)
    return _fit_whole(loaded, field, chosen, budget, parameters, seed)


def _check_parts(field: str | Recipe | Field, task: str | Task | None) -> None:
    if not isinstance(field, str | Recipe | Field):
        raise UsageError(f"A field is a name, a recipe or a Field, got {field!r}; 'auto' takes a fitting one.")
    if not isinstance(task, str | Task | None):
        raise UsageError(f"A task is a name or a Task, got {task!r}; None fits the signal itself.")


def _check_sizable(
    field: str | Recipe | Field,
    signal: Signal | TiledImage | Shape | Points | Slices,
    chosen: list[FitMethod],
) -> None:
    """Refuses what has a size of its own, where a number of parameters was asked for."""
    sized = "a learned start" if any(isinstance(method, LearnedStart) for method in chosen) else None
    if not isinstance(field, str):
        sized = f"a {type(field).__name__} of one's own"
    if isinstance(signal, Slices | TiledImage):
        sized = "what is fitted to slices" if isinstance(signal, Slices) else "what is fitted by tiles"
    if sized is not None:
        raise UsageError(f"A number of parameters can't size {sized}; leave it out.")


def _fit_whole(
    loaded: Signal | Shape | Points,
    field: str | Recipe | Field,
    chosen: list[FitMethod],
    budget: FitBudget,
    parameters: int | None,
    seed: int,
) -> Fitted:
    generator = cpu_generator(seed)
    by_recipe = not isinstance(field, Field)
    recipe = _recipe_of(field, loaded, parameters=parameters)
    target = target_of(loaded, recipe.field)
    solved = isinstance(loaded, Points) and by_recipe and recipe.field in SOLVED_NAMES
    if solved and (budget.steps, budget.seconds) != (None, None):
        raise UsageError(f"'{recipe.field}' finds a cloud's surface without training steps; limit 'hash' or 'siren'.")
    _refuse(chosen if solved else [], f"Clouds of points are, by '{recipe.field}',")
    recipe = _adapted(recipe, chosen, field, loaded, target, seed)
    _check_memory(field, recipe, target, loaded)
    began = time.perf_counter()
    if isinstance(loaded, Points):
        # Open3D takes a file's normals as they are, and estimates missing ones by itself
        sided = target.quantity == "distance" and recipe.field != POISSON_NAME
        loaded, cloud = _oriented(loaded, sided)
        if solved:
            if cloud is None:
                surface, recipe, found = *poisson_field(loaded, recipe), {}
            else:
                surface, recipe, found = pulled_field(cloud, recipe, target, seed=seed, observe=budget.observe)
            found["seconds"] = time.perf_counter() - began
            return _scored(Fitted(surface, target, loaded.kind, (), found, recipe), loaded, generator)
    trained = _start(field, recipe, target, seed)
    if isinstance(trained, FlexiCubes) and isinstance(loaded, Shape) and by_recipe:
        start_at(trained, loaded)
    shown, held = withheld(loaded, generator) if isinstance(trained, BayesianTucker) else (loaded, None)
    parts = _begun(chosen, trained, shown, target, generator)
    source = _source(shown, trained, target, budget.steps_of(recipe) * recipe.batch // 2, generator, parts)
    facts = train(trained, source, recipe, budget, parts)
    if held is not None:
        facts |= condition(trained, loaded, shown, held)
    axes, rate = (loaded.shape, loaded.rate) if isinstance(loaded, Signal) else ((), None)
    fitted = Fitted(trained, target, loaded.kind, axes, facts, _kept(field, recipe), rate)
    return _scored(fitted, loaded, generator)


def _start(field: str | Recipe | Field, recipe: Recipe, target: Target, seed: int) -> Field:
    """The field to train: the caller's own, or a recipe's before its first step."""
    if not isinstance(field, Field):
        return initial_field(recipe, target, seed)
    if target.quantity not in field.provides or field.domain.dimension != target.domain.dimension:
        raise UsageError(
            f"The signal needs a field of '{target.quantity}' on {target.domain.dimension} axes, but "
            f"{type(field).__name__} provides {', '.join(sorted(field.provides))} on {field.domain.dimension}."
        )
    _check_answer(field, target)
    return field


@torch.no_grad()
def _check_answer(field: Field, target: Target) -> None:
    """Asks a field of the caller's own once, so that what it can't learn is said before training begins."""
    name, learned = type(field).__name__, [p for p in field.parameters() if p.requires_grad]
    if not learned:
        raise UsageError(f"{name} has no parameters to train; give a field that has.")
    if any(p.dtype not in (torch.float32, torch.complex64) for p in learned):
        raise UsageError(f"Fields are trained in single precision, but {name} has other parameters; call its float().")
    middle = torch.tensor([target.domain.center])
    answer = getattr(field.query(middle, want=(target.quantity,)), target.quantity)
    channels = answer.shape[-1] if target.quantity == "value" else target.channels
    if answer.is_complex() or channels != target.channels:
        raise UsageError(
            f"The signal has {target.channels} real channel{'s' * (target.channels > 1)}, but {name} answers "
            f"{channels} of {answer.dtype}; give a field that answers as many, real."
        )


def _kept(field: str | Recipe | Field, recipe: Recipe) -> Recipe | None:
    return None if isinstance(field, Field) else recipe


def _oriented(points: Points, sided: bool) -> tuple[Points, OrientedPoints | None]:
    """The points with what is known of their sides, where these matter."""
    cloud = oriented(points) if sided else None
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
    budget: FitBudget,
    parameters: int | None,
    seed: int,
) -> Fitted:
    if not isinstance(signal, Signal):
        raise UsageError(
            f"The task '{task.name}' is about signals on a grid in memory, but this is {signal.description}."
        )
    generator = cpu_generator(seed)
    problem = task.problem(signal, generator)
    recipe = _recipe_of(field, problem.guide, problem.places, parameters)
    target = target_of(problem.guide, recipe.field)
    if target.quantity != "value":
        raise UsageError(f"The task '{task.name}' needs a field of values; '{recipe.field}' represents surfaces.")
    recipe = _adapted(recipe, chosen, field, problem.guide, target, seed)
    _check_memory(field, recipe, target, problem.guide)
    trained = _start(field, recipe, target, seed)
    refuse_posterior(trained, f"The task '{task.name}'")
    parts = _begun(chosen, trained, problem.guide, target, generator)
    if parts.on_samples:
        names = ", ".join(method.name for method in chosen)
        raise UsageError(f"The task '{task.name}' says itself what is made small, beside {names}; leave these out.")
    facts = train(trained, problem.evidence, recipe, budget, parts) | problem.finish(trained)
    # of sounds and videos time is the first axis, on which a task may ask for more samples than the signal has
    rate = None if signal.rate is None else signal.rate * problem.shape[0] / signal.shape[0]
    fitted = Fitted(trained, target, signal.kind, problem.shape, facts, _kept(field, recipe), rate)
    return _with_metrics(fitted, problem.score(fitted.reconstruction()))


def _fit_tiles(image: TiledImage, field: str | Recipe | Field, budget: FitBudget, seed: int) -> Fitted:
    recipe, target = _recipe_of(field, image), tiled_target(image)
    # what is in memory at once, with room for a tile's answer and error
    _check_memory(field, recipe, target, image, (POOL + 1) * image.tile**2 * image.channels)
    trained = _start(field, recipe, target, seed)
    refuse_posterior(trained, "A picture read by tiles")
    generator = cpu_generator(seed)
    facts = train(trained, TileSamples(image, target.scale, generator), recipe, budget, FitParts())
    fitted = Fitted(trained, target, image.kind, image.shape, facts, _kept(field, recipe))
    return _with_metrics(fitted, score_tiles(fitted, image, generator))


def _fit_slices(slices: Slices, field: str | Recipe | Field, budget: FitBudget, seed: int) -> Fitted:
    if not isinstance(field, str):
        raise UsageError(f"Slices are fitted by fields of Onefield's own, got a {type(field).__name__}; take 'auto'.")
    generator = cpu_generator(seed)
    recipe, target = plan_slices(field, slices)
    trained = initial_field(recipe, target, seed)
    facts = train_slices(trained, recipe, slices, budget, generator)
    fitted = Fitted(trained, target, slices.kind, (), facts, recipe)

    def is_inside(points: Tensor) -> Tensor:
        return fitted(points) < 0 if target.quantity == "distance" else fitted(points) > 0.5

    return _with_metrics(fitted, {"plane_iou": plane_agreement(is_inside, slices, generator)})


def _with_metrics(fitted: Fitted, metrics: dict[str, float]) -> Fitted:
    parameters = float(sum(p.numel() for p in fitted.field.parameters()))
    return replace(fitted, metrics=metrics | fitted.metrics | {"parameters": parameters})


def _scored(fitted: Fitted, signal: Signal | Shape | Points, generator: torch.Generator) -> Fitted:
    return _with_metrics(fitted, score(fitted, signal, generator))


def _recipe_of(
    field: str | Recipe | Field,
    signal: Signal | TiledImage | Shape | Points,
    places: int | None = None,
    parameters: int | None = None,
) -> Recipe:
    if isinstance(field, Recipe):
        return field if places is None else replace(field, batch=min(field.batch, places))
    return recipe_for(field if isinstance(field, str) else _name_of(field), signal, places, parameters)


def _name_of(field: Field) -> str:
    """The recipe by which a field of the caller's own is trained."""
    if "closest_point" in field.provides:
        return CLOSEST_POINT_NAME
    return "flexicubes" if isinstance(field, FlexiCubes) else "siren"


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
    if isinstance(field, FlexiCubes) and isinstance(signal, Shape):
        return MeshViews(signal, max(field.cells), generator)
    if isinstance(signal, Shape):
        samples = OccupancySamples if target.quantity == "occupancy" else ShapeSamples
        return samples(signal, draws, generator)
    if field.separable and not parts.on_samples:
        return GridSamples(signal, target, generator)
    return SignalSamples(signal, target, generator, parts)


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
