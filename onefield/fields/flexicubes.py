"""FlexiCubes: a surface that any loss on its mesh, or on pictures of it, can be minimised over.

Shen et al., "Flexible isosurface extraction for gradient-based mesh optimization" (2023). On a grid here, on an octree
in `onefield.fields.octree_flexicubes`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.kernels.dense_grid import dense_grid
from onefield.kernels.dual_marching_cubes import DualConnectivity, dual_connectivity, grid_values
from onefield.kernels.dual_tetrahedra import dual_tetrahedra
from onefield.kernels.flexicubes import (
    CORNER_COUNT,
    FlexiCubesWeights,
    flexicubes_on,
)
from onefield.kernels.marching_cubes_tables import CORNERS, EDGE_COUNT
from onefield.types import Bounds, FlexiCubesSurface, Mesh, Sample, TetrahedralMesh

# Corners move by less than half a cell, so that cells keep their handedness.
MOST_DEFORMATION = 0.49
# Alpha and beta lie within this distance of 1, and gamma between the rest and 1 less it: none ever vanishes.
WEIGHT_RANGE = 0.99
LEAST_SPLIT_WEIGHT = 0.005


class FlexiCubes(Field):
    """Values, deformation and weights of cells that fill the domain; all at rest but the values.

    ``distance`` is interpolated from the values at rest: a distance where these are, and no more than a function with
    an inside and an outside where losses moved them. The surface itself is `surface`.

    Attributes:
        values: at the corners of cells, negative inside, in parts of `cell_side`.
        deformation: of the corners; ``MOST_DEFORMATION * tanh`` of it in cells.
        corner_weights, edge_weights: alpha and beta of `FlexiCubesWeights`, as ``1 + WEIGHT_RANGE * tanh``.
        split_weights: gamma, as a sigmoid.
    """

    provides = frozenset({"distance"})
    values: nn.Parameter
    deformation: nn.Parameter
    corner_weights: nn.Parameter
    edge_weights: nn.Parameter
    split_weights: nn.Parameter

    @property
    @abstractmethod
    def cells(self) -> tuple[int, int, int]:
        """Along x, y and z, as many as there are of the smallest size."""

    @property
    @final
    def cell_side(self) -> float:
        """Mean side of the smallest cells, world units: what one of the values stands for."""
        return mean_side(self.domain, self.cells)

    @abstractmethod
    def rest_points(self) -> Float[Tensor, "*values 3"]:
        """Where the values lie without deformation, world units."""

    @abstractmethod
    def neighbouring_values(self) -> tuple[Float[Tensor, "e"], Float[Tensor, "e"]]:
        """Values at the lower and upper ends of all edges."""

    @abstractmethod
    def surface(self, split: str = "diagonal") -> FlexiCubesSurface:
        """The surface in world units, differentiable in all parameters.

        Splits and errors: see `onefield.kernels.flexicubes.flexicubes`.
        """

    @final
    @torch.no_grad()
    def mesh(self) -> Mesh:
        """The surface as it stands, float32, each quadrilateral as two triangles."""
        surface = self.surface()
        return Mesh(surface.vertices.float(), surface.faces)

    @final
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All in one group: their units make one rate fit them."""
        return {"encoding": list(self.parameters())}


@final
class FlexiCubesField(FlexiCubes):
    """FlexiCubes of equal cells, along the axes of a grid."""

    def __init__(self, domain: Bounds, values: Float[Tensor, "X Y Z"]) -> None:
        """A grid that gives the surface of dual marching cubes as yet.

        Args:
            domain: whose borders the outer corners lie on.
            values: of a signed distance in world units, say, at the corners; copied. `corner_points` says where.

        Raises:
            UsageError: the domain is not 3-D, or an axis has fewer than two corners.
        """
        super().__init__()
        if domain.dimension != 3 or values.ndim != 3 or min(values.shape) < 2:
            raise UsageError(
                "FlexiCubes need a 3-D domain and at least two corners an axis, got a domain of "
                f"{domain.dimension} dimensions and values of shape {tuple(values.shape)}."
            )
        self.domain = domain
        cells = [size - 1 for size in values.shape]
        values = values.detach()
        self.values = nn.Parameter(values / mean_side(domain, cells))
        self.deformation = nn.Parameter(values.new_zeros((*values.shape, 3)))
        self.corner_weights = nn.Parameter(values.new_zeros((*cells, CORNER_COUNT)))
        self.edge_weights = nn.Parameter(values.new_zeros((*cells, EDGE_COUNT)))
        self.split_weights = nn.Parameter(values.new_zeros(cells))

    @property
    def cells(self) -> tuple[int, int, int]:
        """See `FlexiCubes`."""
        x, y, z = self.split_weights.shape
        return x, y, z

    def rest_points(self) -> Float[Tensor, "X Y Z 3"]:
        """See `FlexiCubes`."""
        return corner_points(self.domain, self.cells).to(self.values)

    def neighbouring_values(self) -> tuple[Float[Tensor, "e"], Float[Tensor, "e"]]:
        """See `FlexiCubes`."""
        spans = [(axis, self.values.shape[axis] - 1) for axis in range(3)]
        low, high = (
            torch.cat([self.values.narrow(axis, first, count).flatten() for axis, count in spans]) for first in (0, 1)
        )
        return low, high

    def corner_positions(self, corners: Int[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Deformed corners in world units."""
        moved = MOST_DEFORMATION * torch.tanh(grid_values(self.deformation, corners))
        spacing = [side / count for side, count in zip(self.domain.extent, self.cells, strict=True)]
        return (corners + moved) * moved.new_tensor(spacing) + moved.new_tensor(self.domain.minimum)

    def surface(self, split: str = "diagonal") -> FlexiCubesSurface:
        """The surface in world units, differentiable in all parameters.

        Only the cells that it crosses are looked at. Splits and errors: see `onefield.kernels.flexicubes.flexicubes`.
        """
        return self._surface_on(dual_connectivity(self.values), split)

    def solid(self, split: str = "diagonal") -> TetrahedralMesh:
        """The surface and its inside, world units, differentiable in all parameters; splits and errors as `surface`.

        The first vertices are the surface's. Tetrahedra share whole faces, and their boundary is the surface, so that
        their volumes add up to what it encloses.
        """
        connectivity = dual_connectivity(self.values)
        surface = self._surface_on(connectivity, split)
        filling = dual_tetrahedra(self.values, connectivity, len(surface.vertices), surface.faces)
        around = filling.middles[:, None] + torch.as_tensor(CORNERS, device=filling.middles.device)
        middles = self.corner_positions(around.reshape(-1, 3)).reshape(-1, CORNER_COUNT, 3).mean(1)
        vertices = torch.cat((surface.vertices, self.corner_positions(filling.corners), middles))
        return TetrahedralMesh(vertices, filling.tetrahedra)

    def _surface_on(self, connectivity: DualConnectivity, split: str) -> FlexiCubesSurface:
        # one gather of both ends, whose gradient fills the grid once
        ends = torch.cat(connectivity.crossing_ends())
        cells = connectivity.cells
        weights = activated(
            grid_values(self.corner_weights, cells),
            grid_values(self.edge_weights, cells),
            grid_values(self.split_weights[..., None], cells)[:, 0],
        )
        low_values, high_values = grid_values(self.values[..., None], ends)[:, 0].chunk(2)
        low_points, high_points = self.corner_positions(ends).chunk(2)
        return flexicubes_on(connectivity, (low_values, high_values), (low_points, high_points), weights, split=split)

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        if "distance" not in want:
            return Sample()
        values = dense_grid(self.domain.to_unit(points), None, self.values[..., None], "linear")
        return Sample(distance=values[:, 0] * self.cell_side)


def mean_side(domain: Bounds, cells: Sequence[int]) -> float:
    """Of so many cells along each axis that fill a box, world units."""
    return sum(side / count for side, count in zip(domain.extent, cells, strict=True)) / 3


def activated(
    corners: Float[Tensor, "n 8"], edges: Float[Tensor, "n 12"], splits: Float[Tensor, "n"]
) -> FlexiCubesWeights:
    """Weights of cells by what is trained in their place."""
    return FlexiCubesWeights(
        alpha=1 + WEIGHT_RANGE * torch.tanh(corners),
        beta=1 + WEIGHT_RANGE * torch.tanh(edges),
        gamma=LEAST_SPLIT_WEIGHT + WEIGHT_RANGE * torch.sigmoid(splits),
    )


def corner_points(domain: Bounds, cells: tuple[int, int, int]) -> Float[Tensor, "X Y Z 3"]:
    """Where the corners of a grid of so many cells that fills a box lie, float32."""
    axes = [
        torch.linspace(low, high, count + 1, dtype=torch.float64)
        for low, high, count in zip(domain.minimum, domain.maximum, cells, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).float()
