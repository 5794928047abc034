import json
import math

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from scipy.io import wavfile

from onefield.data.signals import signal_of
from onefield.errors import DataError, UsageError
from onefield.export import onef
from onefield.tools.main import main
from onefield.training.compression import _sensitivities, compress, decompress, difference
from onefield.training.fit import fit
from onefield.training.fitted import Fitted, rebuilt
from onefield.training.metrics import psnr
from onefield.training.recipes import Recipe, Target, build_field, recipe_for
from onefield.types import Bounds

OPTIONS = {"width": 24, "hidden_layers": 2, "w0": 30.0, "first_w0": 30.0, "output_gain": 1.0}


def picture():
    y, x = np.mgrid[0:20, 0:28].astype(np.float32)
    return signal_of(
        np.stack([0.5 + 0.4 * np.sin(x / 4) * np.cos(y / 3), x / 40 + y / 60, (y > 12) * 0.7], -1), "image"
    )


def untrained(name="siren", options=OPTIONS):
    target = Target("value", Bounds((0.0, 0.0), (1.0, 0.75)), 3, 0.5, 0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        field = build_field(name, options, target)
    return Fitted(field, target, "image", (30, 40), {}, Recipe(name, options, 1e-3, 1e-3, 0.05, 64, 10))


@pytest.fixture(scope="module")
def fitted():
    return fit(picture(), "dense", steps=60)


def test_rates_and_quality(fitted):
    truth, scores = picture().values, []
    for bits in (3.0, 6.0, 9.0):
        decoded = decompress(compress(fitted, bits=bits), "a.onef")
        assert decoded.bits == pytest.approx(bits, rel=0.05)
        scores.append(psnr(decoded.fitted.reconstruction(), truth, 1.0))
    assert scores == sorted(scores)
    assert scores[-1] > fitted.metrics["psnr"] - 0.4
    again = decompress(compress(decoded.fitted, bits=14.0), "a.onef").fitted
    assert difference(again, decoded.fitted) < 3e-4


def test_each_prefix_decodes_and_planes_gain_six_decibels_each():
    fitted = untrained()
    content = compress(fitted, bits=12.0)
    total = decompress(content, "a.onef").total_planes
    errors = [difference(fitted, decompress(content, "a.onef", planes=k).fitted) for k in range(total + 1)]
    gains = [20 * math.log10(a / b) for a, b in zip(errors[-8:], errors[-7:], strict=False)]
    assert 5.0 < np.mean(gains[:-1]) < 7.0
    # in the last, rounding errors make up for each other
    assert gains[-1] > 8.0
    held = onef.decode(content, "a.onef")
    # the first planes share a part
    for part in (0, 1, len(held.ends) - 2):
        k = sum(held.facts["planes"][:part])
        cut = decompress(content[: held.ends[part] + 3], "a.onef", partial=True)
        assert (cut.planes, cut.total_planes) == (k, total)
        assert difference(fitted, cut.fitted) == errors[k]


def test_sensitivities_are_mean_squares_of_derivatives():
    """Of a grid's values that is the mean square of the weights of interpolation, over places and vertices."""
    fitted = untrained("dense", {"vertices": 3, "initial_amplitude": 1e-4})
    generator = torch.Generator().manual_seed(0)
    points = fitted.target.domain.from_unit(torch.rand(2**12, 2, generator=generator))
    (parameter,) = fitted.field.parameters()
    exact = 0.0
    for part in points[:256].split(64):
        for value in fitted.field.query(part, want=("value",)).value[:, 0] / fitted.target.scale:
            (slope,) = torch.autograd.grad(value, parameter, retain_graph=True)
            exact += slope.double().square().mean().item() / 256
    # a value is a channel: a third of the numbers move it
    assert _sensitivities(fitted, 0)[0] == pytest.approx(exact, rel=0.15)


def test_numbers_that_were_not_learned_are_kept_exactly():
    fitted = untrained("fourier", {"features": 16, "frequency": 3.0, "seed": 4, "width": 16, "hidden_layers": 1})
    back = decompress(compress(fitted, bits=4.0), "a.onef").fitted
    learned = {name for name, _ in fitted.field.named_parameters()}
    kept = {name: tensor for name, tensor in fitted.field.state_dict().items() if name not in learned}
    for name, tensor in kept.items():
        assert torch.equal(back.field.state_dict()[name], tensor)


def test_of_a_generated_network_the_vector_alone_is_coded():
    options = {
        "latent": 1200,
        "seed": 5,
        "width": 24,
        "hidden_layers": 2,
        "w0": 30.0,
        "output_gain": 1.0,
        "stretch": 1.0,
    }
    fitted = untrained("projected", options)
    content = compress(fitted, bits=8.0)
    # the network behind has 1,347 numbers, each of which would take as many bits
    assert len(content) == pytest.approx(1200, rel=0.05)
    again = decompress(content, "a.onef").fitted
    assert [tuple(p.shape) for p in again.field.parameters()] == [(1200,)]
    assert difference(fitted, again) < 0.02


def test_learning_on_makes_up_for_rounding():
    """A SIREN of few bits, whose rounding costs decibels; the file stays as long."""
    signal = picture()
    found = fit(signal, recipe_for("siren", signal, parameters=400), steps=150, seed=1)
    plain, tuned = (compress(found, bits=7.5, signal=each, tuning=30) for each in (None, signal))
    scores = [psnr(decompress(c, "a.onef").fitted.reconstruction(), signal.values, 1.0) for c in (plain, tuned)]
    assert found.metrics["psnr"] > scores[0]
    assert scores[1] > scores[0] + 0.3
    assert len(tuned) == pytest.approx(len(plain), rel=0.05)
    # the fit itself is left as it was
    assert compress(found, bits=7.5) == plain
    with pytest.raises(UsageError, match="is not of this signal"):
        compress(found, bits=7.5, signal=signal_of(np.zeros((4, 5)), "image"))


def test_what_cannot_be_compressed_or_decoded_is_said():
    fitted = untrained()
    with pytest.raises(UsageError, match="1 to 16 bits, got 20"):
        compress(fitted, bits=20)
    content = compress(fitted, bits=8.0)
    with pytest.raises(UsageError, match="bit planes, got 99"):
        decompress(content, "a.onef", planes=99)
    held = onef.decode(content, "a.onef")
    for facts, sentence in [
        (held.facts | {"version": 9}, "holds no fit of version 1"),
        (held.facts | {"recipe": held.facts["recipe"] | {"field": "sirene"}}, "names the field 'sirene'"),
        (held.facts | {"recipe": held.facts["recipe"] | {"options": OPTIONS | {"width": 25}}}, "does not fit a field"),
        (held.facts | {"planes": [2]}, r"names bit planes \[2\], but holds"),
        (held.facts | {"planes": [25] * len(held.facts["planes"])}, "names bit planes"),
        ({**held.facts, "target": None}, "does not describe a fit"),
    ]:
        with pytest.raises(DataError, match=sentence):
            decompress(onef.encode(facts, held.parts), "a.onef")
    with torch.no_grad():
        next(fitted.field.parameters())[0] = math.nan
    with pytest.raises(DataError, match="not finite"):
        compress(fitted)


def test_the_commands(fitted, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo").mkdir()
    fitted.save("photo/field.safetensors")
    assert main(["compress", "photo", "--bits", "9", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == (tmp_path / "photo/photo.onef").stat().st_size
    assert said["bits_per_sample"] == pytest.approx(8 * said["bytes"] / 560)
    assert main(["inspect", "photo/photo.onef"]) == 0
    assert "image of 28 x 20 samples by a field of 'dense'" in capsys.readouterr().out
    assert main(["decompress", "photo/photo.onef", "--planes", "6"]) == 0
    assert (tmp_path / "decoded/photo/reconstruction.png").exists()
    cut = tmp_path / "cut.onef"
    cut.write_bytes((tmp_path / "photo/photo.onef").read_bytes()[:-9])
    capsys.readouterr()
    assert main(["decompress", "cut.onef"]) == 3
    assert "--partial decodes what is there, coarser" in capsys.readouterr().err
    assert main(["decompress", "cut.onef", "--partial"]) == 0
    assert main(["compress", "photo", "--to", "a.zip"]) == 2
    np.save("photo.npy", picture().values.numpy())
    capsys.readouterr()
    assert main(["compress", "photo", "--bits", "5", "--signal", "photo.npy", "--tuning", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["psnr"] > 10
    assert main(["compress", "photo", "--tuning", "3"]) == 2
    assert main(["compress", "nowhere"]) == 3


def test_quality_by_size_on_a_page(tmp_path, capsys):
    untrained("siren", OPTIONS | {"width": 12, "hidden_layers": 1}).save(tmp_path / "a.safetensors")
    asked = ["compress", str(tmp_path / "a.safetensors"), "--to", str(tmp_path / "a.onef")]
    assert main([*asked, "--bits", "12", "--curve", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    files, prefixes = said["curves"]["files"], said["curves"]["prefixes"]
    for points in (files, prefixes):
        assert [point["size"] for point in points] == sorted(point["size"] for point in points)
    assert prefixes[-1]["size"] == said["bytes"] == (tmp_path / "a.onef").stat().st_size
    # a bit more halves the error
    ends = files[-3], files[-1]
    bits = ends[1]["bits"] - ends[0]["bits"]
    assert (ends[1]["psnr"] - ends[0]["psnr"]) / bits == pytest.approx(6.02, abs=1.2)
    page = (tmp_path / "a-rates.html").read_text()
    assert page.count("<polyline") == 2
    assert f"<td>{prefixes[-1]['psnr']:.2f}</td>" in page


def test_pictures_keep_their_contrast_and_sounds_their_speed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[0:12, 0:16]
    imageio.imwrite("dim.png", (100 + 2 * x + y)[..., None].repeat(3, -1).astype(np.uint8))
    wavfile.write("low.wav", 8000, (9000 * np.sin(np.arange(300) / 7)).astype(np.int16))
    for name, written in (("dim.png", "reconstruction.png"), ("low.wav", "reconstruction.wav")):
        stem = name.split(".")[0]
        assert main(["fit", name, "--field", "siren", "--parameters", "500", "--steps", "3"]) == 0
        assert main(["compress", f"fits/{stem}", "--bits", "14"]) == 0
        assert main(["decompress", f"fits/{stem}/{stem}.onef"]) == 0
        if name == "dim.png":
            fitted, decoded = (imageio.imread(f"{place}/dim/{written}").astype(int) for place in ("fits", "decoded"))
            assert abs(decoded - fitted).max() <= 1
        else:
            assert wavfile.read(f"decoded/low/{written}")[0] == 8000


def test_a_rate_that_no_sound_has_is_refused(fitted):
    facts = fitted.facts() | {"rate": 0.5}
    with pytest.raises(DataError, match=r"a\.onef .*0\.5 samples a second"):
        rebuilt(facts, "a.onef")
