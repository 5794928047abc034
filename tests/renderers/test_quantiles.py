"""Quantiles of depth against closed forms."""

import math

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import Material, SphereField
from onefield.renderers.quantiles import opacity_quantiles
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.renderers.volume import VolumeRenderer
from onefield.types import RaySamples


def packed(*rays):
    starts = torch.cat([torch.tensor(ray, dtype=torch.float32) for ray in rays])
    counts = torch.tensor([len(ray) for ray in rays])
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return RaySamples(torch.repeat_interleave(torch.arange(len(rays)), counts), starts, starts + 0.5, offsets)


def test_light_is_lost_as_the_exponential_says():
    samples = packed([1.0, 1.5, 2.0, 4.0], [], [3.0])
    densities = torch.tensor([0.0, 2.0, 0.5, 1e9, 0.3])
    found = opacity_quantiles(densities, samples, (0.25, 0.5, 0.7, 0.9))
    # thickness is 0 until 1.5, 1 until 2, 1.25 until 2.5, and all is solid from 4
    expected = [1.5 + math.log(4 / 3) / 2, 1.5 + math.log(2) / 2, 2 + (math.log(10 / 3) - 1) / 0.5, 4.0]
    torch.testing.assert_close(found[0], torch.tensor(expected), atol=1e-5, rtol=0)
    assert torch.isinf(found[1]).all()
    assert torch.isinf(found[2]).all()


def test_a_thick_ray_takes_no_digits_from_the_next():
    samples = packed([1.0] * 1, [2.0, 2.5])
    found = opacity_quantiles(torch.tensor([1e12, 1.0, 1.0]), samples, (0.5,))
    torch.testing.assert_close(found[1, 0], torch.tensor(2.0 + math.log(2)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_there_is_no_depth_of_none_or_all_of_the_light(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        opacity_quantiles(torch.ones(1), packed([1.0]), (0.5, share))


def test_a_picture_has_its_median_depth():
    """A ball of density 4: half the light is gone ln 2 / 4 behind its surface."""
    ball = SphereField(0.6, material=Material(density=4.0, color=(1.0, 0.0, 0.0)))
    pose = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -3]]])
    camera = Cameras.pinhole(pose, 20.0, (5.5, 5.5), 11, 11)
    renderer = VolumeRenderer(UniformSampler(2000))
    image = renderer.render_image(ball, camera, 0, quantiles=(0.5, 0.25))
    assert image.quantiles.shape == (11, 11, 2)
    assert abs(float(image.quantiles[5, 5, 0]) - (2.4 + math.log(2) / 4)) < 2e-3
    assert abs(float(image.quantiles[5, 5, 1]) - (2.4 + math.log(4 / 3) / 4)) < 2e-3
    assert torch.isinf(image.quantiles[0, 0]).all()
    assert renderer.render_image(ball, camera, 0).quantiles is None
