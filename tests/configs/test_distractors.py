"""Training against distractors as configured: two models or an average, stopped and resumed, and strangers that go."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.configs import memory
from onefield.configs.presets import preset
from onefield.configs.reading import changed
from onefield.configs.runs import configure, open_run, run, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.data.image_store import ImageStore, Picture
from onefield.errors import DataError, UsageError
from onefield.export.gaussian_formats import read_gaussians
from onefield.tools import evaluate, export, render
from onefield.training.checkpoints import load_checkpoint
from onefield.training.evaluation import evaluate as scored
from onefield.training.loop import take_step
from onefield.training.state import TrainingState

SETTINGS = ["field.first=60", "field.most=150", "field.events=10", "field.growth=1.2", "appearance=exposure"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    write_demo_scene(path, views=8, size=24)
    return path


def begun(folder, output, kind, *changes):
    return start_run(configure(folder, "splat", steps=24, changes=[*SETTINGS, f"distractors={kind}", *changes]), output)


@pytest.mark.parametrize(
    ("kind", "densification"), [("dual", "mcmc"), ("ema", "mcmc"), ("dual", "original"), ("ema", "original")]
)
def test_a_run_that_stops_goes_on_to_the_same_numbers(folder, tmp_path, kind, densification):
    settings = [f"field.densification={densification}", "field.pull=1e-9"]
    whole, broken = (begun(folder, tmp_path / name, kind, *settings) for name in ("whole", "broken"))
    run(whole)
    steps = iter(range(100))
    run(broken, should_stop=lambda: next(steps) >= 9)
    again = open_run(tmp_path / "broken", trained=False)
    assert run(again, resume=True).step == 24
    saved = [load_checkpoint(tmp_path / name / "checkpoints") for name in ("whole", "broken")]
    for part in ("model", "optimizer"):
        one, other = (getattr(checkpoint, part) for checkpoint in saved)
        assert one.keys() == other.keys()
        assert [name for name in one if not torch.equal(one[name], other[name])] == []
    names = saved[0].optimizer.keys()
    assert ("companion.model.field.means" in names) == (kind == "dual")
    assert ("average.field.means" in names) == (kind == "ema")
    assert len(saved[0].model["field.means"]) > 60


def test_averages_follow_the_set_through_every_change_of_its_number(folder):
    config = changed(preset("splat"), [*SETTINGS, "distractors=ema", "field.densification=original", "field.pull=1e-9"])
    scene = load_scene(folder)
    method = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=12)).build(scene)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, 0))
    counts = set()
    for _ in range(12):
        before = {name: value.clone() for name, value in state.optimizer.state_tensors().items()}
        take_step(state)
        counts.add(len(method.field))
        for name, parameter in method.field.named_parameters():
            average = state.optimizer.average(f"field.{name}")
            assert average.shape == parameter.shape
            old = before[f"average.field.{name}"]
            if len(old) == len(parameter) and name == "means":
                torch.testing.assert_close(average, 0.8 * old + 0.2 * parameter.detach())
    assert len(counts) > 2


def test_the_two_models_differ_in_start_views_and_mask(folder):
    scene = load_scene(folder)
    method = changed(preset("splat"), [*SETTINGS, "distractors=dual"]).build(scene)
    other = method.companion
    assert [type(mask).__name__ for mask in method.distractors.masks] == ["HardMask"]
    assert [type(mask).__name__ for mask in other.distractors.masks] == ["SoftMask"]
    assert not torch.equal(method.field.means, other.field.means)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, 0))
    drawn = [[int(s.batches.next(2**18).rays.camera_indices[0]) for _ in range(8)] for s in (state, state.companion)]
    assert drawn[0] != drawn[1]


def test_the_second_model_goes_by_the_first_ones_clock(folder):
    scene = load_scene(folder)
    method = changed(preset("splat"), [*SETTINGS, "distractors=dual", "training.seconds=10"]).build(scene)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, 0))
    state.elapsed, state.rate_scale = 4.0, 0.5
    take_step(state)
    other = state.companion
    assert (other.step, other.progress, other.rate_scale) == (1, 0.4, 0.5)


def test_a_checkpoint_of_one_model_does_not_fill_two(folder, tmp_path):
    alone = begun(folder, tmp_path / "alone", "none")
    run(alone, should_stop=lambda: True)
    scene = load_scene(folder)
    hard = dataclasses.replace(
        alone.method, companion=changed(preset("splat"), SETTINGS).build(scene), settings=alone.method.settings
    )
    state = TrainingState.begin(hard, hard.batches(scene, scene.train_indices, 0))
    with pytest.raises(DataError, match="holds one model"):
        state.restore(load_checkpoint(tmp_path / "alone" / "checkpoints"))


@pytest.mark.parametrize(
    ("method", "kind", "message"),
    [
        ("splat", "duel", "did you mean 'dual'"),
        ("ngp", "dual", "--method splat"),
        ("raygauss", "ema", "whole pictures"),
    ],
)
def test_what_can_not_be_is_said(folder, method, kind, message):
    with pytest.raises(UsageError, match=message):
        changed(preset(method), [f"distractors={kind}"]).build(load_scene(folder))


def test_the_second_model_and_the_segments_are_counted(folder):
    scene = load_scene(folder)
    alone, dual, ema = (
        memory._training_need(changed(preset("splat"), [f"distractors={kind}"]), scene, 1)
        for kind in ("none", "dual", "ema")
    )
    assert dual.parameters == 2 * alone.parameters
    assert alone.parameters < ema.parameters < dual.parameters
    assert dual.pictures - alone.pictures == len(scene.train_indices) * 24 * 24 * 4


def over_white(scene, folder):
    """The same photos without alpha."""
    pictures = []
    for index, picture in enumerate(scene.images.pictures):
        values = scene.images.pixels(index) / 255
        photo = 255 * (values[..., :3] * values[..., 3:] + 1 - values[..., 3:])
        path = folder / f"{index}.png"
        Image.fromarray(np.rint(photo).astype(np.uint8)).save(path)
        pictures.append(Picture(path, picture.size))
    return dataclasses.replace(scene, images=ImageStore(pictures, 3), alpha=False, background="white")


def with_squares(scene, folder):
    """Coloured squares on two in five of the photos to train on, each in a place of its own, and where they are."""
    generator, pictures, places = np.random.default_rng(0), list(scene.images.pictures), {}
    for index in scene.train_indices[torch.arange(len(scene.train_indices)) % 5 < 2].tolist():
        photo = scene.images.pixels(index).copy()
        side = len(photo) // 3
        top, left = generator.integers(side // 2, len(photo) - side - side // 2, 2)
        places[index] = (slice(top, top + side), slice(left, left + side))
        photo[places[index]] = generator.integers(0, 2, 3) * 255
        path = folder / f"{index}-square.png"
        Image.fromarray(photo).save(path)
        pictures[index] = Picture(path, pictures[index].size)
    return dataclasses.replace(scene, images=ImageStore(pictures, 3)), places


@pytest.fixture(scope="module")
def remaining_of_squares(tmp_path_factory):
    """How much of the squares is there in pictures of a trained method, from 0 (the scene behind) to 1 (the square)."""
    folder = tmp_path_factory.mktemp("squares")
    write_demo_scene(folder, views=12, size=32)
    clean = over_white(load_scene(folder), folder)
    strange, places = with_squares(clean, folder)

    def remaining(kind: str) -> float:
        # rates at which a model has learned the squares by then, if nothing keeps it from that
        rates = ["field.color_rate=0.02", "field.mean_rate=1e-3", "field.scale_rate=0.02", "field.opacity_rate=0.1"]
        changes = ["training.steps=300", "field.first=400", "field.most=1000", f"distractors={kind}"]
        method = changed(preset("splat"), [*changes, *rates]).build(strange)
        state = TrainingState.begin(method, method.batches(strange, strange.train_indices, 0))
        while state.progress < 1:
            take_step(state)
        along = across = 0.0
        for index, place in places.items():
            shown = method.renderer.render_image(method.field, clean.cameras, index).color[place]
            scene, square = (version.images.image(index)[place] for version in (clean, strange))
            along += float(((shown - scene) * (square - scene)).sum())
            across += float((square - scene).square().sum())
        return along / across

    return remaining


def test_coloured_squares_go_away(remaining_of_squares):
    alone, dual, ema = (remaining_of_squares(kind) for kind in ("none", "dual", "ema"))
    assert alone > 0.5
    assert dual < 0.65 * alone
    assert ema < 0.75 * alone


def test_what_was_trained_is_the_first_model_for_every_command(folder, tmp_path, capsys):
    opened = begun(folder, tmp_path / "run", "dual")
    run(opened)
    evaluate.run_command(tmp_path / "run", json=True)
    figures = json.loads(capsys.readouterr().out)
    assert figures["psnr"] == pytest.approx(scored(opened.method, opened.scene).summary()["psnr"], abs=1e-4)
    export.run_command(tmp_path / "run", to=tmp_path / "set.ply")
    assert len(read_gaussians(tmp_path / "set.ply").means) == len(opened.method.field)
    render.run_command(tmp_path / "run", frames=1, output=tmp_path / "frames")
    assert (tmp_path / "frames" / "0000.png").exists()
