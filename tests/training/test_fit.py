import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from safetensors import safe_open

from onefield.data.signals import Shape, signal_of
from onefield.errors import DataError, DivergedError, ResourceError, UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads import ValueHead
from onefield.fields.networks import Siren
from onefield.training.fit import fit
from onefield.training.fit_files import write_fit
from onefield.training.fitted import load_fitted
from onefield.training.recipes import FIELD_NAMES, recipe_for
from onefield.types import Bounds, Mesh


def picture() -> np.ndarray:
    """20 x 32 pixels, 3 channels, without any symmetry."""
    y, x = np.mgrid[0:20, 0:32].astype(np.float32)
    red = 0.5 + 0.4 * np.sin(x / 5) * np.cos(y / 3)
    return np.stack([red, x / 40 + y / 100, (y > 12) * 0.7], -1)


@pytest.mark.parametrize("name", ["dense", "fourier", "siren", "hash", "auto", "wire", "functional-tt", "tri-plane"])
def test_a_small_image_is_fitted_the_right_way_round(name):
    fitted = fit(signal_of(picture(), "image"), name, steps=60 if name in ("dense", "siren", "wire") else 150)
    assert fitted.metrics["psnr"] > 22
    answer = fitted.reconstruction()
    assert answer.shape == (20, 32, 3)
    # the pixel of row 3, column 28
    alone = fitted(torch.tensor([28.5 / 32, 3.5 / 32]))
    torch.testing.assert_close(alone, answer[3, 28], atol=1e-4, rtol=1e-3)
    assert (answer - torch.tensor(picture())).abs().mean() < 0.05


def test_sound_and_volume():
    t = np.arange(2000) / 2000
    sound = fit(signal_of(0.5 * np.sin(2 * np.pi * 20 * t).astype(np.float32)), steps=120)
    assert sound.kind == "audio"
    assert sound.metrics["psnr"] > 35
    z, y, x = np.mgrid[0:6, 0:8, 0:10]
    volume = fit(signal_of((x + 2.0 * y - z * z).astype(np.float32), "volume"), steps=150)
    assert volume.metrics["psnr"] > 26
    assert volume.reconstruction().shape == (6, 8, 10, 1)


def test_a_box_as_signed_distance_in_its_own_frame():
    box = trimesh.creation.box((4.0, 3.0, 2.0))
    box.apply_translation((10.0, 0.0, -5.0))
    mesh = Mesh(torch.tensor(box.vertices, dtype=torch.float32), torch.tensor(box.faces))
    fitted = fit(mesh, steps=40)
    assert fitted.metrics["iou"] > 0.75
    assert fitted(torch.tensor([10.0, 0.0, -5.0])).item() == pytest.approx(-1.0, abs=0.5)


def test_a_box_as_occupancy_and_its_mesh(tmp_path, monkeypatch):
    monkeypatch.setattr("onefield.training.fit_scores._HELD_OUT", 2**12)
    box = trimesh.creation.box((4.0, 3.0, 2.0))
    shape = Shape.of(Mesh(torch.tensor(box.vertices, dtype=torch.float32), torch.tensor(box.faces)), "occupancy")
    recipe = replace(recipe_for("siren", shape, parameters=2000), batch=2048)
    fitted = fit(shape, recipe, steps=200)
    places = torch.rand(2000, 3, generator=torch.Generator().manual_seed(3)) * 4.8 - 2.4
    inside = (places.abs() < torch.tensor([2.0, 1.5, 1.0])).all(1)
    answer = fitted(places)
    assert float(answer[inside].mean()) > 0.9
    assert float(answer[~inside].mean()) < 0.1
    assert fitted.metrics["iou"] > 0.9
    fitted.save(tmp_path / "box.safetensors")
    mesh = load_fitted(tmp_path / "box.safetensors").reconstruction(32)
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).volume == pytest.approx(24.0, rel=0.1)
    with pytest.raises(UsageError, match="'flexicubes' represents a surface, not occupancy"):
        fit(shape, "flexicubes")
    with pytest.raises(UsageError, match="no 'occupanci' to fit: did you mean 'occupancy'"):
        Shape.of(shape.mesh, "occupanci")


def test_same_seed_same_field_other_seed_another():
    signal = signal_of(picture(), "image")
    first, again, other = (fit(signal, "hash", steps=20, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.reconstruction(), again.reconstruction())
    assert not torch.equal(first.reconstruction(), other.reconstruction())


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_a_saved_fit_opens_to_the_same_answers(name, tmp_path):
    signal = signal_of(picture(), "volume" if name == "vm" else "image")
    fitted = fit(signal, name, steps=5)
    fitted.save(tmp_path / "a.safetensors")
    opened = load_fitted(tmp_path / "a.safetensors")
    points = torch.rand(50, len(signal.shape))
    assert torch.equal(opened(points), fitted(points))
    assert (opened.kind, opened.shape, opened.metrics) == (fitted.kind, fitted.shape, fitted.metrics)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["onefield_fit"])["recipe"]["field"] == name


def test_files_that_are_no_fit_are_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_fitted(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"bad\.safetensors"):
        load_fitted(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("array", [np.full((5, 7), 0.3), np.array([[0.8]])])
def test_constant_and_one_pixel_signals_have_a_defined_result(array):
    fitted = fit(signal_of(array, "image"), steps=60)
    assert math.isfinite(fitted.metrics["psnr"]) or fitted.metrics["psnr"] == math.inf
    torch.testing.assert_close(fitted.reconstruction()[..., 0], torch.tensor(array).float(), atol=0.02, rtol=0)


def test_unknown_samples_are_filled_in_and_counted():
    array = picture()[..., :1]
    array[5:7, 5:9] = np.nan
    fitted = fit(signal_of(array, "image"), steps=80)
    assert fitted.metrics["unknown_samples"] == 8
    assert torch.isfinite(fitted.reconstruction()).all()
    assert "ssim" not in fitted.metrics


def own_field(w0: float = 30.0) -> ComposedField:
    domain = Bounds((0.0, 0.0), (1.0, 20 / 32))
    torch.manual_seed(0)
    return ComposedField(domain, IdentityEncoding(2), Siren(2, 3, 32, 1, w0=w0), [ValueHead(0.5, 0.5)])


def test_a_field_of_ones_own_is_trained_in_place():
    field = own_field()
    fitted = fit(signal_of(picture(), "image"), field, steps=100)
    assert fitted.field is field
    assert fitted.metrics["psnr"] > 17
    with pytest.raises(UsageError, match="can't be saved"):
        fitted.save("never.safetensors")
    with pytest.raises(UsageError, match="needs a field of 'value' on 1"):
        fit(signal_of(np.zeros(9)), field)


def test_a_field_without_finite_values_ends_in_a_sentence():
    field = own_field()
    torch.nn.init.constant_(field.network.weights[0], math.nan)
    with pytest.raises(DivergedError, match="lost all finite values"):
        fit(signal_of(picture(), "image"), field, steps=50)


def test_budgets_and_talk():
    lines = []
    fitted = fit(signal_of(picture(), "image"), "siren", seconds=0.3, observe=lines.append)
    assert fitted.metrics["steps"] >= 1
    assert lines
    assert "loss" in lines[-1]
    for wrong in ({"steps": 0}, {"seconds": -1.0}):
        with pytest.raises(UsageError, match="positive number"):
            fit(signal_of(picture(), "image"), **wrong)
    with pytest.raises(UsageError, match="did you mean 'siren'"):
        fit(signal_of(picture(), "image"), "sirens")


def test_what_is_larger_than_memory_is_said_before_it_is_asked_for():
    fitted = replace(fit(np.zeros((3, 4)), "siren", steps=1), shape=(10**6, 10**6))
    with pytest.raises(ResourceError, match=r"whole image of 1000000 x 1000000 samples needs about .* part by part"):
        fitted.reconstruction()


def test_files_for_people(tmp_path):
    signal = signal_of((picture() * 255).astype(np.uint8), "image")
    written = write_fit(fit(signal, "dense", steps=100), tmp_path / "fit", signal)
    assert [path.name for path in written] == ["field.safetensors", "reconstruction.png", "difference.png"]
    import imageio.v3 as imageio

    again = imageio.imread(tmp_path / "fit/reconstruction.png")
    assert np.abs(again.astype(int) - signal.values.numpy() * 255).mean() < 5
    deep = replace(signal, values=(signal.values * 65535 + 100).round().clamp(max=65535) / 65535)
    fitted = fit(deep, "dense", steps=2)
    written = write_fit(fitted, tmp_path / "deep", deep)
    assert [path.name for path in written][1:] == ["reconstruction.npy", "reconstruction.png", "difference.png"]
    np.testing.assert_array_equal(np.load(written[1]), fitted.reconstruction().numpy())
    sound = signal_of(np.sin(np.arange(300) / 10).astype(np.float32) * 0.5)
    assert write_fit(fit(sound, "siren", steps=3), tmp_path / "sound")[-1].name == "reconstruction.wav"
    clip = signal_of(np.zeros((2, 4, 5, 3), np.uint8), "video")
    assert len(write_fit(fit(clip, "siren", steps=2), tmp_path / "clip")) == 3
    block = signal_of(np.zeros((4, 5, 6)), "volume")
    assert write_fit(fit(block, "siren", steps=2), tmp_path / "block")[-1].name == "reconstruction.npy"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": "3"}, "positive number of steps, got '3'"),
        ({"seconds": [1]}, "positive number of seconds"),
        ({"seed": "3"}, "seed is a whole number"),
        ({"seed": -1}, "seed is a whole number"),
        ({"seed": 2**70}, "seed is a whole number"),
        ({"parameters": "3000"}, "number of parameters, got '3000'"),
        ({"parameters": math.nan}, "parameters or more"),
        ({"methods": [3]}, "names or objects"),
        ({"task": 3}, "task is a name"),
        ({"field": None}, "field is a name"),
        ({"field": torch.nn.Linear(2, 3)}, "field is a name"),
    ],
)
def test_arguments_of_other_types_are_named(given, words):
    with pytest.raises(UsageError, match=words):
        fit(torch.rand(4, 4, 3), **{"field": "siren", "steps": 1} | given)


def test_what_is_no_points_is_named():
    fitted = fit(torch.rand(4, 4, 3), "siren", steps=1)
    for points in (None, "here", [[1.0, 2.0], [3.0]]):
        with pytest.raises(UsageError, match="Points are a tensor, an array or rows"):
            fitted(points)
