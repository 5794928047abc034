"""A surface of FlexiCubes with a colour for each point, normal and direction: what is optimised from photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.encodings.spherical_harmonics import SphericalHarmonicsEncoding
from onefield.fields.field import Field
from onefield.fields.flexicubes import FlexiCubes, FlexiCubesField, corner_points
from onefield.fields.networks.mlp import Mlp
from onefield.fields.octree_flexicubes import OctreeFlexiCubesField
from onefield.kernels.point_mesh import build_tree, signed_distance
from onefield.types import Bounds, FlexiCubesSurface, Mesh, Sample

_COLOR_CHANNELS = 3


@runtime_checkable
class HasSurface(Protocol):
    """A field that is a surface with colours, for renderers and exporters that take its mesh as it is."""

    def surface(self, split: str = "diagonal") -> FlexiCubesSurface:
        """The surface, differentiable in the field's parameters, in the field's own frame."""

    def mesh(self) -> Mesh:
        """The surface as it stands, float32, without colours."""

    def shade(
        self, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"]:
        """Colours of points of the surface.

        Args:
            normals: unit, pointing out.
            directions: unit vectors along which each point is looked at.
        """


@final
class ShadedSurface(Field):
    """FlexiCubes, on a grid or an octree, and a network that shades the points of their surface.

    The network is given features of the place, the normal and the direction in which the surface mirrors the eye, as
    neural deferred shading (Worchel et al. 2022) gives it place, normal and direction: where light shows how a surface
    is turned, photos of one colour shape it, too; highlights move with the mirrored direction (Verbin et al. 2022).

    `query` knows no normals, and answers colour as of a surface that faces the eye.

    Attributes:
        grid: the surface; its box may be smaller than ``domain``, and is saved with the parameters.
    """

    provides = frozenset({"distance", "color"})
    needs_directions = frozenset({"color"})

    def __init__(
        self,
        domain: Bounds,
        grid: FlexiCubes,
        encoding: Encoding,
        width: int = 64,
        hidden_layers: int = 2,
        precision: str = "full",
    ) -> None:
        """Joins the parts.

        Args:
            domain: box of the encoding, world units.
            encoding: of places in the unit cube.
            width, hidden_layers, precision: of the network.

        Raises:
            UsageError: an encoding of other than 3-D points.
        """
        super().__init__()
        if encoding.input_dimension != 3:
            raise UsageError(f"A surface's colours need an encoding of 3-D points, got {encoding.input_dimension}-D.")
        self.domain = domain
        self.grid: FlexiCubes = grid
        self.encoding = encoding
        self.harmonics = SphericalHarmonicsEncoding()
        inputs = encoding.output_dimension + 2 * self.harmonics.output_dimension
        self.network = Mlp(inputs, _COLOR_CHANNELS, width, hidden_layers, precision=precision)

    def surface(self, split: str = "diagonal") -> FlexiCubesSurface:
        """See `HasSurface` and `onefield.fields.flexicubes.FlexiCubes.surface`."""
        return self.grid.surface(split)

    def mesh(self) -> Mesh:
        """See `HasSurface`."""
        return self.grid.mesh()

    def shade(
        self, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"]:
        """See `HasSurface`."""
        mirrored = directions - 2 * (directions * normals).sum(-1, keepdim=True) * normals
        inputs = (self.encoding(self.domain.to_unit(points)), self.harmonics(normals), self.harmonics(mirrored))
        return torch.sigmoid(self.network(torch.cat(inputs, dim=-1)))

    @torch.no_grad()
    def regrid(self, domain: Bounds, cells: tuple[int, int, int]) -> None:
        """Puts another grid in the place of this one, with new parameters: the same surface, all weights at rest.

        Args:
            domain: box of the new grid.
            cells: along its axes.
        """
        size = [count + 1 for count in cells]
        distances = self._distance_function()(corner_points(domain, cells).reshape(-1, 3))
        self.grid = FlexiCubesField(domain, closed_at_border(distances.reshape(size), min(domain.extent) / max(cells)))

    def refine(self, flatness: float) -> None:
        """Halves leaves of an octree where the surface is not flat, with new parameters: the same surface, at rest.

        Args:
            flatness: see `onefield.fields.octree_flexicubes.OctreeFlexiCubesField.refine`.

        Raises:
            UsageError: the surface is that of a grid.
        """
        if not isinstance(self.grid, OctreeFlexiCubesField):
            raise UsageError("Only FlexiCubes on an octree are refined where they bend; regrid makes all cells finer.")
        self.grid.refine(self._distance_function(), flatness)

    def _distance_function(self) -> Callable[[Tensor], Tensor]:
        """Signed distances of points from the surface as it stands."""
        mesh = self.mesh()
        if not len(mesh.faces):
            # the inside is nowhere
            return lambda points: points.new_full((len(points),), self.grid.domain.diagonal)
        tree = build_tree(mesh.vertices, mesh.faces)
        return lambda points: signed_distance(points.to(mesh.vertices), tree)

    def resize(self, cells: tuple[int, int, int]) -> None:
        """Puts a grid of other size in the place of this one, whose values a checkpoint will bring."""
        values = self.grid.values.new_ones([count + 1 for count in cells])
        self.grid = FlexiCubesField(self.grid.domain, values)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """``surface``: the grid; ``encoding`` and ``network``: its colours."""
        groups = {"surface": list(self.grid.parameters()), "network": list(self.network.parameters())}
        encoding = list(self.encoding.parameters())
        if encoding:
            groups.setdefault(self.encoding.parameter_group, []).extend(encoding)
        return groups

    def get_extra_state(self) -> Float[Tensor, "2 3"]:
        """The box of the grid, which is found from the photos and saved with what is learned."""
        box = self.grid.domain
        return torch.tensor([box.minimum, box.maximum], dtype=torch.float64)

    def set_extra_state(self, state: Float[Tensor, "2 3"]) -> None:
        """Takes over a box from `get_extra_state`."""
        low, high = state.tolist()
        self.grid.domain = Bounds(tuple(low), tuple(high))

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        distance = self._distance(points) if "distance" in want else None
        color = self.shade(points, -directions, directions) if "color" in want else None
        return Sample(distance=distance, color=color)

    def _distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """The grid's, and beyond its box that of the nearest place in it and the way there."""
        low, high = (points.new_tensor(corner) for corner in (self.grid.domain.minimum, self.grid.domain.maximum))
        held = torch.maximum(torch.minimum(points, high), low)
        inside = self.grid.query(held, want=("distance",)).distance
        return inside + torch.linalg.vector_norm(points - held, dim=-1)


def closed_at_border(values: Float[Tensor, "X Y Z"], least: float) -> Float[Tensor, "X Y Z"]:
    """Values of which those at the border are at least so large, so that a surface ends within the grid."""
    held = values.clone()
    for axis in range(3):
        for end in (0, -1):
            held.select(axis, end).clamp_(min=least)
    return held
