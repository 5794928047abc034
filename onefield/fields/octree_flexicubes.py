"""FlexiCubes on an octree: small cells where the surface bends, large ones where it is flat.

Shen et al., "Flexible isosurface extraction for gradient-based mesh optimization" (2023), on adaptive grids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from onefield.errors import DataError, UsageError
from onefield.fields.flexicubes import MOST_DEFORMATION, FlexiCubes, activated, mean_side
from onefield.kernels.flexicubes import CORNER_COUNT
from onefield.kernels.marching_cubes_tables import CORNERS, EDGE_COUNT
from onefield.kernels.octree import Octree, bent, corner_shares, divide_leaves, equal_leaves, octree_of
from onefield.kernels.octree_connectivity import minimal_edges
from onefield.kernels.octree_flexicubes import octree_flexicubes
from onefield.types import Bounds, FlexiCubesSurface, Sample

_Distance = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n"]]
# Smallest cells by which a surface may lie beside what a leaf holds of it: as where a trained field is extracted on an
# octree.
FLATNESS = 0.05


@final
class OctreeFlexiCubesField(FlexiCubes):
    """FlexiCubes whose cells are the leaves of an octree, which `refine` divides.

    Values are in parts of the smallest possible cell, and corners move by less than half the smallest leaf about them.
    The octree is saved with the parameters; a state of another octree brings its own along. Where leaves of two sizes
    touch, ``distance`` has steps: each leaf goes by its own corners.
    """

    lows: Tensor
    sizes: Tensor
    nodes: Tensor
    corners: Tensor
    edges: Tensor
    rooms: Tensor

    def __init__(self, domain: Bounds, octree: Octree, values: Float[Tensor, "N"]) -> None:
        """An octree that gives the surface of adaptive dual marching cubes as yet.

        Args:
            domain: the octree's box, world units.
            values: of a signed distance in world units, say, at the octree's nodes; copied.

        Raises:
            UsageError: the domain is not 3-D, or there is not one value a node.
        """
        super().__init__()
        if domain.dimension != 3 or tuple(values.shape) != (len(octree.nodes),):
            raise UsageError(
                f"FlexiCubes on an octree of {len(octree.nodes):,} nodes need a 3-D domain and as many values, got a "
                f"domain of {domain.dimension} dimensions and values of shape {tuple(values.shape)}."
            )
        self.domain = domain
        self.take_octree(octree, values)
        self.register_load_state_dict_pre_hook(_take_saved_octree)

    @staticmethod
    def coarse(
        domain: Bounds, cells: tuple[int, int, int], levels: int, values: Float[Tensor, "X Y Z"]
    ) -> OctreeFlexiCubesField:
        """Equal leaves, before any is divided.

        Args:
            domain: whose borders the outer corners lie on.
            cells: leaves along each axis.
            levels: how often a leaf can be halved.
            values: at the corners of leaves, as of `FlexiCubesField`; copied.
        """
        x, y, z = (count << levels for count in cells)
        return OctreeFlexiCubesField(domain, equal_leaves((x, y, z), levels), values.flatten())

    @torch.no_grad()
    def take_octree(self, octree: Octree, values: Float[Tensor, "N"]) -> None:
        """Puts another octree of the same box in the place of this one, with new parameters, all weights at rest.

        Args:
            values: at its nodes, world units.
        """
        values = values.detach()
        for name, tensor in (("lows", octree.lows), ("sizes", octree.sizes)):
            self.register_buffer(name, tensor)
        derived = {
            "nodes": octree.nodes,
            "corners": octree.corners,
            "edges": _edges(octree),
            "rooms": _rooms(octree),
        }
        for name, tensor in derived.items():
            self.register_buffer(name, tensor, persistent=False)
        leaves = len(octree.lows)
        self.values = nn.Parameter(values / mean_side(self.domain, octree.cells))
        self.deformation = nn.Parameter(values.new_zeros((len(values), 3)))
        self.corner_weights = nn.Parameter(values.new_zeros((leaves, CORNER_COUNT)))
        self.edge_weights = nn.Parameter(values.new_zeros((leaves, EDGE_COUNT)))
        self.split_weights = nn.Parameter(values.new_zeros(leaves))

    def take_saved_octree(self, lows: Int[Tensor, "L 3"], sizes: Int[Tensor, "L"]) -> None:
        """Takes the leaves of a saved state, whose values are still to be loaded; nothing where it has them already.

        Raises:
            DataError: they do not fill the box once.
        """
        if torch.equal(lows.to(self.lows), self.lows) and torch.equal(sizes.to(self.sizes), self.sizes):
            return
        lows, sizes = lows.to(self.lows), sizes.to(self.sizes)
        x, y, z = (lows + sizes[:, None]).amax(0).tolist()
        octree = octree_of((x, y, z), lows, sizes)
        numbers = torch.arange(len(lows), device=lows.device)
        if int((sizes**3).sum()) != x * y * z or not torch.equal(octree.find_leaves(lows), numbers):
            raise DataError("The leaves of a saved octree do not fill its box once; the file is damaged.")
        self.take_octree(octree, self.values.new_ones(len(octree.nodes)))

    @property
    def octree(self) -> Octree:
        """Whose leaves are the cells."""
        return Octree(self.cells, self.lows, self.sizes, self.nodes, self.corners)

    @property
    def cells(self) -> tuple[int, int, int]:
        """See `FlexiCubes`."""
        x, y, z = self.nodes[-1].tolist()
        return x, y, z

    @property
    def halvings(self) -> int:
        """How often the largest leaf can be halved."""
        return int(self.sizes.max()).bit_length() - 1

    def rest_points(self) -> Float[Tensor, "N 3"]:
        """See `FlexiCubes`."""
        return self._world(self.nodes)

    def _world(self, places: Tensor) -> Tensor:
        """Places of the octree in world units."""
        spacing = [side / count for side, count in zip(self.domain.extent, self.cells, strict=True)]
        return places * self.values.new_tensor(spacing) + self.values.new_tensor(self.domain.minimum)

    def neighbouring_values(self) -> tuple[Float[Tensor, "e"], Float[Tensor, "e"]]:
        """See `FlexiCubes`; edges that finer leaves halve are left out."""
        low, high = self.values[self.edges].unbind(1)
        return low, high

    def surface(self, split: str = "diagonal") -> FlexiCubesSurface:
        """See `FlexiCubes` and `onefield.kernels.octree_flexicubes.octree_flexicubes`."""
        weights = activated(self.corner_weights, self.edge_weights, self.split_weights)
        return octree_flexicubes(self.octree, self.values, self.corner_positions(), weights, split=split)

    def corner_positions(self) -> Float[Tensor, "N 3"]:
        """Deformed nodes in world units."""
        moved = MOST_DEFORMATION * torch.tanh(self.deformation) * self.rooms[:, None]
        return self._world(self.nodes + moved)

    @torch.no_grad()
    def refine(self, distance: _Distance, flatness: float = FLATNESS) -> None:
        """Halves leaves that a surface crosses where it is not flat, and takes over its distances.

        Leaves are looked at by their corners and by those of their halves; neighbours are halved where they must be.

        Args:
            distance: signed, from the surface, at points in world units.
            flatness: smallest cells by which distances in a leaf may lie beside what its corners say.
        """
        finer = divide_leaves(self.octree, self._bent_leaves(distance, flatness))
        border = ((finer.nodes == 0) | (finer.nodes == finer.nodes[-1])).any(1)
        values = distance(self._world(finer.nodes))
        # so that a surface ends within the box
        self.take_octree(finer, torch.where(border, values.clamp(min=self.cell_side), values))

    def _bent_leaves(self, distance: _Distance, flatness: float) -> Bool[Tensor, "L"]:
        bends = torch.zeros_like(self.sizes, dtype=torch.bool)
        large = (self.sizes > 1).nonzero()[:, 0]
        if not len(large):
            return bends
        sizes = self.sizes[large]
        steps = torch.cartesian_prod(*[torch.arange(3, device=large.device)] * 3)
        places = self.lows[large, None] + steps * (sizes // 2)[:, None, None]
        found, rows = places.reshape(-1, 3).unique(dim=0, return_inverse=True)
        values = distance(self._world(found))[rows].reshape(places.shape[:2])
        # the last of a leaf's three steps along each axis is its upper corner
        at_corners = values[:, torch.as_tensor(CORNERS, device=large.device) @ steps.new_tensor([18, 6, 2])]
        bends[large] = bent(at_corners, values, steps / 2, flatness / sizes)
        return bends

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        if "distance" not in want:
            return Sample()
        cells = self.lows.new_tensor(self.cells)
        places = (self.domain.to_unit(points).clamp(0, 1)) * cells
        leaves = self.octree.find_leaves(places.long().clamp(min=0).minimum(cells - 1))
        within = (places - self.lows[leaves]) / self.sizes[leaves, None]
        values = (self.values[self.corners[leaves]] * corner_shares(within)).sum(1)
        return Sample(distance=values * self.cell_side)


def _edges(octree: Octree) -> Int[Tensor, "e 2"]:
    """The nodes between which all edges run."""
    count = len(octree.lows)
    numbers = torch.arange(EDGE_COUNT, device=octree.lows.device).repeat(count)
    leaves = torch.arange(count, device=octree.lows.device).repeat_interleave(EDGE_COUNT)
    low, high, _, _ = minimal_edges(octree, leaves, numbers)
    return torch.stack((low, high), dim=1)


def _rooms(octree: Octree) -> Int[Tensor, "N"]:
    """The side of the smallest leaf about each node."""
    rooms = octree.sizes.new_full((len(octree.nodes),), int(octree.sizes.max()))
    around = octree.sizes[:, None].expand(-1, CORNER_COUNT)
    return rooms.scatter_reduce(0, octree.corners.flatten(), around.flatten(), "amin")


def _take_saved_octree(field: OctreeFlexiCubesField, state: dict[str, Tensor], prefix: str, *_rest: object) -> None:
    if prefix + "lows" in state and prefix + "sizes" in state:
        field.take_saved_octree(state[prefix + "lows"], state[prefix + "sizes"])
