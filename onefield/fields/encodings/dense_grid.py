"""Dense feature grid as an encoding."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding
from onefield.kernels.dense_grid import dense_grid, taps_of

_DIMENSIONS = (1, 2, 3, 4)


class DenseGridEncoding(Encoding):
    """Features stored at the vertices of a regular grid that fills the unit cube, borders included.

    The parameter ``grid`` has shape ``[*resolution, features]``, its first axis along the first coordinate. Twice
    differentiable with respect to points and grid; ``linear`` has kinks at the vertices, ``cubic`` (Catmull-Rom, linear
    beyond the border) a continuous first derivative.

    Args:
        dimension: coordinates of a point, 1 to 4.
        resolution: vertices along each axis, at least 2; one number stands for all axes.
        features: numbers a vertex.
        interpolation: ``"linear"`` or ``"cubic"``.
        initial_amplitude: starting values are uniform between plus and minus this.

    Raises:
        UsageError: an argument is out of range, with its value.
    """

    def __init__(
        self,
        dimension: int = 3,
        resolution: int | tuple[int, ...] = 128,
        features: int = 4,
        interpolation: str = "linear",
        initial_amplitude: float = 1e-4,
    ) -> None:
        super().__init__()
        if dimension not in _DIMENSIONS:
            raise UsageError(f"DenseGridEncoding takes points of 1 to 4 coordinates, got dimension {dimension}.")
        if features < 1:
            raise UsageError(f"DenseGridEncoding needs features of at least 1, got {features}.")
        taps_of(interpolation)
        self.input_dimension = dimension
        self.output_dimension = features
        self.interpolation = interpolation
        shape = _vertices(dimension, resolution)
        self.grid = nn.Parameter(torch.empty(*shape, features).uniform_(-initial_amplitude, initial_amplitude))

    @property
    def resolution(self) -> tuple[int, ...]:
        """Vertices along each axis."""
        return tuple(self.grid.shape[:-1])

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Features of points in the unit cube; points outside are clamped to it."""
        return dense_grid(points, None, self.grid, self.interpolation)

    @torch.no_grad()
    def upsampled(self, resolution: int | tuple[int, ...]) -> DenseGridEncoding:
        """A new encoding of another resolution that answers the same at its vertices."""
        shape = _vertices(self.input_dimension, resolution)
        finer = DenseGridEncoding(self.input_dimension, shape, self.output_dimension, self.interpolation)
        finer = finer.to(self.grid)
        axes = [torch.linspace(0, 1, count, dtype=self.grid.dtype, device=self.grid.device) for count in shape]
        vertices = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        finer.grid.copy_(self(vertices.reshape(-1, self.input_dimension)).reshape(finer.grid.shape))
        return finer


def _vertices(dimension: int, resolution: int | tuple[int, ...]) -> tuple[int, ...]:
    shape = (resolution,) * dimension if isinstance(resolution, int) else tuple(resolution)
    if len(shape) != dimension or min(shape) < 2:
        raise UsageError(f"A {dimension}-D dense grid needs {dimension} vertex counts of at least 2, got {resolution}.")
    return shape
