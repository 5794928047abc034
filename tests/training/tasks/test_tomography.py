import numpy as np
import pytest
import torch
from skimage.transform import radon

from onefield.data.signals import Signal
from onefield.errors import DataError, UsageError
from onefield.fields.field import Field
from onefield.training.fit import fit
from onefield.training.tasks.tomography import Tomography, projections, sinogram_of
from onefield.types import Bounds, Sample
from tests.training.tasks.pictures import sines


class Ellipse(Field):
    """1 inside an ellipse, else 0; ``center`` in the unit square."""

    provides = frozenset({"value"})
    domain = Bounds((0.0, 0.0), (1.0, 1.0))

    def __init__(self, half_axes=(0.2, 0.2), center=(0.5, 0.5)):
        super().__init__()
        self.half_axes, self.center = half_axes, center

    def _evaluate(self, points, directions, time, want):
        places = (points - points.new_tensor(self.center)) / points.new_tensor(self.half_axes)
        return Sample(value=(places.norm(dim=-1, keepdim=True) < 1).to(points))


class Bump(Ellipse):
    """A Gaussian, off the middle."""

    def _evaluate(self, points, directions, time, want):
        places = (points - points.new_tensor(self.center)) / points.new_tensor(self.half_axes)
        return Sample(value=torch.exp(-0.5 * places.square().sum(-1, keepdim=True)))


def test_shadows_of_discs_and_ellipses_are_their_chords():
    angles = torch.linspace(0, 3, 50, dtype=torch.float64)
    offsets = torch.linspace(-0.4, 0.4, 50, dtype=torch.float64).flip(0)
    a, b = 0.3, 0.15
    found = projections(Ellipse((a, b)), angles, offsets, 4000)[:, 0]
    # Kak and Slaney 1988, section 3.1
    reach = (a * angles.cos()).square() + (b * angles.sin()).square()
    truth = 2 * a * b * (reach - offsets.square()).clamp(min=0).sqrt() / reach
    torch.testing.assert_close(found, truth, atol=1e-3, rtol=0)
    disc = projections(Ellipse((0.2, 0.2), (0.6, 0.5)), torch.zeros(3), torch.tensor([0.1, 0.2, -0.3]), 4000)[:, 0]
    torch.testing.assert_close(disc, torch.tensor([0.4, 2 * 0.03**0.5, 0.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [41, 40])
def test_the_sinogram_is_that_of_scikit_image(count):
    bump = Bump((0.1, 0.06), (0.62, 0.42))
    grid = Signal("image", torch.zeros(count, count, 1), 1.0)
    picture = bump.query(grid.points(torch.arange(count**2))).value.reshape(count, count).numpy()
    degrees = torch.tensor([0.0, 20.0, 75.0, 130.0])
    found = sinogram_of(bump, degrees, count).numpy()
    truth = radon(picture, theta=degrees.numpy(), circle=True).T
    assert np.abs(found - truth).max() < 0.02 * truth.max()


def test_a_slice_from_few_views():
    ellipse = Ellipse((0.25, 0.12), (0.55, 0.45))
    grid = Signal("image", torch.zeros(24, 24, 1), 1.0)
    truth = Signal("image", ellipse.query(grid.points(torch.arange(576))).value.reshape(24, 24, 1), 1.0)
    sinogram = Signal("image", sinogram_of(ellipse, torch.arange(6) * 30.0, 24)[..., None], 1.0)
    fitted = fit(sinogram, sines(24, 24, w0=15.0), steps=300, task=Tomography(truth=truth))
    assert fitted.reconstruction().shape == (24, 24, 1)
    assert fitted.metrics["psnr"] > fitted.metrics["baseline_psnr"] + 2


def test_what_is_no_sinogram():
    with pytest.raises(DataError, match="one channel"):
        fit(np.zeros((4, 8, 3)), task="tomography")
    with pytest.raises(DataError, match="4 rows, but 3 angles"):
        fit(np.ones((4, 8)), task=Tomography(np.arange(3.0)))
    with pytest.raises(UsageError, match="about images"):
        fit(np.ones(90), task="tomography")
