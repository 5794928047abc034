"""FlexiCubes that start coarse and get finer: grids everywhere, octrees where the surface bends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from onefield.errors import DataError
from onefield.fields.field import Field
from onefield.fields.octree_flexicubes import OctreeFlexiCubesField
from onefield.fields.shaded_surface import ShadedSurface
from onefield.training.method import Strategy
from onefield.training.optimizer import Adam
from onefield.types import Bounds

_GRID = "field.grid."


class SurfaceGrowth(Strategy):
    """Halves the cells of a surface's grid in stages, so that coarse shape comes first; the surface stays."""

    def __init__(self, resolution: int, stages: int, end: float) -> None:
        """Says when; the grid is as the first stage has it.

        Args:
            resolution: cells along the box's longest edge after the last stage.
            stages: how often cells are halved.
            end: share of the run at which the last stage is reached.
        """
        self.resolutions = stage_resolutions(resolution, stages)
        self.thresholds = [end * stage / stages for stage in range(1, stages + 1)]
        self.stage = 0

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Makes cells smaller where the next stage's share of the run is reached."""
        assert isinstance(field, ShadedSurface)
        while self.stage < len(self.thresholds) and progress >= self.thresholds[self.stage]:
            self.stage += 1
            field.regrid(*cubic_cells(field.grid.domain, self.resolutions[self.stage]))
            _tell(field, optimizer)

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Takes the stage whose resolution a checkpoint's grid has.

        Raises:
            DataError: no stage has it.
        """
        assert isinstance(field, ShadedSurface)
        found = tuple(saved[_GRID + "split_weights"].shape) if _GRID + "split_weights" in saved else ()
        if len(found) != 3 or max(found) not in self.resolutions:
            raise DataError(
                f"The checkpoint's grid has {' x '.join(map(str, found)) or 'no'} cells, but this configuration passes "
                f"through {', '.join(map(str, self.resolutions))} along the longest edge; use the configuration that "
                "the run was trained with."
            )
        self.stage = self.resolutions.index(max(found))
        field.resize(found)
        if optimizer is not None:
            _tell(field, optimizer)


class LeafDivision(Strategy):
    """Halves the leaves of a surface's octree in stages, where the surface bends; the surface stays."""

    def __init__(self, flatness: float, stages: int, end: float) -> None:
        """Says when; the octree's leaves are all of one size before the first stage.

        Args:
            flatness: see `onefield.fields.octree_flexicubes.OctreeFlexiCubesField.refine`.
            stages: how often.
            end: share of the run at which the last stage is reached.
        """
        self.flatness = flatness
        self.thresholds = [end * stage / stages for stage in range(1, stages + 1)]
        self.stage = 0

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Halves leaves where the next stage's share of the run is reached."""
        assert isinstance(field, ShadedSurface)
        while self.stage < len(self.thresholds) and progress >= self.thresholds[self.stage]:
            self.stage += 1
            field.refine(self.flatness)
            _tell(field, optimizer)

    def state(self) -> dict[str, Tensor]:
        """The stage, which an octree does not tell: there may be nothing to halve."""
        return {"stage": torch.tensor(self.stage)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Takes over the stage."""
        self.stage = int(state["stage"])

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Takes the leaves of a checkpoint's octree.

        Raises:
            DataError: the checkpoint has none, or broken ones.
        """
        assert isinstance(field, ShadedSurface)
        assert isinstance(field.grid, OctreeFlexiCubesField)
        leaves = [saved[_GRID + name] for name in ("lows", "sizes") if _GRID + name in saved]
        if len(leaves) != 2:
            raise DataError(
                "The checkpoint's surface has no octree, but this configuration has field.flatness; use the "
                "configuration that the run was trained with."
            )
        field.grid.take_saved_octree(*leaves)
        if optimizer is not None:
            _tell(field, optimizer)


def _tell(field: ShadedSurface, optimizer: Adam) -> None:
    for name, parameter in field.grid.named_parameters():
        optimizer.replace(_GRID + name, parameter)


def stage_resolutions(resolution: int, stages: int) -> list[int]:
    """Cells along the longest edge at each stage, coarsest first."""
    return [max(2, math.ceil(resolution / 2 ** (stages - stage))) for stage in range(stages + 1)]


def cubic_cells(box: Bounds, resolution: int) -> tuple[Bounds, tuple[int, int, int]]:
    """A box of the same middle that so many cubes along the longest edge fill, at least as large as the given one."""
    side = max(box.extent) / resolution
    # a whole number of cells stays one though the division rounds
    x, y, z = (max(2, math.ceil(round(extent / side, 6))) for extent in box.extent)
    low = tuple(middle - side * count / 2 for middle, count in zip(box.center, (x, y, z), strict=True))
    high = tuple(middle + side * count / 2 for middle, count in zip(box.center, (x, y, z), strict=True))
    return Bounds(low, high), (x, y, z)
