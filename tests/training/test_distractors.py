"""Masks for distractors: what they take out, what they leave, how they learn, and where gradients end."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from onefield.cameras import Cameras
from onefield.data.batches import RayBatch
from onefield.errors import UsageError
from onefield.kernels.structural_similarity import structural_similarity
from onefield.training.distractors import (
    DistractorMask,
    Distractors,
    HardMask,
    Residuals,
    SoftMask,
    dense_segments,
    feature_residual,
    standing_out,
)

HEIGHT, WIDTH = 20, 30


def residuals(colors=None, features=None, counted=None, corner=(0, 0), shape=(HEIGHT, WIDTH), view=0) -> Residuals:
    return Residuals(
        view=view,
        corner=corner,
        colors=torch.zeros(shape) if colors is None else colors,
        features=torch.zeros(shape) if features is None else features,
        counted=torch.ones(shape, dtype=torch.bool) if counted is None else counted,
    )


def batch(counted=None) -> RayBatch:
    camera = Cameras.pinhole(torch.eye(4)[None, :3], 20.0, (15.0, 10.0), WIDTH, HEIGHT)
    rays = dataclasses.replace(camera.image_rays(0), camera_indices=torch.zeros(HEIGHT * WIDTH, dtype=torch.int64))
    return RayBatch(rays, torch.rand(HEIGHT * WIDTH, 3), counted=counted, corner=(0, 0))


class LeftHalf(DistractorMask):
    def forward(self, residuals: Residuals) -> torch.Tensor:
        weights = torch.ones_like(residuals.colors)
        weights[:, : WIDTH // 2] = 0
        return weights


def means(picture):
    return picture[::2, ::2]


def test_masked_pixels_get_no_gradient_and_keep_their_part_in_the_loss():
    torch.manual_seed(0)
    shown, some = torch.rand(HEIGHT * WIDTH, 3, requires_grad=True), batch()
    judged = Distractors([LeftHalf()], means, 1.0).judge(shown, some.colors, some, 0).prediction
    assert torch.equal(judged, shown)
    shape = (HEIGHT, WIDTH, 3)
    loss = (judged - some.colors).abs().mean()
    loss = loss + 1 - structural_similarity(judged.reshape(shape), some.colors.reshape(shape))
    loss.backward()
    slopes = shown.grad.reshape(shape)
    assert not slopes[:, : WIDTH // 2].any()
    assert (slopes[:, WIDTH // 2 :] != 0).all()


def test_a_pixel_stands_out_only_by_both_residuals():
    colors, features = torch.rand(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)).unbind()
    colors[:3, :5] += 1  # 15 of 600
    features[2:8, :5] += 1  # 30, 5 of them shared
    found = standing_out(residuals(colors, features))
    high = [values > torch.quantile(values, 0.9, interpolation="lower") for values in (colors, features)]
    assert torch.equal(found, high[0] & high[1])
    assert found[2, :5].all()
    assert int(high[0].sum()) == HEIGHT * WIDTH // 10


def test_pixels_that_do_not_count_neither_stand_out_nor_set_the_bar():
    colors = torch.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    counted = colors < 0.5
    found = standing_out(residuals(colors, colors, counted))
    assert not found[~counted].any()
    assert int(found.sum()) == pytest.approx(0.1 * int(counted.sum()), abs=2)
    nothing = standing_out(residuals(colors, colors, torch.zeros_like(counted)))
    assert not nothing.any()
    even = torch.full((HEIGHT, WIDTH), 0.3)
    assert not standing_out(residuals(even, even)).any()


def test_segments_denser_than_the_picture_are_taken_whole():
    labels = torch.tensor([[0, 0, 0, 0, 1, 1, 2, 2]])
    outstanding = torch.tensor([[True, False, False, False, True, True, False, False]])
    counted = torch.ones(1, 8, dtype=torch.bool)
    # 3 of 8 overall; 1 of 4, 2 of 2, none
    assert dense_segments(labels, outstanding, counted).tolist() == [[False] * 4 + [True] * 2 + [False] * 2]
    # 2 of 2 is not three times 3 of 8
    assert not dense_segments(labels, outstanding, counted, 3.0).any()
    assert dense_segments(labels, outstanding, counted, 2.5)[0, 4:6].all()
    # without the others' pixels, segment 0 is denser than the 3 of 6 that are left
    counted[0, 2:4] = False
    assert not dense_segments(labels, outstanding, counted)[0, :4].any()
    counted[0, 1] = False
    assert dense_segments(labels, outstanding, counted)[0, :4].all()


class Halves:
    """Segments of a photo cut down the middle."""

    def __init__(self, given: bool) -> None:
        self.from_file = given

    def given(self, index: int) -> bool:
        return self.from_file

    def labels(self, index: int, corner: tuple[int, int], shape: tuple[int, int]) -> torch.Tensor:
        return (torch.arange(shape[1]) >= shape[1] // 2).long().expand(shape)


def test_segments_of_a_file_need_be_denser_and_pieces_cut_by_colour_three_times_as_dense():
    colors = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(4))
    colors[:8, -4:] += 1  # all that stands out is to the right: twice as dense there as overall
    weights = HardMask(Halves(given=True))(residuals(colors, colors))
    assert not weights[:, WIDTH // 2 :].any()
    assert (weights[:, : WIDTH // 2] == 1).all()
    assert (HardMask(Halves(given=False))(residuals(colors, colors)) == 1).all()


def test_a_soft_mask_starts_open_and_learns_what_differs():
    mask, shape = SoftMask([(WIDTH, HEIGHT), (9, 7)], cell=4), (HEIGHT, WIDTH)
    features = torch.zeros(shape)
    features[8:16, 4:12] = 0.4
    features[0, :] = 0.1  # a quarter of the first row of cells: 0.025, stretched to 1/16
    seen = residuals(features=features)
    assert (mask(seen) > 0.98).all()
    for _ in range(60):
        mask.learn(seen)
    weights = mask(seen)
    assert (weights[8:16, 4:12] < 0.05).all()
    outside = torch.ones(shape, dtype=torch.bool)
    outside[8:16, 4:12] = False
    assert (weights[outside] > 0.85).all()
    other = residuals(view=1, shape=(7, 9))
    assert (mask(other) > 0.98).all()


def test_the_slope_of_a_soft_mask_is_that_of_the_absolute_difference():
    mask = SoftMask([(WIDTH, HEIGHT)], cell=5)
    features = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    logits = torch.nn.Parameter(mask.logits.clone())
    adam = torch.optim.Adam([logits], lr=0.1, eps=1e-15)
    cells = torch.nn.functional.avg_pool2d(features[None], 5)[0].reshape(-1)
    wanted = 1 - (cells - cells.min()) / (cells.max() - cells.min())
    for _ in range(12):
        mask.learn(residuals(features=features))
        adam.zero_grad()
        (torch.sigmoid(8 * logits) - wanted).abs().mean().backward()
        adam.step()
    torch.testing.assert_close(mask.logits, logits.detach(), atol=1e-4, rtol=1e-4)


def test_each_photo_counts_its_own_visits():
    features = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))
    often, once = (SoftMask([(WIDTH, HEIGHT)] * 2, cell=5) for _ in range(2))
    for _ in range(9):
        often.learn(residuals(features=features))
    for mask in (often, once):
        mask.learn(residuals(features=features, view=1))
    assert torch.equal(*(mask(residuals(view=1)) for mask in (often, once)))
    assert not torch.equal(*(mask(residuals()) for mask in (often, once)))


def test_windows_teach_and_ask_the_cells_that_they_show():
    mask = SoftMask([(40, 40)], cell=4)
    features = torch.zeros(10, 12)
    features[2:6, 2:6] = 1.0  # rows 12 to 16, columns 20 to 24 of the photo: one cell
    for _ in range(30):
        mask.learn(residuals(features=features, corner=(10, 18), shape=(10, 12)))
    whole = mask(residuals(shape=(40, 40)))
    assert (whole[12:16, 20:24] < 0.2).all()
    untouched = torch.ones(40, 40, dtype=torch.bool)
    untouched[8:20, 16:32] = False
    assert (whole[untouched] == whole[0, 0]).all()


def test_masks_take_turns_by_steps_and_only_the_one_in_turn_learns():
    masks = SoftMask([(WIDTH, HEIGHT)], cell=4), SoftMask([(WIDTH, HEIGHT)], cell=4)
    both, some = Distractors(masks, means, 0.1), batch()
    judgement = both.judge(torch.rand(HEIGHT * WIDTH, 3), some.colors, some, 7)
    both.learn(judgement, 7)
    assert (int(masks[0].visits), int(masks[1].visits)) == (0, 1)


def test_agreement_is_the_weighed_absolute_difference():
    shown = torch.tensor([[0.5, 0.5, 0.5]], requires_grad=True)
    value = Distractors([LeftHalf()], means, 0.1).agreement(shown, torch.tensor([[0.2, 0.5, 0.8]]))
    assert value.item() == pytest.approx(0.1 * 0.6 / 3)


def test_features_of_one_direction_do_not_differ_and_opposite_ones_differ_most():
    true = torch.rand(2, 3, 5)
    shown = true.clone()
    shown[0] *= 3
    shown[1, 2] *= -1
    found = feature_residual(shown, true, (4, 6))
    assert found.shape == (4, 6)
    torch.testing.assert_close(found[:2], torch.zeros(2, 6), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[2:, 4:], torch.full((2, 2), 2.0))


def test_single_rays_are_refused():
    some = batch()
    single = dataclasses.replace(some, corner=None)
    with pytest.raises(UsageError, match="whole pictures"):
        Distractors([LeftHalf()], means, 1.0).judge(torch.rand(HEIGHT * WIDTH, 3), some.colors, single, 0)
