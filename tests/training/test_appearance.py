"""Corrections of colours: their closed forms, their gauge, and known gains found again."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.training.appearance import APPEARANCES, Appearance, Exposure, build_appearance
from onefield.training.optimizer import Adam, GroupRate

TRAINED = torch.tensor([0, 2, 3])


@pytest.fixture(params=APPEARANCES)
def model(request: pytest.FixtureRequest) -> Appearance:
    torch.manual_seed(0)
    return build_appearance(request.param, 4, TRAINED, False)


def test_zeros_change_nothing_and_the_mean_is_pinned(model):
    colors, opacity, behind = torch.rand(9, 3), torch.rand(9), torch.rand(9, 3)
    index = torch.arange(9) % 4
    torch.testing.assert_close(model.of_images(colors, opacity, behind, index), colors)
    with torch.no_grad():
        model.values.normal_()
    values = model.corrections()
    torch.testing.assert_close(values[TRAINED].mean(0), torch.zeros(model.numbers), atol=1e-6, rtol=0)
    assert (values[1] == 0).all()
    with torch.no_grad():
        model.values += 0.7
    torch.testing.assert_close(model.corrections(), values, atol=1e-5, rtol=0)


def test_exposure_is_gain_and_offset_and_affine_a_matrix():
    colors = torch.tensor([[0.2, 0.4, 0.6]])
    gain_and_offset = torch.tensor([[2.0, 1.0, 0.5]]).log(), torch.tensor([[0.1, 0.0, -0.1]])
    shown = build_appearance("exposure", 4, TRAINED, False)(
        colors, torch.ones(1), torch.zeros(1, 3), torch.cat(gain_and_offset, dim=-1)
    )
    torch.testing.assert_close(shown, torch.tensor([[0.5, 0.4, 0.2]]))
    # red from green, plus an offset
    change = torch.zeros(1, 12)
    change[0, 1], change[0, 9] = 0.5, 0.05
    shown = build_appearance("affine", 4, TRAINED, False)(colors, torch.ones(1), torch.zeros(1, 3), change)
    torch.testing.assert_close(shown, torch.tensor([[0.45, 0.4, 0.6]]))


@pytest.mark.parametrize("name", APPEARANCES)
def test_a_background_that_is_no_part_of_the_photo_keeps_its_colour(name):
    torch.manual_seed(1)
    model = build_appearance(name, 4, TRAINED, True)
    values, behind = torch.randn(2, model.numbers), torch.tensor([[1.0, 0.5, 0.25]] * 2)
    front, opacity = torch.tensor([[0.3, 0.3, 0.3]] * 2), torch.tensor([0.0, 1.0])
    colors = front * opacity[:, None] + behind * (1 - opacity)[:, None]
    shown = model(colors, opacity, behind, values)
    torch.testing.assert_close(shown[0], behind[0])
    torch.testing.assert_close(shown[1], model.corrected(front, torch.ones(2, 1), values)[1])
    assert (shown[1] - front[1]).abs().max() > 1e-3


def test_known_gains_are_found_again_up_to_what_all_photos_share():
    generator = torch.Generator().manual_seed(2)
    scene, model = torch.rand(400, 3, generator=generator) * 0.4 + 0.2, Exposure(4, TRAINED)
    gains = torch.exp(0.3 * torch.randn(4, 3, generator=generator))
    learned = torch.nn.Parameter(torch.full((400, 3), 0.5))
    parameters = {"scene": learned, "values": model.values}
    optimizer = Adam(parameters, dict.fromkeys(parameters, "all"), {"all": GroupRate(3e-2)})
    index = TRAINED.repeat(400)
    points = torch.arange(400).repeat_interleave(3)
    for step in range(1000):
        optimizer.zero_gradients()
        shown = model.of_images(learned[points], torch.ones(1200), torch.zeros(1200, 3), index)
        (shown - scene[points] * gains[index]).square().mean().backward()
        optimizer.step(0.01 ** (step / 1000))
    found = model.corrections().detach()[TRAINED]
    truth = gains[TRAINED].log() - gains[TRAINED].log().mean(0)
    torch.testing.assert_close(found[:, :3], truth, atol=0.02, rtol=0)
    assert found[:, 3:].abs().max() < 0.02


def test_an_unknown_model_is_named():
    assert build_appearance("none", 4, TRAINED, False) is None
    with pytest.raises(UsageError, match="did you mean 'exposure'"):
        build_appearance("exposre", 4, TRAINED, False)
