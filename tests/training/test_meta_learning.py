"""Learned starts against the closed form of descent on a field that is linear in its parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import DataError, UsageError
from onefield.training.field_function import field_function, weights_of
from onefield.training.fit import fit
from onefield.training.fit_methods.learned_start import load_start
from onefield.training.meta_learning import Lessons, Task, descend, learn_start, loss_of
from onefield.training.recipes import Target, initial_field, recipe_for

RATE, STEPS = 0.4, 3


def signals(count=2, size=5):
    generator = torch.Generator().manual_seed(0)
    return [signal_of(torch.rand(size, size, 1, generator=generator).numpy(), "image") for _ in range(count)]


def linear_problem():
    """A dense grid of values with its matrix from parameters to answers at the samples, and the first weights."""
    images = signals()
    recipe = recipe_for("dense", images[0])
    recipe = replace(recipe, options=recipe.options | {"vertices": 4, "initial_amplitude": 0.5})
    field = initial_field(recipe, Target("value", images[0].domain, 1, 0.0, 1.0), seed=0)
    tasks = [Task(image, field) for image in images]
    ((name, first),) = weights_of(field).items()
    function = field_function(field)
    columns = []
    for index in range(first.numel()):
        unit = torch.zeros(first.numel())
        unit[index] = 1
        columns.append(function({name: unit.reshape(first.shape)}, tasks[0].points)[:, 0])
    return images, recipe, tasks, torch.stack(columns, 1).double(), name, first


def closed_form(matrix, weights, truth):
    """Of gradient descent on the mean square: powers of I - 2 rate / n A^T A about a least-squares solution."""
    weights, truth = weights.flatten().double(), truth[:, 0].double()
    count = len(truth)
    power = torch.linalg.matrix_power(
        torch.eye(len(weights), dtype=torch.float64) - 2 * RATE / count * matrix.T @ matrix, STEPS
    )
    best = torch.linalg.pinv(matrix) @ truth
    return best + power @ (weights - best), power


def test_reptile_goes_a_share_of_the_way_to_where_descent_leads():
    images, recipe, tasks, matrix, name, first = linear_problem()
    lessons = Lessons("reptile", steps=2, inner_steps=STEPS, inner_rate=RATE, outer_rate=0.5)
    learned = learn_start(images, recipe, lessons, seed=0).weights[name].flatten().double()
    expected = first.flatten().double()
    for task, share in zip(tasks, (0.5, 0.25), strict=True):
        reached, _ = closed_form(matrix, expected, task.truth)
        expected = expected + share * (reached - expected)
    torch.testing.assert_close(learned, expected, rtol=1e-4, atol=1e-5)


def test_maml_descends_the_loss_after_the_steps_through_them():
    images, recipe, tasks, matrix, name, first = linear_problem()
    truth = tasks[0].truth
    reached, power = closed_form(matrix, first, truth)
    slope = power.T @ (2 / len(truth) * matrix.T @ (matrix @ reached - truth[:, 0].double()))
    function = field_function(initial_field(recipe, Target("value", images[0].domain, 1, 0.0, 1.0), seed=0))
    leaf = first.clone().requires_grad_()
    batch = (tasks[0].points, truth)
    end = descend(function, {name: leaf}, [batch] * STEPS, RATE, through=True)
    (found,) = torch.autograd.grad(loss_of(function, end, batch), leaf)
    torch.testing.assert_close(found.flatten().double(), slope, rtol=1e-3, atol=1e-5)
    # the first step of Adam goes by the signs
    lessons = Lessons("maml", steps=1, inner_steps=STEPS, inner_rate=RATE, outer_rate=1e-2)
    learned = learn_start(images[:1], recipe, lessons, seed=0).weights[name]
    clear = slope.abs() > 1e-4
    moved = (learned - first).flatten().double()[clear]
    torch.testing.assert_close(moved, -1e-2 * slope.sign()[clear], rtol=1e-2, atol=1e-5)


def waves(phase, size=16):
    down, across = np.meshgrid(np.linspace(0, 3, size), np.linspace(0, 3, size), indexing="ij")
    return signal_of(np.sin(2 * across + down + phase).astype(np.float32), "image")


@pytest.mark.parametrize("rule", ["reptile", "maml"])
def test_a_learned_start_is_ahead_after_few_steps_and_is_kept_in_a_file(rule, tmp_path):
    recipe = recipe_for("siren", waves(0))
    recipe = replace(recipe, options=recipe.options | {"width": 16, "hidden_layers": 1})
    lessons = Lessons(rule, steps=60, inner_steps=4, outer_rate=None if rule == "reptile" else 3e-3)
    start = learn_start([waves(phase) for phase in (0.0, 0.4, 0.8)], recipe, lessons)
    start.save(tmp_path / "start.safetensors")
    again = load_start(tmp_path / "start.safetensors")
    unseen = waves(0.6)
    cold = replace(again, weights=weights_of(initial_field(recipe, Target("value", unseen.domain, 1, 0.0, 1.0), 5)))
    warm, plain = (fit(unseen, "siren", methods=[each], steps=3).metrics["psnr"] for each in (again, cold))
    assert warm > plain + 3
    with pytest.raises(UsageError, match="learned for the field 'siren', not for 'hash'"):
        fit(unseen, "hash", methods=[again], steps=1)
    with pytest.raises(UsageError, match="other axes or channels"):
        fit(np.zeros((5, 6, 3)), "siren", methods=[again], steps=1)


def test_bad_input_is_named(tmp_path):
    with pytest.raises(UsageError, match="same axes and channels"):
        learn_start([])
    with pytest.raises(UsageError, match="did you mean 'maml'"):
        Lessons("mamel")
    with pytest.raises(UsageError, match="positive inner_rate"):
        Lessons(inner_rate=0.0)
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    for name, said in (("none", "does not exist"), ("bad", "can be read")):
        with pytest.raises(DataError, match=said):
            load_start(tmp_path / f"{name}.safetensors")
