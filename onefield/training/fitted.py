"""A field that was fitted to a signal, and its file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from onefield.data.signals import Signal, cell_centers
from onefield.errors import DataError, UsageError, first_line
from onefield.fields.field import Field
from onefield.fields.flexicubes import FlexiCubes
from onefield.fields.mesh_distance import MeshDistance
from onefield.training.closest_points import open_surface_of
from onefield.training.memory import MemoryNeed, require
from onefield.training.point_fit import surface_of
from onefield.training.recipes import Recipe, Target, build_field
from onefield.training.tensor_file import TensorFile
from onefield.types import Mesh

# Points asked of a field at once where no gradient is needed.
_CHUNK = 2**17
# That WAV files can state.
_HIGHEST_RATE = 2**32 - 1
FIT_FILE = TensorFile("onefield_fit", 1, "saved fit", "save one by 'onefield fit SIGNAL' or Fitted.save")


@dataclass(frozen=True)
class Fitted:
    """A field that was fitted to a signal.

    Attributes:
        field: answers ``value`` (signals), ``distance`` (shapes, points), ``occupancy`` (shapes that were asked for it)
            or ``closest_point`` (shapes and points, by 'csp') at any coordinates of ``target.domain``.
        target: what it answers.
        kind: of the signal.
        shape: samples along the axes of the signal's array; empty for shapes.
        metrics: ``psnr`` in dB over all known samples, ``ssim`` for images (shapes: ``iou`` on held-out points of the
            mesh's box and, of distances, ``distance_error``, the mean absolute one on held-out points near the surface,
            in parts of the domain's side; slices: ``plane_iou``, agreement on the planes; points: what `score_points`
            tells, or by 'csp' `score_closest_points`), ``steps``, ``seconds``, ``parameters``; ``noise`` where the
            field tells deviations.
        recipe: how it was built; None for a field that the caller made.
        rate: samples or frames a second, where known.
    """

    field: Field
    target: Target
    kind: str
    shape: tuple[int, ...]
    metrics: dict[str, float]
    recipe: Recipe | None
    rate: float | None = None

    def __call__(self, points: Float[Tensor, "*b d"] | ArrayLike) -> Tensor:
        """Values ``*b c``, distances or occupancies ``*b``, closest points ``*b 3`` at coordinates of the domain, x
        first.

        Raises:
            UsageError: no points, or of another dimension.
        """
        return self._answer(points, self.target.quantity)

    def deviation(self, points: Float[Tensor, "*b d"] | ArrayLike) -> Float[Tensor, "*b c"]:
        """Standard deviation of a new sample at coordinates of the domain, x first, in the unit of the values; values
        plus and minus 1.96 times it hold 95 % of them.

        Raises:
            UsageError: the field tells none, no points, or of another dimension.
        """
        return self._answer(points, "deviation")

    @torch.no_grad()
    def _answer(self, points: Float[Tensor, "*b d"] | ArrayLike, name: str) -> Tensor:
        points = _tensor_of(points)
        flat = points.reshape(-1, *(points.shape[-1:] or (1,)))
        parts = [getattr(self.field.query(part, want=(name,)), name) for part in flat.split(_CHUNK)]
        answer = torch.cat(parts)
        return answer.reshape((*points.shape[:-1], *answer.shape[1:]))

    def reconstruction(self, resolution: int = 256) -> Tensor | Mesh:
        """The signal again: values on its grid, ``*axes c``; for a shape the surface as a mesh.

        Args:
            resolution: of the mesh, cells along the domain's side; FlexiCubes and Poisson's meshes have their own.

        Raises:
            ResourceError: the machine has less memory than all samples take.
        """
        if isinstance(self.field, FlexiCubes | MeshDistance):
            return self.field.mesh()
        if self.target.quantity == "closest_point":
            return open_surface_of(self.field, resolution)
        if self.kind == "points":
            return surface_of(self.field, self.recipe)
        if self.kind in ("shape", "slices"):
            from onefield.meshing.level_sets import extract_mesh

            return extract_mesh(self.field, resolution=resolution)
        return self._at_samples(self.target.quantity)

    def deviations(self) -> Float[Tensor, "*axes c"]:
        """As `deviation`, at the samples of the signal's grid.

        Raises:
            UsageError: the field tells none.
        """
        return self._at_samples("deviation")

    def _at_samples(self, name: str) -> Tensor:
        count = math.prod(self.shape)
        # the grid, places by their index, and answers before and after they are put together
        need = MemoryNeed(pictures=count * (4 + 8 + 2 * 4 * self.target.channels))
        size = " x ".join(str(side) for side in reversed(self.shape))
        require(need, f"The whole {self.kind} of {size} samples", "ask the field at points, part by part")
        if self.field.separable:
            return self._on_grid(name)
        grid = Signal(self.kind, torch.zeros(*self.shape, 1), 1.0)
        values = [self._answer(grid.points(part), name) for part in torch.arange(count).split(_CHUNK)]
        return torch.cat(values).reshape(*self.shape, -1)

    @torch.no_grad()
    def _on_grid(self, name: str) -> Tensor:
        """The samples of the signal's grid by a field that answers whole grids."""
        first, *others = cell_centers(self.shape)
        columns = max(1, _CHUNK // math.prod(len(axis) for axis in others))
        parts = [getattr(self.field.query_grid([part, *others], want=(name,)), name) for part in first.split(columns)]
        return torch.cat(parts).permute(*reversed(range(len(self.shape))), len(self.shape))

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file: the parameters, and as metadata all that `load_fitted` needs to build the field.

        Raises:
            UsageError: the field is the caller's own, which no recipe can build again.
            ResourceError: the file can't be written.
        """
        FIT_FILE.write(path, self.facts(), self.field.state_dict())

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
            "version": FIT_FILE.version,
            "recipe": asdict(self.recipe),
            "target": asdict(self.target),
            "kind": self.kind,
            "shape": self.shape,
            "metrics": self.metrics,
            **({} if self.rate is None else {"rate": self.rate}),
        }


def _tensor_of(points: Float[Tensor, "*b d"] | ArrayLike) -> Tensor:
    """Points in single precision, as fits are, whatever numbers they are; complex ones the field refuses itself."""
    try:
        numbers = torch.as_tensor(points)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"Points are a tensor, an array or rows of as many numbers each, got {type(points).__name__} "
            f"({first_line(error)})."
        ) from error
    return numbers if numbers.is_complex() else numbers.float()


def rebuilt(facts: object, path: str | Path) -> Fitted:
    """A fit by what `Fitted.facts` said, with an untrained field.

    Args:
        path: of the file that says so, for messages.

    Raises:
        DataError: of another version, incomplete, or of a field that does not exist.
    """
    if not isinstance(facts, dict) or facts.get("version") != FIT_FILE.version:
        raise DataError(
            f"{path} holds no fit of version {FIT_FILE.version}; save it again with this version of Onefield."
        )
    try:
        recipe = Recipe(**facts["recipe"])
        target = Target.of(facts["target"])
        field = build_field(recipe.field, recipe.options, target)
        rate = facts.get("rate")
        if rate is not None and not 1 <= rate <= _HIGHEST_RATE:
            raise ValueError(f"{rate} samples a second")
        return Fitted(field, target, facts["kind"], tuple(facts["shape"]), facts["metrics"], recipe, rate)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"{path} does not describe a fit that can be built ({first_line(error)}).") from error


def load_fitted(path: str | Path) -> Fitted:
    """Opens what `Fitted.save` wrote.

    Raises:
        DataError: missing, damaged, or not a saved fit.
    """
    with FIT_FILE.opened(path) as (facts, tensors):
        fitted = rebuilt(facts, path)
        fitted.field.load_state_dict(tensors)
        return fitted
