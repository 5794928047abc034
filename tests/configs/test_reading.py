"""Configurations to plain trees and strictly back."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from onefield.configs.presets import PRESETS, preset
from onefield.configs.reading import changed, from_plain, to_plain
from onefield.configs.samplers import Proposal
from onefield.errors import UsageError


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_round_trip_through_yaml(name: str) -> None:
    config = PRESETS[name]
    text = yaml.safe_dump(to_plain(config))
    assert from_plain(type(config), yaml.safe_load(text)) == config


def test_assignments_change_only_what_they_name() -> None:
    config = changed(preset("ngp"), ["field.levels=12", "training.encoding_rate=1e-3", "losses.distortion=0.01"])
    assert config.field.levels == 12
    assert config.training.encoding_rate == 1e-3
    assert config.losses == {"huber": 1.0, "distortion": 0.01}
    field = dataclasses.replace(config.field, levels=preset("ngp").field.levels)
    assert field == preset("ngp").field


def test_another_kind_brings_its_own_defaults() -> None:
    config = changed(preset("ngp"), ["sampler.kind=proposal", "sampler.final=32", "losses.interlevel=1"])
    assert config.sampler == Proposal(final=32)
    assert config.field == preset("ngp").field
    kept = changed(preset("ngp"), ["sampler.resolution=128", "sampler.kind=occupancy"])
    assert kept.sampler.resolution == 128


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("field.level=3", "did you mean 'field.levels'"),
        ("training.steps=many", "'training.steps' must be of type int, got 'many'"),
        ("field.levels", "no assignment"),
        ("field.kind=hsh", "did you mean 'hash'"),
        ("training.seconds=true", "must be of type float"),
        ("nothing.at.all=1", "Unknown key"),
    ],
)
def test_wrong_assignments_end_in_one_sentence(assignment: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(preset("ngp"), [assignment])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'ngp'"):
        preset("npg")
