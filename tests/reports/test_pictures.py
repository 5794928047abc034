"""Numbers as colours that can be ordered, and pictures inside addresses."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from onefield.reports.pictures import (
    EMPTY,
    data_address,
    depth_colors,
    error_colors,
    normal_colors,
    ramp_colors,
    ramp_style,
)


def lightness(colors):
    """CIE L* of sRGB bytes."""
    values = colors / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(np.maximum(luminance, (6 / 29) ** 3)) - 16


def test_lightness_rises_evenly_enough_to_be_ordered():
    steps = np.diff(lightness(ramp_colors(np.linspace(0, 1, 33))))
    assert steps.min() > 1.0
    assert steps.max() < 8.0


def test_red_and_green_never_carry_the_difference_alone():
    """Deuteranopes confuse red with green: the ramp goes from blue to yellow, so blueness falls where it is needed."""
    low, high = ramp_colors(np.array([0.0, 1.0])).astype(int)
    assert low[2] - low[:2].max() > 30
    assert high[:2].min() - high[2] > 80


def test_values_outside_are_clamped_and_none_is_dark():
    assert ramp_colors(np.array([-1.0, 0.0, np.nan])).tolist() == [[8, 12, 60]] * 3
    assert ramp_colors(np.array([2.0])).tolist() == ramp_colors(np.array([1.0])).tolist()
    assert "rgb(8 12 60)" in ramp_style()


def test_a_picture_comes_back_from_its_address():
    pixels = np.zeros((60, 120, 3), dtype=np.uint8)
    pixels[:, 60:] = [200, 100, 50]
    kind, _, content = data_address(pixels, 40).partition(",")
    assert kind == "data:image/jpeg;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)
    assert picture.shape == (20, 40, 3)
    assert np.abs(picture[:, 30] - [200, 100, 50]).max() < 12
    whole = Image.open(io.BytesIO(base64.b64decode(data_address(pixels, 500).partition(",")[2])))
    assert whole.size == (120, 60)


def test_errors_are_the_mean_over_channels():
    truth = np.full((1, 3, 3), 100, dtype=np.uint8)
    rendered = truth.copy()
    rendered[0, 1] = [100, 100, 196]
    rendered[0, 2] = 0
    colors = error_colors(truth, rendered)
    assert colors[0, 0].tolist() == ramp_colors(np.array(0.0)).tolist()
    assert colors[0, 1].tolist() == ramp_colors(np.array(32 / 255 / 0.25)).tolist()
    assert colors[0, 2].tolist() == ramp_colors(np.array(1.0)).tolist()


def test_depth_is_told_where_something_is():
    depths = np.linspace(1, 3, 100).reshape(10, 10)
    picture, ends = depth_colors(depths, np.ones((10, 10)))
    assert ends == pytest.approx((1.02, 2.98), abs=0.01)
    assert (np.diff(lightness(picture.reshape(-1, 3))) > -1e-9).all()
    seen = np.zeros((10, 10))
    picture, ends = depth_colors(depths, seen)
    assert ends is None
    assert (picture == EMPTY).all()
    seen[0, 0] = 1
    assert depth_colors(depths, seen)[1] == (1.0, 1.0)


def test_normals_are_unit_vectors_as_colours():
    normals = np.array([[[1.0, 0, 0], [0, 0, -5.0], [0, 0, 0]]])
    picture = normal_colors(normals, np.array([[1.0, 1.0, 0.2]]))
    assert picture[0, 0].tolist() == [255, 128, 128]
    assert picture[0, 1].tolist() == [128, 128, 0]
    assert tuple(picture[0, 2]) == EMPTY
