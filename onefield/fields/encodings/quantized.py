"""Coordinates snapped to the centres of tiny cells before another encoding sees them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding


class QuantizedEncoding(Encoding):
    """``inner((floor(n x) + 1/2) / n)``: any encoding, of coordinates that take n values along each axis.

    Coordinate quantised neural implicit representations (Jiang et al. 2023, CQ-NIR): all points of a cell count as
    its centre, so that training sees the same coordinates again and again. Steps have no slope, so derivatives by the
    points are those of the inner encoding at the centre, as in the authors' code, and normals are of use. Values jump
    between cells.

    Args:
        inner: takes points of the unit cube.
        cells: n; the paper has 25,600 over the five units of its box.

    Raises:
        UsageError: fewer than two cells.
    """

    def __init__(self, inner: Encoding, cells: int = 25_600) -> None:
        super().__init__()
        if cells < 2:
            raise UsageError(f"QuantizedEncoding needs at least 2 cells an axis, got {cells}.")
        self.inner = inner
        self.cells = cells
        self.input_dimension = inner.input_dimension
        self.output_dimension = inner.output_dimension
        self.parameter_group = inner.parameter_group

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Features at the centres of the points' cells."""
        centers = ((points * self.cells).floor() + 0.5) / self.cells
        # the value of the centre, the slope of the point
        return self.inner(points + (centers - points).detach())
