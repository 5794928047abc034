"""From a folder of pictures to a dataset of fields, to new fields, and to what fields are."""

from __future__ import annotations

import json

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from onefield.tools.main import main
from onefield.tools.signals import StopSignals
from onefield.training.field_dataset import load_field_dataset
from onefield.training.fitted import load_fitted


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Dark and bright pictures, which the last bias of a network tells apart."""
    place = tmp_path_factory.mktemp("weights")
    for index in range(10):
        label, level = ("dark", 60) if index % 2 else ("bright", 190)
        (place / f"pictures/{label}").mkdir(parents=True, exist_ok=True)
        picture = level + np.random.default_rng(index).integers(-30, 30, (6, 8), dtype=np.int64)
        imageio.imwrite(place / f"pictures/{label}/{index}.png", picture.astype(np.uint8))
    asked = ["--parameters", "60", "--steps", "40", "--output", str(place / "fields")]
    assert main(["fit", str(place / "pictures"), *asked]) == 0
    return place / "fields"


def test_new_fields_are_drawn_as_fits(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ["learn", str(dataset), "--by", "diffusion", "--steps", "30", "--json"]
    counted = []
    with monkeypatch.context() as stopping:
        stopping.setattr(StopSignals, "stop_asked", lambda self: bool(counted.append(0)) or len(counted) > 11)
        assert main(asked) == 130
    capsys.readouterr()
    assert main(asked) == 2
    assert "go on with it by --resume" in capsys.readouterr().err
    assert main([*asked, "--resume"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["fields"], result["file"]) == (10, "learned/fields-diffusion.safetensors")
    assert 0 <= result["generated"]["coverage"] <= 1
    assert imageio.imread("learned/fields-diffusion.png").shape == (18, 64)
    assert sorted(path.name for path in (tmp_path / "learned").iterdir()) == [
        "fields-diffusion.png",
        "fields-diffusion.safetensors",
    ]
    assert main(["learn", str(dataset), "--by", "diffusion", "--steps", "30", "--output", "whole.safetensors"]) == 0
    for name, model in (("a", "learned/fields-diffusion.safetensors"), ("b", "whole.safetensors")):
        assert main(["generate", model, "--count", "3", "--output", name]) == 0
    field = load_fitted("a/1/field.safetensors")
    # the numbers of a run that was never stopped, and what is drawn is what is written
    assert torch.equal(field.reconstruction(), load_fitted("b/1/field.safetensors").reconstruction())
    assert field.shape == load_field_dataset(dataset).start.shape == (6, 8)
    assert imageio.imread("a/generated.png").shape == (6, 24)
    assert imageio.imread("a/2/reconstruction.png").shape == (6, 8)
    capsys.readouterr()
    assert main(["generate", "whole.safetensors", "--output", "a"]) == 2
    assert "a is not empty" in capsys.readouterr().err


def test_labels_and_quality_are_told_of_fits(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["learn", str(dataset), "--by", "graph", "--steps", "120", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["held_out"], result["chance"], result["measure"]) == (2, 0.5, "psnr")
    model = "learned/fields-graph.safetensors"
    assert main(["predict", model, str(dataset), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["fits"]
    assert len(told) == 10
    right = [each["probabilities"]["dark" if "/dark/" in each["fit"] else "bright"] > 0.5 for each in told]
    assert sum(right) >= 8
    fits = load_field_dataset(dataset)
    psnr = [each["psnr"] for each in told]
    assert np.std(psnr) > 0
    assert abs(np.mean(psnr) - np.mean([metrics["psnr"] for metrics in fits.metrics])) < 2
    fits.fitted(fits.weights[0]).save("one.safetensors")
    assert main(["inspect", str(dataset)]) == 0
    assert "dataset of 10 fields of 'siren'" in (said := capsys.readouterr().out)
    assert "labels: bright (5), dark (5)" in said
    assert main(["inspect", model]) == 0
    assert f"next: onefield predict {model} FIT" in capsys.readouterr().out
    assert main(["predict", model, "one.safetensors"]) == 0
    assert capsys.readouterr().out.startswith("one.safetensors  bright ")
    assert main(["generate", model]) == 3
    assert (
        "holds no generator of fields of version 1; learn one by 'onefield learn DATASET --by diffusion'"
        in capsys.readouterr().err
    )


def test_what_is_no_dataset_or_too_small_is_refused(dataset, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["learn", str(tmp_path / "empty"), "--by", "graph"]) == 3
    assert "is no dataset of fields; make one by 'onefield fit" in capsys.readouterr().err
    assert main(["learn", str(dataset)]) == 2
    assert "is a dataset of fields; learn from it --by diffusion" in capsys.readouterr().err
    imageio.imwrite(tmp_path / "one.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "few/a").mkdir(parents=True)
    for name in ("few/a/x.png", "few/a/y.png"):
        imageio.imwrite(tmp_path / name, np.arange(16, dtype=np.uint8).reshape(4, 4))
    asked = ["--parameters", "30", "--steps", "1", "--output", str(tmp_path / "fields")]
    assert main(["fit", str(tmp_path / "few"), *asked]) == 0
    assert (
        main(["learn", str(tmp_path / "fields"), "--by", "diffusion", "--output", str(tmp_path / "a.safetensors")]) == 2
    )
    assert "8 fields or more, a quarter of them to be tested with, got 2" in capsys.readouterr().err
    other = load_fitted(dataset / "start.safetensors")
    other.save(tmp_path / "fields/fields/a/z.png.safetensors")
    assert main(["learn", str(tmp_path / "fields"), "--by", "graph"]) == 3
    assert "is a field of another kind than" in capsys.readouterr().err
