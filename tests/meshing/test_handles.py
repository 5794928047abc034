import numpy as np
import pytest
import torch

from onefield.kernels.marching_cubes import marching_cubes
from onefield.meshing.handles import without_small_handles
from onefield.meshing.report import report_mesh
from onefield.types import Mesh

AXIS = np.linspace(-1, 1, 33)
X, Y, Z = np.meshgrid(AXIS, AXIS, AXIS, indexing="ij")
CELL = AXIS[1] - AXIS[0]


def ball(x: float, radius: float) -> np.ndarray:
    return np.sqrt((X - x) ** 2 + Y**2 + Z**2) - radius


def ring(radius: float, thickness: float) -> np.ndarray:
    return np.hypot(np.hypot(X, Y) - radius, Z) - thickness


def counted(distances: np.ndarray) -> tuple[int, int]:
    """Euler number and pieces of the surface."""
    vertices, faces = marching_cubes(torch.from_numpy(distances).float())
    report = report_mesh(Mesh(vertices, faces))
    assert report.watertight
    return report.euler, report.components


# a horseshoe whose ends are bridged by what lies within a tenth of a cell of the surface
BRIDGED = np.maximum(ring(0.6, 0.2), -np.maximum(np.abs(Y) - 0.03, -X))
BRIDGED = np.where((X > 0) & (np.abs(Y) < 0.06) & (np.abs(Z) < 0.06) & (np.abs(X - 0.6) < 0.06), -0.1 * CELL, BRIDGED)
# a plate with a hole of the width of a corner
PIERCED = np.maximum(np.maximum(np.abs(X), np.abs(Y)) - 0.7, np.abs(Z) - 0.15)
PIERCED = np.where((np.maximum(np.abs(X), np.abs(Y)) < 0.01) & (np.abs(Z) < 0.2), 0.1 * CELL, PIERCED)
# two balls that touch by the depth of a tenth of a cell
JOINED = np.minimum(ball(-0.4, 0.3), ball(0.4, 0.3))
JOINED = np.where((np.abs(X) < 0.15) & (np.abs(Y) < 0.01) & (np.abs(Z) < 0.01), -0.1 * CELL, JOINED)
HOLLOW = np.maximum(ball(0.0, 0.8), -ball(0.0, 0.5))


@pytest.mark.parametrize(
    ("distances", "before", "after"),
    [
        (BRIDGED, (0, 1), (2, 1)),
        (PIERCED, (0, 1), (2, 1)),
        (JOINED, (2, 1), (2, 1)),
        (HOLLOW, (4, 2), (4, 2)),
        (ring(0.6, 0.2), (0, 1), (0, 1)),
    ],
    ids=["bridged", "pierced", "joined", "hollow", "ring"],
)
def test_handles_of_less_than_the_depth_go_and_nothing_else(distances, before, after):
    assert counted(distances) == before
    assert counted(without_small_handles(distances, 0.5 * CELL)) == after
    assert np.array_equal(without_small_handles(distances, 0.05 * CELL), distances)
