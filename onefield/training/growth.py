"""Dense grids that start coarse and grow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onefield.errors import DataError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.fields.field import Field
from onefield.training.method import Strategy
from onefield.training.optimizer import Adam


class GridGrowth(Strategy):
    """Multiplies a grid's number of vertices in stages, so that coarse shape comes first (DVGO, section 4.2).

    Between two stages the edge grows by the cube root of two for each doubling of the number of vertices.
    """

    def __init__(self, field: ComposedField, resolution: int, stages: int, end: float) -> None:
        """Shrinks the field's grid to its first size at once.

        Args:
            field: whose encoding is a dense grid.
            resolution: vertices along an edge after the last stage.
            stages: how often the number of vertices doubles.
            end: share of the run at which the last stage is reached.
        """
        self.field = field
        self.resolutions = [round(resolution * 2 ** ((stage - stages) / 3)) for stage in range(stages + 1)]
        self.thresholds = [end * stage / stages for stage in range(1, stages + 1)]
        self.stage = 0
        self._resize(self.resolutions[0])

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Grows the grid where the next stage's share of the run is reached."""
        while self.stage < len(self.thresholds) and progress >= self.thresholds[self.stage]:
            self.stage += 1
            self._grow(field, optimizer, self.resolutions[self.stage])

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Takes the stage whose resolution a checkpoint's grid has.

        Raises:
            DataError: no stage has it.
        """
        name = _grid_name(field, self.field)
        found = saved["field." + name].shape[0] if "field." + name in saved else None
        if found not in self.resolutions:
            raise DataError(
                f"The checkpoint's grid '{name}' has {found} vertices along an edge, but this configuration passes "
                f"through {', '.join(map(str, self.resolutions))}; use the configuration that the run was trained with."
            )
        self.stage = self.resolutions.index(found)
        self._grow(field, optimizer, found)

    def _grow(self, field: Field, optimizer: Adam | None, resolution: int) -> None:
        self._resize(resolution)
        if optimizer is None:
            return
        name = _grid_name(field, self.field)
        optimizer.replace("field." + name, dict(field.named_parameters())[name])

    @torch.no_grad()
    def _resize(self, resolution: int) -> None:
        encoding = self.field.encoding
        assert isinstance(encoding, DenseGridEncoding)
        self.field.encoding = encoding.upsampled(resolution)


def _grid_name(field: Field, composed: ComposedField) -> str:
    grids: dict[int, str] = {id(parameter): name for name, parameter in field.named_parameters()}
    (parameter,) = [p for p in composed.encoding.parameters() if isinstance(p, nn.Parameter)]
    return grids[id(parameter)]
