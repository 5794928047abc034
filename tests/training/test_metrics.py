import math

import numpy as np
import pytest
import torch
from skimage import data, metrics

from onefield.errors import UsageError
from onefield.training.metrics import intersection_over_union, ms_ssim, psnr, ssim, surface_agreement


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    truth = torch.tensor(data.astronaut()[100:260, 150:330] / 255.0, dtype=torch.float32)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    return (truth + 0.08 * noise).clamp(0, 1), truth


def test_psnr_is_that_of_scikit_image_and_states_its_range():
    noisy, truth = pictures()
    expected = metrics.peak_signal_noise_ratio(truth.numpy(), noisy.numpy(), data_range=1.0)
    assert psnr(noisy, truth, 1.0) == pytest.approx(expected, abs=1e-4)
    assert psnr(2 * noisy, 2 * truth, 2.0) == pytest.approx(expected, abs=1e-4)
    assert psnr(torch.full((4,), 0.6), torch.full((4,), 0.5), 1.0) == pytest.approx(20, abs=1e-5)
    assert psnr(truth, truth, 1.0) == math.inf


@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_ssim_is_that_of_scikit_image(value_range):
    noisy, truth = (p * value_range for p in pictures())
    expected = metrics.structural_similarity(
        truth.numpy().astype(np.float64),
        noisy.numpy().astype(np.float64),
        data_range=value_range,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(noisy, truth, value_range) == pytest.approx(expected, abs=1e-4)
    assert ssim(truth, truth, value_range) == pytest.approx(1.0)


def test_ms_ssim_orders_distortions_and_is_one_for_equal():
    truth = torch.tensor(data.camera()[:192, :200] / 255.0, dtype=torch.float32)[..., None]
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    scores = [ms_ssim(truth + amount * noise, truth) for amount in (0.0, 0.05, 0.2)]
    assert scores[0] == pytest.approx(1.0)
    assert scores[0] > scores[1] > scores[2] > 0.3
    # pixel noise averages out at the coarse scales
    assert scores[2] > ssim(truth + 0.2 * noise, truth)


def test_small_or_unequal_images_are_refused():
    with pytest.raises(UsageError, match="at least 11"):
        ssim(torch.zeros(10, 20, 3), torch.zeros(10, 20, 3))
    with pytest.raises(UsageError, match="equal shapes"):
        psnr(torch.zeros(4), torch.zeros(1, 4), 1.0)


def test_surfaces_apart_by_a_known_distance():
    grid = torch.stack(torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij"), -1).reshape(-1, 2)
    plane = torch.cat([grid, torch.zeros(400, 1)], -1)
    shifted = plane + torch.tensor([0.0, 0.0, 0.3])
    close = surface_agreement(shifted, plane, 0.31)
    assert close.chamfer == pytest.approx(0.3, abs=1e-6)
    assert close.f_score == 1.0
    half = surface_agreement(shifted[grid[:, 0] < 10], plane, 0.31)
    assert half.precision == 1.0
    assert half.recall == 0.5
    assert half.f_score == pytest.approx(2 / 3)
    assert surface_agreement(shifted, plane, 0.1).f_score == 0.0


def test_intersection_over_union():
    a = torch.tensor([True, True, False, False])
    b = torch.tensor([True, False, True, False])
    assert intersection_over_union(a, b) == pytest.approx(1 / 3)
    assert intersection_over_union(a, a) == 1.0
    assert intersection_over_union(~(a | ~a), ~(a | ~a)) == 1.0
