"""Fits whose answers are refined step by step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.training.fit import fit
from onefield.training.fit_methods import IterativeRefinement
from onefield.training.fit_methods.iterative_refinement import estimate_from_blend
from onefield.training.fitted import load_fitted
from onefield.training.metrics import psnr
from onefield.training.recipes import recipe_for


def disc():
    down, across = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 24), indexing="ij")
    return signal_of((down**2 + across**2 < 0.4).astype(np.float32)[..., None], "image")


def test_refined_answers_are_nearer_than_the_first_and_are_saved(tmp_path):
    picture = disc()
    recipe = recipe_for("siren", picture)
    recipe = replace(recipe, options=recipe.options | {"width": 16, "first_w0": 6.0}, network_rate=5e-3)
    fitted = fit(picture, recipe, methods=[IterativeRefinement(5)], steps=150)
    everywhere = torch.arange(24 * 24)
    with torch.no_grad():
        first = fitted.field.head(fitted.field.states(picture.points(everywhere), 1)[-1])
    assert fitted.metrics["psnr"] > psnr(first, picture.at(everywhere), 1.0) + 0.2
    fitted.save(tmp_path / "disc.safetensors")
    again = load_fitted(tmp_path / "disc.safetensors")
    assert again.field.steps == 5
    assert torch.equal(again.reconstruction(), fitted.reconstruction())


def test_training_shows_the_blend_of_truth_and_noise():
    class Echo:
        head = type("Units", (), {"offset": 2.0, "scale": 0.5, "__call__": lambda self, x: 2.0 + 0.5 * x})()

        def estimate(self, points, current, times):
            self.times = times
            return current

    field, truth = Echo(), torch.full((20_000, 1), 3.0)
    shown = (estimate_from_blend(field, truth, truth, torch.Generator().manual_seed(0)) - 2) / 0.5
    # 3 lies 2 half ranges above the middle: mean 2 (1 - t), deviation t
    noise = (shown[:, 0] - 2 * (1 - field.times)) / field.times
    assert float(noise.mean()) == pytest.approx(0, abs=0.03)
    assert float(noise.std()) == pytest.approx(1, abs=0.03)
    assert float(field.times.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(field.times.min()) > 0


def test_what_does_not_suit_is_said():
    with pytest.raises(UsageError, match="'iterative' chooses how a field is built"):
        fit(disc(), fit(disc(), "siren", steps=1).field, methods=["iterative"], steps=1)
    with pytest.raises(UsageError, match="'iterative' would leave the posterior of 'bayesian-tucker' open"):
        fit(disc(), "bayesian-tucker", methods=["iterative"], steps=1)
    with pytest.raises(UsageError, match="1 step or more, got 0"):
        IterativeRefinement(0)
