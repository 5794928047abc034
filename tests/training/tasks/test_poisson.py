import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import DataError, UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads import ValueHead
from onefield.fields.networks import Mlp
from onefield.training.fit import fit
from onefield.training.tasks.poisson import Composition, FromDerivatives, slopes_of, solve_poisson
from tests.training.tasks.pictures import sines, waves


def disc(side: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (x - side / 2).square() + (y - side / 2).square() < (side / 4) ** 2


def test_slopes_stand_midway_between_pixels():
    y, x = np.mgrid[0:3, 0:4] + 0.5
    along_x, along_y = slopes_of(signal_of((x * x + 5 * y * y).astype(np.float32) / 16, "image"))
    # in pixels' sides: the derivative of x^2 / 16 is x / 8
    torch.testing.assert_close(along_x.values[:, 0], along_x.points[:, 0] * 4 / 8)
    torch.testing.assert_close(along_y.values[:, 0], along_y.points[:, 1] * 4 * 5 / 8)
    assert (along_x.axis, along_y.axis) == (0, 1)


@pytest.mark.parametrize("derivative", ["gradient", "laplacian"])
def test_a_picture_comes_back_from_its_derivatives(derivative):
    fitted = fit(signal_of(waves(16, 20), "image"), sines(16, 20), steps=250, task=FromDerivatives(derivative))
    assert fitted.metrics["psnr"] > 27


def test_pixels_are_solved_for_by_their_differences():
    background, inserted = torch.tensor(waves(12, 12)), torch.tensor(waves(12, 12)).flip(0) + 3
    inside = disc(12)
    slopes = slopes_of(signal_of(background, "image"))
    broken = torch.where(inside[..., None], 7.0, background)
    torch.testing.assert_close(solve_poisson(broken, slopes, inside), background, atol=1e-5, rtol=0)
    # the Laplacian inside is the insert's, the values outside are the background's
    problem = Composition(inserted, inside).problem(signal_of(background, "image"), torch.Generator())
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    curvature = [
        torch.nn.functional.conv2d(values.movedim(-1, 0)[None], kernel)[0, 0] for values in (problem.truth, inserted)
    ]
    deep = inside[1:-1, 1:-1]
    torch.testing.assert_close(curvature[0][deep], curvature[1][deep], atol=1e-4, rtol=0)
    assert torch.equal(problem.truth[~inside], background[~inside])


def test_a_composition_has_no_seam():
    background = signal_of(waves(20, 20), "image")
    inserted = waves(20, 20)[::-1].copy() * 0.5 + 0.4
    fitted = fit(background, sines(20, 20), steps=200, task=Composition(inserted, disc(20)))
    assert fitted.metrics["psnr"] > fitted.metrics["baseline_psnr"] + 8


def test_what_has_no_derivatives():
    edged = ComposedField(sines(9, 9).domain, IdentityEncoding(2), Mlp(2, 1, 16), [ValueHead()])
    with pytest.raises(UsageError, match="linear piece by piece"):
        fit(waves(9, 9), edged, steps=1, task=FromDerivatives("laplacian"))
    with pytest.raises(UsageError, match="did you mean 'gradient'"):
        fit(waves(16, 16), task=FromDerivatives("gradients"))
    with pytest.raises(DataError, match="3 pixels a side or more"):
        fit(waves(2, 6), task=FromDerivatives("laplacian"))


def test_what_can_not_be_composed():
    with pytest.raises(UsageError, match="needs a picture to insert and a mask"):
        fit(waves(8, 8), task="compose")
    with pytest.raises(DataError, match=r"inserted picture has shape \(6, 6, 1\)"):
        fit(waves(8, 8), task=Composition(waves(6, 6), disc(8)))
    with pytest.raises(DataError, match="nothing or all of it"):
        fit(waves(8, 8), task=Composition(waves(8, 8), np.zeros((8, 8))))
