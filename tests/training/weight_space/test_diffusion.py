import pytest
import torch

from onefield.errors import UsageError
from onefield.training.field_dataset import flatten_weights, weight_layout
from onefield.training.recipes import Target, build_field
from onefield.training.weight_space.diffusion import Schedule, learn_diffusion
from onefield.training.weight_space.layers import layers_of, rows_of
from onefield.types import Bounds

OPTIONS = {"width": 6, "hidden_layers": 1, "w0": 5.0, "first_w0": 5.0, "output_gain": 1.0}
TARGET = Target("value", Bounds((0.0,), (1.0,)), 1, 0.0, 1.0)


def test_the_law_after_each_step_is_the_closed_form():
    schedule = Schedule.linear(200)
    generator = torch.Generator().manual_seed(0)
    assert 0.99 < schedule.kept[0] < 1
    assert schedule.kept[-1] < 1e-3
    assert (schedule.kept.diff() < 0).all()
    # one step at a time: x <- sqrt(1 - beta) x + sqrt(beta) noise
    x = 0.3 + 0.5 * torch.randn(20_000, 1, generator=generator)
    walked, beta = x, 1 - schedule.kept / torch.cat([torch.ones(1), schedule.kept[:-1]])
    for step in range(60):
        noise = torch.randn(x.shape, generator=generator)
        walked = (1 - beta[step]).sqrt() * walked + beta[step].sqrt() * noise
    kept = schedule.kept[59]
    jumped = schedule.noised(x, torch.full((len(x),), 59), torch.randn(x.shape, generator=generator))
    for each in (walked, jumped):
        assert each.mean().item() == pytest.approx(0.3 * kept.sqrt().item(), abs=0.02)
        assert each.var().item() == pytest.approx(0.25 * kept.item() + 1 - kept.item(), rel=0.04)


def test_going_back_with_the_truth_arrives_there_and_keeps_the_noise():
    schedule = Schedule.linear(100)
    x, noise = torch.randn(4, 3), torch.randn(4, 3)
    noisy = schedule.noised(x, torch.full((4,), 80), noise)
    back = schedule.earlier(noisy, x, 80, 30)
    torch.testing.assert_close(back, schedule.noised(x, torch.full((4,), 30), noise), atol=1e-5, rtol=1e-4)
    assert torch.equal(schedule.earlier(noisy, x, 80, -1), x)


def test_samples_are_near_the_fields_that_were_learned():
    """Sines of a loud and a quiet kind, which differ in the last layer alone: samples are of both, none in between."""
    torch.manual_seed(0)
    field = build_field("siren", OPTIONS, TARGET)
    layout, row = weight_layout(field), flatten_weights(field)[None]
    gains = torch.cat([0.5 + 0.05 * torch.rand(8), 1.5 + 0.05 * torch.rand(8)])
    layers = layers_of(row.expand(16, -1), layout)
    layers[-1] = layers[-1][0] * gains[:, None, None], layers[-1][1]
    rows = rows_of(layers, layout)
    model = learn_diffusion(rows, layout, steps=200, batch=32, width=32, blocks=1)
    samples = model.sample(24, steps=25)
    assert torch.equal(samples, model.sample(24, steps=25))
    loudness = layers_of(samples, layout)[-1][0].norm(dim=(1, 2)) / layers_of(row, layout)[-1][0].norm()
    loud = loudness > 1
    assert 3 <= int(loud.sum()) <= 21
    distance = torch.cdist(samples, rows).amin(1) / torch.cdist(rows[:8], rows[8:]).mean()
    assert distance.median() < 0.15
    with pytest.raises(UsageError, match="at least 2 fields"):
        learn_diffusion(rows[:1], layout)
