"""Fields that change the meaning of another field and keep its interface."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields as record_fields
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError, nearest_name
from onefield.fields.field import Field
from onefield.types import Bounds, Sample

_SHAPES = ("ball", "cube")
DENSITY_LAWS = ("laplace", "logistic")
# The contracted image of infinity has norm 2; norms are kept this much below it, so that world points stay below 1e6.
_RIM = 2.0 - 1e-6
# What is measured in space, and means nothing where that was bent or cut.
_LENGTHS = frozenset({"distance", "closest_point"})
# VolSDF's smallest beta, world units: keeps 1 / beta finite while the optimiser passes through 0.
_LEAST_BETA = 1e-4


def _norm(points: Tensor, shape: str) -> Tensor:
    if shape not in _SHAPES:
        raise UsageError(f"Unknown contraction shape '{shape}': {nearest_name(shape, _SHAPES)}.")
    if shape == "cube":
        # thirty times as fast as the norm of order infinity
        return points.abs().amax(-1, keepdim=True)
    return torch.linalg.vector_norm(points, dim=-1, keepdim=True)


def contract(points: Float[Tensor, "*b d"], shape: str = "ball") -> Float[Tensor, "*b d"]:
    """Unbounded space to norms below 2: ``x`` where ``|x| <= 1``, else ``(2 - 1/|x|) x/|x|`` (mip-NeRF 360, eq. 10).

    Args:
        points: world coordinates.
        shape: ``"ball"`` takes the Euclidean norm as the paper does, ``"cube"`` the largest coordinate, whose image
            fills the cube [-2, 2]^d, as grids like it.

    Raises:
        UsageError: an unknown shape.
    """
    # norms below 1 count as 1: one formula for both cases, with derivative 1 at the origin
    norm = _norm(points, shape).clamp(min=1.0)
    return points * ((2 - 1 / norm) / norm)


def uncontract(points: Float[Tensor, "*b d"], shape: str = "ball") -> Float[Tensor, "*b d"]:
    """Inverse of `contract`; norms of 2 and beyond map to about 1e6. Float32 keeps 3 digits at norms of 1e4."""
    norm = _norm(points, shape)
    held = norm.clamp(min=1.0, max=_RIM)
    inverse = points / (held * (2 - held))
    return torch.where(norm > _RIM, inverse * (held / norm), inverse)


def replaced(sample: Sample, want: frozenset[str], changes: dict[str, Tensor]) -> Sample:
    """The sample with other values for some quantities, and without those that were not asked for."""
    unasked = {slot.name: None for slot in record_fields(sample) if slot.name not in want}
    return replace(sample, **(changes | unasked))


class Wrapper(Field):
    """Holds the inner field and answers as it does, but for what a subclass says."""

    def __init__(self, inner: Field, domain: Bounds, provides: frozenset[str]) -> None:
        super().__init__()
        if not provides:
            raise UsageError(f"{type(self).__name__} has nothing to answer over a {type(inner).__name__}.")
        self.inner = inner
        self.domain = domain
        self.provides = provides
        self.needs_directions = inner.needs_directions & provides

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the inner field."""
        return self.inner.parameter_groups()


@final
class ContractedField(Wrapper):
    """A field of all space over an inner field on the contracted ball or cube of radius 2.

    The inner field's domain should be ``Bounds.cube(2.0)``. Densities are per unit of world length, as in mip-NeRF 360.
    Distances and closest points are not passed on: the contraction bends them.
    """

    def __init__(self, inner: Field, shape: str = "ball", extent: float = 1000.0) -> None:
        """Wraps ``inner``.

        Args:
            shape: ``"ball"`` or ``"cube"``, see `contract`.
            extent: half side of the world box given as ``domain``; beyond it renderers stop.

        Raises:
            UsageError: an unknown shape, or an inner domain that does not hold the contracted space.
        """
        if shape not in _SHAPES:
            raise UsageError(f"Unknown contraction shape '{shape}': {nearest_name(shape, _SHAPES)}.")
        if min(inner.domain.maximum) < 2 or max(inner.domain.minimum) > -2:
            raise UsageError(
                f"ContractedField needs an inner domain that holds the cube [-2, 2]^{inner.domain.dimension}, got "
                f"{inner.domain}; make the inner field on Bounds.cube(2.0)."
            )
        super().__init__(inner, Bounds.cube(extent, inner.domain.dimension), inner.provides - _LENGTHS)
        self.shape = shape

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        return self.inner.query(contract(points, self.shape), directions=directions, time=time, want=want)


@final
class DistanceAsDensity(Wrapper):
    """A signed distance field that also answers density, by a law whose width ``beta`` is learned.

    ``laplace``: ``Psi(-d) / beta`` with the distribution function Psi of a Laplace law of scale beta (VolSDF, Yariv et
    al. 2021, eq. 2 and 3). ``logistic``: ``sigmoid(-d / beta) / beta``, which is the density of NeuS (Wang et al. 2021,
    eq. 10) for rays that meet the surface head-on, with ``s = 1 / beta``.
    """

    def __init__(self, inner: Field, law: str = "laplace", beta: float = 0.1, learn_beta: bool = True) -> None:
        """Wraps ``inner``.

        Args:
            beta: first width of the law, world units.
            learn_beta: whether ``beta`` is a parameter (group ``density``).

        Raises:
            UsageError: an inner field without distance, an unknown law, or a width that is not positive.
        """
        if "distance" not in inner.provides:
            raise UsageError(f"DistanceAsDensity needs a field of distances; {type(inner).__name__} has none.")
        if law not in DENSITY_LAWS:
            raise UsageError(f"Unknown density law '{law}': {nearest_name(law, DENSITY_LAWS)}.")
        if beta <= _LEAST_BETA:
            raise UsageError(f"DistanceAsDensity needs beta > {_LEAST_BETA}, got {beta}.")
        super().__init__(inner, inner.domain, inner.provides | {"density"})
        self.law = law
        self.raw_beta = nn.Parameter(torch.tensor(beta - _LEAST_BETA), requires_grad=learn_beta)

    @property
    def beta(self) -> Float[Tensor, ""]:
        """Width of the law now, world units."""
        return self.raw_beta.abs() + _LEAST_BETA

    def density_of(self, distance: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Density per world unit at a signed distance."""
        beta = self.beta.to(distance.dtype)
        if self.law == "logistic":
            return torch.sigmoid(-distance / beta) / beta
        tail = 0.5 * torch.exp(-distance.abs() / beta)
        return torch.where(distance > 0, tail, 1 - tail) / beta

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the inner field, and ``density``: the width, where it is learned."""
        groups = self.inner.parameter_groups()
        return {**groups, "density": [self.raw_beta]} if self.raw_beta.requires_grad else groups

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        asked = want - {"density"} | ({"distance"} if "density" in want else frozenset())
        sample = self.inner.query(points, directions=directions, time=time, want=asked)
        changes = {"density": self.density_of(sample.distance)} if "density" in want else {}
        return replaced(sample, want, changes)


@final
class Cropped(Wrapper):
    """The part of a field inside a box: outside, density and occupancy are 0 and distances those to the cut shape.

    Colour, values and features are passed on unchanged. Closest points and the distances beside them are not passed on:
    the box may have cut off where they lie.
    """

    def __init__(self, inner: Field, bounds: Bounds) -> None:
        """Cuts ``inner`` to ``bounds`` (world units).

        Raises:
            UsageError: the box misses the field's domain.
        """
        low = tuple(map(max, bounds.minimum, inner.domain.minimum))
        high = tuple(map(min, bounds.maximum, inner.domain.maximum))
        if bounds.dimension != inner.domain.dimension or any(a >= b for a, b in zip(low, high, strict=True)):
            raise UsageError(f"The crop box {bounds} does not meet the field's domain {inner.domain}.")
        kept = inner.provides - _LENGTHS if "closest_point" in inner.provides else inner.provides
        super().__init__(inner, Bounds(low, high), kept)
        self.bounds = bounds

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        sample = self.inner.query(points, directions=directions, time=time, want=want)
        changes: dict[str, Tensor] = _emptied(sample, self.bounds.contains(points))
        if sample.distance is not None:
            changes["distance"] = torch.maximum(sample.distance, box_distance(points, self.bounds))
        return replaced(sample, want, changes)


def box_distance(points: Float[Tensor, "*b d"], bounds: Bounds) -> Float[Tensor, "*b"]:
    """Signed distance to an axis-aligned box, world units, negative inside."""
    center = points.new_tensor(bounds.center)
    beyond = (points - center).abs() - points.new_tensor(bounds.extent) / 2
    outside = torch.linalg.vector_norm(beyond.clamp(min=0), dim=-1)
    return outside + beyond.amax(-1).clamp(max=0)


def _emptied(sample: Sample, inside: Tensor) -> dict[str, Tensor]:
    """Density and occupancy of the sample, 0 where not inside."""
    present = {"density": sample.density, "occupancy": sample.occupancy}
    return {name: torch.where(inside, t, torch.zeros_like(t)) for name, t in present.items() if t is not None}


@final
class Transformed(Wrapper):
    """A field moved by a similarity: inner point x lies at ``scale * rotation @ x + translation``.

    Distances, closest points and densities are converted to the new frame and unit of length; density and occupancy are
    0 outside the inner domain, whose moved corners span the new one.
    """

    def __init__(
        self,
        inner: Field,
        scale: float = 1.0,
        rotation: Float[Tensor, "d d"] | None = None,
        translation: Sequence[float] | None = None,
    ) -> None:
        """Wraps ``inner``.

        Args:
            scale: positive factor.
            rotation: proper rotation matrix; None turns nothing.
            translation: in the new frame's units; None moves nothing.

        Raises:
            UsageError: a scale that is not positive, a matrix that is no rotation, or a translation of other axes.
        """
        dimension = inner.domain.dimension
        turn = torch.eye(dimension) if rotation is None else torch.as_tensor(rotation, dtype=torch.float32)
        shift = torch.zeros(dimension) if translation is None else torch.tensor(tuple(translation))
        if scale <= 0:
            raise UsageError(f"Transformed needs a positive scale, got {scale}.")
        square = tuple(turn.shape) == (dimension, dimension)
        if not square or not torch.allclose(turn @ turn.T, torch.eye(dimension), atol=1e-4) or turn.det() < 0:
            raise UsageError(f"Transformed needs a proper rotation of {dimension} axes, got {turn.tolist()}.")
        if len(shift) != dimension:
            raise UsageError(f"Transformed needs a translation of {dimension} numbers, got {tuple(translation)}.")
        corners = torch.tensor(list(itertools.product(*zip(inner.domain.minimum, inner.domain.maximum, strict=True))))
        moved = scale * corners @ turn.T + shift
        domain = Bounds(tuple(moved.amin(0).tolist()), tuple(moved.amax(0).tolist()))
        super().__init__(inner, domain, inner.provides)
        self.scale = scale
        self.register_buffer("rotation", turn)
        self.register_buffer("translation", shift)

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        rotation = self.rotation.to(points.dtype)
        # rows times R is the inverse rotation of columns
        before = (points - self.translation.to(points.dtype)) @ rotation / self.scale
        looking = None if directions is None else directions @ rotation
        sample = self.inner.query(before, directions=looking, time=time, want=want)
        changes = _emptied(sample, self.inner.domain.contains(before))
        if sample.density is not None:
            changes["density"] = changes["density"] / self.scale
        if sample.distance is not None:
            changes["distance"] = sample.distance * self.scale
        if sample.closest_point is not None:
            moved = self.scale * sample.closest_point @ rotation.T + self.translation.to(points.dtype)
            changes["closest_point"] = moved
        return replaced(sample, want, changes)


@final
class Frozen(Wrapper):
    """A field that no longer learns; it can still be differentiated with respect to points.

    Stops the inner field's parameters from collecting gradients, also where the inner field is used elsewhere.
    """

    def __init__(self, inner: Field) -> None:
        super().__init__(inner, inner.domain, inner.provides)
        inner.requires_grad_(False)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Nothing."""
        return {}

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        return self.inner.query(points, directions=directions, time=time, want=want)
