"""A grid of FlexiCubes: a surface that any loss on a mesh can be minimised over."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.kernels.flexicubes import (
    CORNER_COUNT,
    FlexiCubesSurface,
    FlexiCubesWeights,
    flexicubes,
)
from onefield.kernels.marching_cubes_tables import EDGE_COUNT
from onefield.meshing.lattice import Lattice

# Corners move by less than half a cell, so that cells keep their handedness.
MOST_DEFORMATION = 0.49
# Alpha and beta lie within this distance of 1, and gamma between the rest and 1 less it: none ever vanishes.
WEIGHT_RANGE = 0.99
LEAST_SPLIT_WEIGHT = 0.005


class FlexiCubesGrid(nn.Module):
    """Values, deformation and weights of a grid as parameters; all at rest but the values.

    Attributes:
        lattice: the grid at rest.
        values: at the corners, negative inside.
        deformation: of the corners; ``MOST_DEFORMATION * tanh`` of it in cells.
        corner_weights, edge_weights: alpha and beta of `FlexiCubesWeights`, as ``1 + WEIGHT_RANGE * tanh``.
        split_weights: gamma, as a sigmoid.
    """

    def __init__(self, lattice: Lattice, values: Float[Tensor, "X Y Z"]) -> None:
        """A grid that gives the surface of dual marching cubes as yet.

        Args:
            values: of a signed distance, say, at the lattice's corners; copied.

        Raises:
            UsageError: their shape is not that of the lattice's corners.
        """
        super().__init__()
        if tuple(values.shape) != lattice.corners:
            raise UsageError(f"A lattice of {lattice.corners} corners needs as many values, got {tuple(values.shape)}.")
        self.lattice = lattice
        values = values.detach().clone()
        self.values = nn.Parameter(values)
        self.deformation = nn.Parameter(values.new_zeros((*lattice.corners, 3)))
        self.corner_weights = nn.Parameter(values.new_zeros((*lattice.cells, CORNER_COUNT)))
        self.edge_weights = nn.Parameter(values.new_zeros((*lattice.cells, EDGE_COUNT)))
        self.split_weights = nn.Parameter(values.new_zeros(lattice.cells))

    def positions(self) -> Float[Tensor, "X Y Z 3"]:
        """Of the deformed corners, world units."""
        like = {"dtype": self.values.dtype, "device": self.values.device}
        corners = torch.meshgrid(*(torch.arange(count, **like) for count in self.lattice.corners), indexing="ij")
        indices = torch.stack(corners, dim=-1) + MOST_DEFORMATION * torch.tanh(self.deformation)
        spacing = torch.tensor(self.lattice.spacing, **like)
        return indices * spacing + torch.tensor(self.lattice.bounds.minimum, **like)

    def weights(self) -> FlexiCubesWeights:
        """The weights that the parameters stand for."""
        return FlexiCubesWeights(
            alpha=1 + WEIGHT_RANGE * torch.tanh(self.corner_weights),
            beta=1 + WEIGHT_RANGE * torch.tanh(self.edge_weights),
            gamma=LEAST_SPLIT_WEIGHT + WEIGHT_RANGE * torch.sigmoid(self.split_weights),
        )

    def surface(self, split: str = "diagonal") -> FlexiCubesSurface:
        """The surface in world units; see `onefield.kernels.flexicubes.flexicubes` for splits and errors."""
        return flexicubes(self.values, self.positions(), self.weights(), split=split)
