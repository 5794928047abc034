"""A plane through a solid with the closed contours along which it was cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Slice:
    """One plane and the contours on it; a point of the plane is inside where it lies in an odd number of them.

    A plane without contours says that the solid does not reach it.

    Attributes:
        name: for messages, such as a file and the number of the plane in it.
        origin: a point of the plane, float64.
        axes: right and up in the plane, orthonormal rows, float64; ``right x up`` points to the viewer.
        contours: corners along ``axes`` from the origin, each polygon closed by the edge from its last corner to its
            first, float64.
    """

    name: str
    origin: Float[np.ndarray, "3"]
    axes: Float[np.ndarray, "2 3"]
    contours: tuple[Float[np.ndarray, "k 2"], ...]

    @property
    def normal(self) -> Float[np.ndarray, "3"]:
        """Unit vector ``right x up``."""
        return np.cross(self.axes[0], self.axes[1])

    @property
    def edges(self) -> Float[np.ndarray, "e 2 2"]:
        """First and second end of the edges of all contours, in the plane."""
        pairs = [np.stack([corners, np.roll(corners, -1, axis=0)], axis=1) for corners in self.contours]
        return np.concatenate(pairs) if pairs else np.zeros((0, 2, 2))

    def to_world(self, points: Float[np.ndarray, "*b 2"]) -> Float[np.ndarray, "*b 3"]:
        """Points of the plane as world points."""
        return points @ self.axes + self.origin

    def to_plane(self, points: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 2"]:
        """World points dropped onto the plane."""
        return (points - self.origin) @ self.axes.T

    def contains(self, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n"]:
        """Which points of the plane are inside."""
        from skimage.measure import points_in_poly

        inside = np.zeros(len(points), dtype=bool)
        for corners in self.contours:
            inside ^= points_in_poly(points, corners)
        return inside

    def along_contours(self, distances: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 2"]:
        """Points of the contours, laid end to end.

        Args:
            distances: from the start of the first contour, in [0, 1] of the length of all; the slice must have some.
        """
        edges = self.edges
        lengths = np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1)
        ends = np.cumsum(lengths)
        at = distances * ends[-1]
        edge = np.searchsorted(ends, at, side="right").clip(max=len(edges) - 1)
        rest = ((ends[edge] - at) / np.maximum(lengths[edge], np.finfo(float).tiny)).clip(0, 1)
        return edges[edge, 1] + rest[:, None] * (edges[edge, 0] - edges[edge, 1])


def distance_to_edges(points: Float[np.ndarray, "n 2"], edges: Float[np.ndarray, "e 2 2"]) -> Float[np.ndarray, "n"]:
    """Distance of each point from the nearest edge; infinite without edges."""
    starts, along = edges[:, 0], edges[:, 1] - edges[:, 0]
    squared = np.maximum((along**2).sum(-1), np.finfo(float).tiny)
    nearest = np.full(len(points), np.inf)
    # a point at a time keeps this small; it is asked for few points
    for index, point in enumerate(points):
        share = (((point - starts) * along).sum(-1) / squared).clip(0, 1)
        gap = point - starts - share[:, None] * along
        nearest[index] = np.sqrt((gap**2).sum(-1).min(initial=np.inf))
    return nearest
