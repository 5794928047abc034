"""Fitting a field to a signal in one call."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal, cell_centers, load_signal, signal_of
from onefield.data.slices import Slices
from onefield.errors import DataError, DivergedError, UsageError
from onefield.fields.field import Field
from onefield.fields.flexicubes import FlexiCubesField
from onefield.files import write_atomically
from onefield.training.closest_points import ClosestPointSource, open_surface_of, score_closest_points
from onefield.training.fit_samples import GridSamples, ShapeSamples, SignalSamples, shape_samples
from onefield.training.memory import fitting_need, require
from onefield.training.mesh_views import MeshViews, start_at
from onefield.training.metrics import intersection_over_union, psnr, ssim
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.point_fit import PointSource, oriented, pulled_field, score_points, surface_of
from onefield.training.recipes import CLOSEST_POINT_NAME, Recipe, Target, build_field, recipe_for, target_of
from onefield.training.slices import plan_slices, plane_agreement, train_slices
from onefield.types import Bounds, Mesh, PointCloud

_logger = logging.getLogger("onefield.training")
# Points asked of a field at once where no gradient is needed.
_CHUNK = 2**17
# So many steps in a row without a finite loss and gradient mean that rates are too high for the signal.
_MOST_BROKEN_STEPS = 10
_REPORTS = 20
_HELD_OUT = 2**17
_WARMUP_STEPS = 20
_VERSION = 1
_METADATA_KEY = "onefield_fit"


@dataclass(frozen=True)
class Fitted:
    """A field that was fitted to a signal.

    Attributes:
        field: answers ``value`` (signals), ``distance`` (shapes, points) or ``closest_point`` (of these, by 'csp') at
            any coordinates of ``target.domain``.
        target: what it answers.
        kind: of the signal.
        shape: samples along the axes of the signal's array; empty for shapes.
        metrics: ``psnr`` in dB over all known samples, ``ssim`` for images (shapes: ``iou`` on held-out points of the
            mesh's box and ``distance_error``, the mean absolute one on held-out points near the surface, in parts of
            the domain's side; slices: ``plane_iou``, agreement on the planes; points: what `score_points` tells, or
            by 'csp' `score_closest_points`), ``steps``, ``seconds``, ``parameters``.
        recipe: how it was built; None for a field that the caller made.
    """

    field: Field
    target: Target
    kind: str
    shape: tuple[int, ...]
    metrics: dict[str, float]
    recipe: Recipe | None

    @torch.no_grad()
    def __call__(self, points: Float[Tensor, "*b d"]) -> Tensor:
        """Values ``*b c``, distances ``*b`` or closest points ``*b 3`` at coordinates of the domain, x first."""
        flat = points.reshape(-1, points.shape[-1])
        name = self.target.quantity
        parts = [getattr(self.field.query(part, want=(name,)), name) for part in flat.split(_CHUNK)]
        answer = torch.cat(parts)
        return answer.reshape((*points.shape[:-1], *answer.shape[1:]))

    def reconstruction(self, resolution: int = 256) -> Tensor | Mesh:
        """The signal again: values on its grid, ``*axes c``; for a shape the surface as a mesh.

        Args:
            resolution: of the mesh, cells along the domain's side; FlexiCubes have their own.
        """
        if isinstance(self.field, FlexiCubesField):
            return self.field.mesh()
        if self.target.quantity == "closest_point":
            return open_surface_of(self.field, resolution)
        if self.kind == "points":
            return surface_of(self.field, self.recipe)
        if self.kind in ("shape", "slices"):
            from onefield.meshing.marching_cubes import extract_mesh

            return extract_mesh(self.field, resolution=resolution)
        if self.field.separable:
            return self._on_grid()
        grid = Signal(self.kind, torch.zeros(*self.shape, 1), 1.0)
        values = [self(grid.points(part)) for part in torch.arange(math.prod(self.shape)).split(_CHUNK)]
        return torch.cat(values).reshape(*self.shape, -1)

    @torch.no_grad()
    def _on_grid(self) -> Tensor:
        """The samples of the signal's grid by a field that answers whole grids."""
        first, *others = cell_centers(self.shape)
        columns = max(1, _CHUNK // math.prod(len(axis) for axis in others))
        parts = [self.field.query_grid([part, *others], want=("value",)).value for part in first.split(columns)]
        return torch.cat(parts).permute(*reversed(range(len(self.shape))), len(self.shape))

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file: the parameters, and as metadata all that `load_fitted` needs to build the field.

        Raises:
            UsageError: the field is the caller's own, which no recipe can build again.
            ResourceError: the file can't be written.
        """
        from safetensors.torch import save

        tensors = {name: tensor.contiguous() for name, tensor in self.field.state_dict().items()}
        write_atomically(path, save(tensors, metadata={_METADATA_KEY: json.dumps(self.facts())}))

    def facts(self) -> dict:
        """All but the parameters, as plain JSON data, by which `rebuilt` builds the field again.

        Raises:
            UsageError: the field is the caller's own, which no recipe can build again.
        """
        if self.recipe is None:
            raise UsageError(
                f"A fit of a field of one's own ({type(self.field).__name__}) can't be saved with a recipe; save its "
                "state_dict with safetensors."
            )
        return {
            "version": _VERSION,
            "recipe": asdict(self.recipe),
            "target": asdict(self.target),
            "kind": self.kind,
            "shape": self.shape,
            "metrics": self.metrics,
        }


def rebuilt(facts: object, path: str | Path) -> Fitted:
    """A fit by what `Fitted.facts` said, with an untrained field.

    Args:
        path: of the file that says so, for messages.

    Raises:
        DataError: of another version, incomplete, or of a field that does not exist.
    """
    if not isinstance(facts, dict) or facts.get("version") != _VERSION:
        raise DataError(f"{path} holds no fit of version {_VERSION}; save it again with this version of Onefield.")
    try:
        recipe = Recipe(**facts["recipe"])
        described = facts["target"]
        domain = Bounds(tuple(described["domain"]["minimum"]), tuple(described["domain"]["maximum"]))
        target = Target(**{**described, "domain": domain})
        field = build_field(recipe.field, recipe.options, target)
        return Fitted(field, target, facts["kind"], tuple(facts["shape"]), facts["metrics"], recipe)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"{path} does not describe a fit that can be built ({_first_line(error)}).") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def load_fitted(path: str | Path) -> Fitted:
    """Opens what `Fitted.save` wrote.

    Raises:
        DataError: missing, damaged, or not a saved fit.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(_METADATA_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no dict
        fitted = rebuilt(facts, path)
        fitted.field.load_state_dict(tensors)
        return fitted
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} is no saved fit that can be read ({_first_line(error)}).") from error


def fit(
    signal: str | Path | np.ndarray | Tensor | Signal | Shape | Points | Slices | Mesh | PointCloud,
    field: str | Field = "auto",
    *,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
) -> Fitted:
    """Fits a field to an image, sound, video, volume, shape, cloud of points or slices of a solid.

    Args:
        signal: a file, an array, or what `load_signal` gives.
        field: ``"auto"``, a representation (``"hash"``, ``"siren"``, ...; ``"csp"`` for open surfaces) or a field of
            the caller's own on the signal's domain, which is trained in place.
        steps: how many; None takes the recipe's.
        seconds: limit of training time instead, counted from the end of the first step (which may compile kernels);
            the learning rate falls as the time runs out.
        seed: of all random numbers. Equal seeds and steps give equal fields on one machine.
        observe: is told, some twenty times, how far the fit is.

    Raises:
        UsageError: an unknown representation, or a budget that is not positive.
        DataError: a signal without samples or with infinite values, or a file that can't be read.
        ResourceError: the machine has less memory than the fit needs.
        DivergedError: loss or gradients were not finite ten times in a row.
    """
    loaded = _loaded(signal)
    if isinstance(loaded, Slices):
        return _fit_slices(loaded, field, steps, seconds, seed, observe)
    generator = torch.Generator().manual_seed(seed)
    name = field if isinstance(field, str) else _name_of(field)
    recipe, target = recipe_for(name, loaded), target_of(loaded, name)
    solved = isinstance(loaded, Points) and isinstance(field, str) and recipe.field == "dense"
    _check_budget(steps, seconds, solved)
    _check_memory(field, recipe, target, loaded)
    if isinstance(loaded, Points):
        began = time.perf_counter()
        cloud = oriented(loaded) if target.quantity == "distance" else None
        loaded = loaded if cloud is None else cloud.points
        for note in loaded.notes:
            _logger.warning("%s", note)
        if cloud is not None and solved:
            grid, recipe, found = pulled_field(cloud, recipe, target, seed=seed, observe=observe)
            found["seconds"] = time.perf_counter() - began
            return _scored(Fitted(grid, target, loaded.kind, (), {}, recipe), loaded, generator, found)
    trained = _built(recipe, target, seed) if isinstance(field, str) else _checked(field, target)
    draws = (recipe.steps if steps is None else int(steps)) * recipe.batch // 2
    if isinstance(trained, FlexiCubesField) and isinstance(loaded, Shape) and isinstance(field, str):
        start_at(trained, loaded)
    source = _source(loaded, trained, target, draws, generator)
    started = time.perf_counter()
    done = _train(trained, source, recipe, steps, seconds, observe)
    facts = {"steps": float(done), "seconds": time.perf_counter() - started}
    kept = recipe if isinstance(field, str) else None
    axes = loaded.shape if isinstance(loaded, Signal) else ()
    return _scored(Fitted(trained, target, loaded.kind, axes, {}, kept), loaded, generator, facts)


def _built(recipe: Recipe, target: Target, seed: int) -> Field:
    """An untrained field, leaving the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_field(recipe.field, recipe.options, target)


def _fit_slices(
    slices: Slices,
    field: str | Field,
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
    trained = _built(recipe, target, seed)
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


def _name_of(field: Field) -> str:
    """The recipe by which a field of the caller's own is trained."""
    if "closest_point" in field.provides:
        return CLOSEST_POINT_NAME
    return "flexicubes" if isinstance(field, FlexiCubesField) else "siren"


def _source(
    signal: Signal | Shape | Points, field: Field, target: Target, draws: int, generator: torch.Generator
) -> SignalSamples | GridSamples | ShapeSamples | MeshViews | PointSource | ClosestPointSource:
    if not isinstance(signal, Signal) and target.quantity == "closest_point":
        return ClosestPointSource(signal, draws, generator)
    if isinstance(signal, Points):
        return PointSource(signal, generator)
    if isinstance(field, FlexiCubesField) and isinstance(signal, Shape):
        return MeshViews(signal, max(field.cells), generator)
    if isinstance(signal, Shape):
        return ShapeSamples(signal, draws, generator)
    if field.separable:
        return GridSamples(signal, target, generator)
    return SignalSamples(signal, target, generator)


def _scored(
    fitted: Fitted, signal: Signal | Shape | Points, generator: torch.Generator, facts: dict[str, float]
) -> Fitted:
    parameters = float(sum(p.numel() for p in fitted.field.parameters()))
    return replace(fitted, metrics=_score(fitted, signal, generator) | facts | {"parameters": parameters})


def _check_memory(field: str | Field, recipe: Recipe, target: Target, signal: Signal | Shape | Points) -> None:
    if isinstance(field, str):
        with torch.device("meta"):  # sizes without values
            sized: Field = build_field(recipe.field, recipe.options, target)
    else:
        sized = field
    numbers = math.prod(signal.shape) * signal.channels if isinstance(signal, Signal) else 0
    cure = "take a smaller signal, or a field of fewer numbers such as 'siren'"
    require(fitting_need(sized, recipe.batch, numbers), f"Fitting {signal.kind} by '{recipe.field}'", cure)


def _loaded(
    signal: str | Path | np.ndarray | Tensor | Signal | Shape | Points | Slices | Mesh | PointCloud,
) -> Signal | Shape | Points | Slices:
    if isinstance(signal, PointCloud):
        return Points.of(signal)
    if isinstance(signal, Signal | Shape | Points | Slices):
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
    source: SignalSamples | GridSamples | ShapeSamples | MeshViews | PointSource | ClosestPointSource,
    recipe: Recipe,
    steps: int | None,
    seconds: float | None,
    observe: Callable[[str], None] | None,
) -> int:
    """Steps that were taken."""
    optimizer = _optimizer(field, recipe)
    last = recipe.steps if steps is None else steps
    started = time.perf_counter()
    broken = step = 0
    reported = 0.0
    while True:
        share = step / last if seconds is None else (time.perf_counter() - started) / seconds
        if share >= 1 and step > 0:
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
