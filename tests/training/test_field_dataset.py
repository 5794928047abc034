import json
import shutil

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy.io import wavfile

from onefield.data.signal_folders import holds_many_signals, signal_files
from onefield.errors import DataError, UsageError
from onefield.tools.main import main
from onefield.training.field_dataset import fit_dataset, load_field_dataset
from onefield.training.fit import fit
from onefield.training.fitted import load_fitted
from onefield.training.metrics import intersection_over_union


def disc(radius, side=10):
    y, x = np.mgrid[0:side, 0:side] + 0.5 - side / 2
    return (255 / (1 + np.exp(4 * (np.hypot(x, y) - radius)))).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name in ("small/a", "small/b", "large/a"):
        path = tmp_path / "discs" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(disc(2.0 + len(name) / 4)).save(path)
    return tmp_path / "discs"


def test_fields_come_back_as_one_matrix(folder, tmp_path):
    dataset = fit_dataset(signal_files(folder), tmp_path / "out", parameters=400, steps=12)
    assert dataset.names == ("large/a.png", "small/a.png", "small/b.png")
    assert dataset.labels == ("large", "small", "small")
    assert dataset.weights.shape == (3, sum(int(np.prod(shape)) for _, shape in dataset.layout))
    assert dataset.weights.shape[1] <= 400
    for row, name in zip(dataset.weights, dataset.names, strict=True):
        stored = load_fitted(tmp_path / "out" / "fields" / f"{name}.safetensors")
        # the same answers, of the row as of the file
        assert torch.equal(dataset.fitted(row).field.state_dict()["network.weights.0"], stored.field.network.weights[0])
    index = json.loads((tmp_path / "out/index.json").read_text())["fields"]
    assert [entry["name"] for entry in index] == list(dataset.names)
    assert index[0]["metrics"]["psnr"] == dataset.metrics[0]["psnr"]


def test_a_stopped_dataset_goes_on_to_the_same_fields(folder, tmp_path):
    signals = signal_files(folder)
    whole = fit_dataset(signals, tmp_path / "whole", parameters=300, steps=6)
    done = []
    stopped = fit_dataset(
        signals, tmp_path / "cut", parameters=300, steps=6, observe=done.append, should_stop=lambda: len(done) >= 3
    )
    assert stopped is None
    assert len(load_field_dataset(tmp_path / "cut")) == 2
    with pytest.raises(UsageError, match=r"is not empty; .* --resume"):
        fit_dataset(signals, tmp_path / "cut", parameters=300, steps=6)
    with pytest.raises(UsageError, match="was begun with steps 6, not 7"):
        fit_dataset(signals, tmp_path / "cut", parameters=300, steps=7, resume=True)
    again = fit_dataset(signals, tmp_path / "cut", parameters=300, steps=6, resume=True)
    assert torch.equal(again.weights, whole.weights)


def test_what_was_given_up_before_its_start_is_in_nobodys_way(folder, tmp_path):
    signals = dict(list(signal_files(folder).items())[:1])
    for wrong in ({"steps": 0}, {"field": "sirn"}, {"parameters": 3}):
        with pytest.raises(UsageError):
            fit_dataset(signals, tmp_path / "out", **{"parameters": 300, "steps": 2} | wrong)
    assert len(fit_dataset(signals, tmp_path / "out", parameters=300, steps=2)) == 1


@pytest.mark.parametrize("name", ["", "/a", "../a", "b/../../a", ".a", 1])
def test_names_that_would_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match="A signal can't be called"):
        fit_dataset({name: disc(2.0)}, tmp_path / "out", steps=1)
    assert list(tmp_path.iterdir()) == []


def test_the_common_start_finds_a_ball_sooner_than_random_numbers_do(tmp_path):
    places = (np.stack(np.mgrid[0:14, 0:14, 0:14], -1) + 0.5) / 7 - 1
    radii = {name: np.linalg.norm(places, axis=-1)[..., None] for name in ("0.6", "0.7")}
    occupancies = {name: (radius < float(name)).astype(np.float32) for name, radius in radii.items()}
    dataset = fit_dataset(occupancies, tmp_path / "out", parameters=1500, steps=40)
    cold = fit(occupancies["0.7"], dataset.start.recipe, steps=40)

    def agreement(fitted, name):
        return intersection_over_union(fitted.reconstruction() > 0.5, torch.tensor(occupancies[name]) > 0.5)

    for row, name in zip(dataset.weights, dataset.names, strict=True):
        assert agreement(dataset.fitted(row), name) >= 0.98
    assert agreement(cold, "0.7") < 0.97


def test_folders_are_told_apart_by_content(folder, tmp_path):
    assert holds_many_signals(folder)
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(3):
        Image.fromarray(disc(2.0)).save(frames / f"{number:03d}.png")
    assert not holds_many_signals(frames)
    Image.fromarray(disc(2.0, side=12)).save(frames / "003.png")
    assert holds_many_signals(frames)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no signals"):
        holds_many_signals(tmp_path / "empty")


def test_signals_must_be_alike_and_datasets_whole(tmp_path):
    grey, colored = disc(2.0), np.stack([disc(2.0)] * 3, -1)
    with pytest.raises(DataError, match="3 channels does not go with a start of kind image and 1"):
        fit_dataset({"a": grey, "b": colored}, tmp_path / "out", parameters=300, steps=2)
    with pytest.raises(DataError, match=r"has no dataset\.json"):
        load_field_dataset(tmp_path)
    (tmp_path / "out/dataset.json").write_text('{"format": "onefield dataset of fields", "version": 2}')
    with pytest.raises(DataError, match="is of version 2"):
        load_field_dataset(tmp_path / "out")


def test_meshes_and_sounds_become_datasets_too(tmp_path, monkeypatch):
    """A ball and a box in their own places and sizes, and two tones of other lengths."""
    monkeypatch.setattr("onefield.training.fit_scores._HELD_OUT", 2**11)
    (tmp_path / "solids").mkdir()
    trimesh.creation.icosphere(1, 3.0).export(tmp_path / "solids/ball.ply")
    box = trimesh.creation.box((1.0, 1.0, 0.5))
    box.apply_translation((5.0, 0.0, 0.0)).export(tmp_path / "solids/box.obj")
    dataset = fit_dataset(signal_files(tmp_path / "solids"), tmp_path / "fits", parameters=1500, steps=80)
    assert dataset.names == ("ball.ply", "box.obj")
    assert all(metrics["iou"] > 0.7 for metrics in dataset.metrics)
    (tmp_path / "tones").mkdir()
    for name, count in (("low", 400), ("high", 600)):
        wave = np.sin(np.arange(count) * (0.2 if name == "low" else 0.5))
        wavfile.write(tmp_path / f"tones/{name}.wav", 8000, (9000 * wave).astype(np.int16))
    dataset = fit_dataset(signal_files(tmp_path / "tones"), tmp_path / "waves", parameters=500, steps=150)
    assert dataset.labels == ("", "")
    stored = {name: load_fitted(tmp_path / f"waves/fields/{name}.wav.safetensors") for name in ("high", "low")}
    assert stored["low"].shape == (400,)
    assert all(fitted.metrics["psnr"] > 25 for fitted in stored.values())


def test_the_command(folder, tmp_path, capsys):
    asked = ["fit", str(folder), "--steps", "2", "--output", str(tmp_path / "out"), "--json"]
    assert main([*asked, "--parameters", "10"]) == 2
    assert "'siren' needs 11 parameters or more for this image, got 10" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "out")
    assert main([*asked, "--parameters", "300"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["fields"], result["parameters"] <= 300) == (3, True)
    assert "3 signals, each of which is fitted by itself" in printed.err
