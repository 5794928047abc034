"""Sizes and shading of rendered pictures."""

from __future__ import annotations

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import Material, SphereField
from onefield.fields.field import Field
from onefield.renderers.background import White
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.renderers.volume import VolumeRenderer
from onefield.tools.render import DEFAULT_MOST_PIXELS, shaded, sized
from onefield.training.method import Method
from onefield.training.settings import TrainingSettings
from tests.catalog import radiance_field


def camera(width: int, height: int) -> Cameras:
    one = torch.ones(1, dtype=torch.int64)
    size = torch.tensor([[width, height]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)[None, :3]
    straight, fisheye = torch.zeros(1, 8, dtype=torch.float64), torch.zeros(1, dtype=torch.bool)
    return Cameras(pose, size, size / 2, one * width, one * height, straight, fisheye)


@pytest.mark.parametrize(("width", "height"), [(540, 960), (4000, 3000), (960, 540)])
def test_large_photos_are_rendered_smaller_whichever_way_they_stand(width: int, height: int) -> None:
    small = sized(camera(width, height), None)
    pixels = int(small.width[0] * small.height[0])
    assert 0.98 * DEFAULT_MOST_PIXELS < pixels < 1.02 * DEFAULT_MOST_PIXELS
    assert int(small.width[0]) / int(small.height[0]) == pytest.approx(width / height, rel=0.01)


def test_small_photos_keep_their_size_and_a_stated_width_is_taken() -> None:
    assert int(sized(camera(400, 400), None).width[0]) == 400
    wide = sized(camera(400, 300), 801)
    assert (int(wide.width[0]), int(wide.height[0])) == (800, 600)
    with pytest.raises(UsageError, match="--width"):
        sized(camera(400, 300), 1)


def method(field: Field) -> Method:
    return Method("any", field, VolumeRenderer(UniformSampler(8), White()), (), TrainingSettings())


def test_a_surface_is_lit_in_its_colours_or_as_clay() -> None:
    ball = method(SphereField(0.5, material=Material(color=(1.0, 0.0, 0.0))))
    assert shaded(ball, "field") is ball.renderer
    pose = torch.eye(3, 4, dtype=torch.float64)[None].clone()
    pose[0, 2, 3] = -3.0
    size = torch.tensor([9])
    view = Cameras.pinhole(pose, 12.0, (4.5, 4.5), size, size)
    for shading, grey in (("lit", False), ("clay", True)):
        shown = shaded(ball, shading).render_image(ball.field, view, 0)
        middle = shown.color[4, 4]
        assert bool(torch.allclose(middle, middle[:1].expand(3))) == grey
        assert torch.equal(shown.color[0, 0], torch.ones(3))


def test_what_has_no_surface_and_shadings_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="--method sdf"):
        shaded(method(radiance_field()), "lit")
    with pytest.raises(UsageError, match="'clay'"):
        shaded(method(radiance_field()), "cly")
