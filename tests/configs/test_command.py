"""The command that repeats a run makes the same configuration again."""

from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from onefield.configs import command
from onefield.configs.command import train_command
from onefield.configs.presets import PRESETS
from onefield.configs.runs import RunConfig, configure
from onefield.tools import train


class Started(Exception):
    """Carries the configuration that a command would have trained with."""


def repeated(words, monkeypatch) -> RunConfig:
    """What ``onefield train`` makes of the words."""

    def start(config, output):
        raise Started(config)

    monkeypatch.setattr(train, "start_run", start)
    assert words[:2] == ["onefield", "train"]
    with pytest.raises(Started) as caught:
        tyro.cli(train.run_command, args=words[2:])
    return caught.value.args[0]


@pytest.mark.parametrize("method", sorted(PRESETS))
def test_a_preset_needs_no_settings(method, tmp_path, monkeypatch):
    config = configure(tmp_path, method)
    words = train_command(config)
    assert words == ["onefield", "train", str(tmp_path), "--method", method]
    assert repeated(words, monkeypatch) == config


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 77, "seed": 3, "downscale": 4},
        {"seconds": 12.5},
        {"steps": 10, "seconds": 5.0},
        {"changes": ["training.warmup=2e-05", "field.levels=4", "background=white", "prefilter=false"]},
        {"changes": ["losses.distortion=0.01", "losses.huber=0.5"]},
        {"changes": ["sampler.kind=proposal", "sampler.final=48", "field.kind=distance", "field.beta=0.2"]},
    ],
)
def test_what_was_changed_is_said(changes, tmp_path, monkeypatch):
    scene = tmp_path / "my scene & more"
    config = configure(scene, "ngp", **changes)
    assert repeated(train_command(config), monkeypatch) == config


def test_a_loss_that_is_left_out_gets_no_weight(monkeypatch, tmp_path):
    config = configure(tmp_path, "sdf")
    config = replace(config, method=replace(config.method, losses={"huber": 1.0}))
    assert repeated(train_command(config), monkeypatch).method.losses == {"huber": 1.0, "eikonal": 0.0}


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (True, "true"), (1e-05, "1e-05"), ("a b: c", "'a b: c'"), ("auto", "auto")]
)
def test_values_are_written_as_yaml_reads_them(value, text):
    assert command._text(value) == text


def test_paths_stay_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(train_command(configure("scene", "ngp"))[2]) == tmp_path / "scene"
