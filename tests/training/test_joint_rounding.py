import numpy as np
import pytest
import torch

from onefield.training.compression import _put, _row
from onefield.training.joint_rounding import _factored, curvature_of
from onefield.training.recipes import Target, build_field
from onefield.types import Bounds

TARGET = Target("value", Bounds((0.0, 0.0), (1.0, 0.75)), 3, 0.5, 0.25)
OPTIONS = {"width": 9, "hidden_layers": 2, "w0": 10.0, "first_w0": 10.0, "output_gain": 1.0}


def test_the_curvature_tells_how_values_change():
    """The mean square of a small change of values, measured, is that of the quadratic form."""
    torch.manual_seed(0)
    field = build_field("siren", OPTIONS, TARGET)
    row, names = _row(field), [name for name, _ in field.named_parameters()]
    curvature = curvature_of(field, names, TARGET, seed=0)
    points = torch.rand(4000, 2, generator=torch.Generator().manual_seed(5)) * torch.tensor([1.0, 0.75])
    before = field.query(points, want=("value",)).value
    for seed in range(3):
        change = 1e-3 * np.random.default_rng(seed).normal(size=len(row))
        _put(field, row + change)
        moved = (field.query(points, want=("value",)).value - before) / TARGET.scale
        told = np.square(curvature.factor @ change[curvature.order]).sum()
        assert told == pytest.approx(moved.square().mean().item(), rel=0.15)


def test_rounding_together_beats_rounding_each_and_is_the_same_without_correlation():
    random = np.random.default_rng(0)
    mixed = random.normal(size=(60, 40)) @ np.diag(0.8 ** np.arange(40)) @ random.normal(size=(40, 40))
    products, values, steps = mixed.T @ mixed, random.normal(size=40), np.full(40, 0.25)
    alone = np.rint(values / steps)
    together = _factored(products).rounded(values, steps)

    def error(numbers):
        change = values - numbers * steps
        return change @ products @ change

    assert error(together) < 0.3 * error(alone)
    assert np.abs(together - alone).max() > 0
    assert np.array_equal(_factored(np.diag(random.random(40) + 1)).rounded(values, steps), alone)


def test_conditional_curvature_multiplies_to_the_determinant():
    mixed = np.random.default_rng(2).normal(size=(30, 12))
    curvature = _factored(mixed.T @ mixed)
    damped = mixed.T @ mixed + 0.01 * np.trace(mixed.T @ mixed) / 12 * np.eye(12)
    assert np.log(curvature.conditional()).sum() == pytest.approx(np.linalg.slogdet(damped)[1])


def test_what_has_too_many_numbers_is_left_to_rounding_each():
    field = build_field("dense", {"vertices": 60, "initial_amplitude": 0.1}, TARGET)
    assert curvature_of(field, [name for name, _ in field.named_parameters()], TARGET, seed=0) is None
