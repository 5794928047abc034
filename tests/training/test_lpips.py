import json
import math
import pickle

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.torch import save_file

from onefield.errors import DataError, UsageError
from onefield.tools.main import main
from onefield.training.evaluation import Evaluation, ViewScore
from onefield.training.lpips import LpipsWeights, lpips, read_lpips_weights

# As the papers' tables list them: outputs, kernel, stride, padding of a convolution; "pool k"; "compare".
ALEXNET = [(64, 11, 4, 2), "compare", "pool 3", (192, 5, 1, 2), "compare", "pool 3", (384, 3, 1, 1), "compare"]
ALEXNET += [(256, 3, 1, 1), "compare", (256, 3, 1, 1), "compare"]
VGG16 = []
for outputs, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
    VGG16 += ["pool 2"] * bool(VGG16) + [(outputs, 3, 1, 1)] * repeats + ["compare"]
NETWORKS = {"alexnet": ALEXNET, "vgg16": VGG16}


def random_tensors(network):
    """Weights under the names of torchvision's layers, where a ReLU and a pooling count as a layer each."""
    generator = torch.Generator().manual_seed(0)
    tensors, place, inputs, compared = {}, 0, 3, 0
    for layer in NETWORKS[network]:
        if layer == "compare":
            tensors[f"lin{compared}.model.1.weight"] = torch.rand(1, inputs, 1, 1, generator=generator)
            compared += 1
        elif isinstance(layer, str):
            place += 1
        else:
            outputs, kernel, _, _ = layer
            shape = (outputs, inputs, kernel, kernel)
            scale = math.sqrt(2 / math.prod(shape[1:]))
            tensors[f"features.{place}.weight"] = torch.randn(shape, generator=generator) * scale
            tensors[f"features.{place}.bias"] = torch.randn(outputs, generator=generator) * 0.1
            place, inputs = place + 2, outputs
    return tensors


def windows(features, kernel, stride):
    return sliding_window_view(features, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]


def features_to_compare(picture, network, tensors):
    """Float64, a matrix product a convolution, channels first."""
    weights = [tensor for name, tensor in tensors.items() if name.startswith("features.")]
    mean, deviation = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    values = ((picture.double().numpy() * 2 - 1 - mean) / deviation).transpose(2, 0, 1)
    compared = []
    for layer in NETWORKS[network]:
        if layer == "compare":
            compared.append(values)
        elif isinstance(layer, str):
            values = windows(values, int(layer[-1]), 2).max((-2, -1))
        else:
            _, kernel, stride, padding = layer
            weight, bias = (weights.pop(0).double().numpy() for _ in range(2))
            padded = np.pad(values, ((0, 0), (padding, padding), (padding, padding)))
            columns = windows(padded, kernel, stride).transpose(1, 2, 0, 3, 4)
            rows = columns.reshape(*columns.shape[:2], -1) @ weight.reshape(len(weight), -1).T + bias
            values = np.maximum(rows, 0).transpose(2, 0, 1)
    return compared


def reference(one, other, network, tensors):
    """Zhang et al. 2018, equation 1, a pixel at a time."""
    total = 0.0
    pairs = zip(*(features_to_compare(picture, network, tensors) for picture in (one, other)), strict=True)
    for index, (x, y) in enumerate(pairs):
        linear = tensors[f"lin{index}.model.1.weight"].double().numpy().ravel()
        x, y = x.reshape(len(x), -1).T, y.reshape(len(y), -1).T
        pixels = [linear @ (a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2 for a, b in zip(x, y, strict=True)]
        total += sum(pixels) / len(pixels)
    return total


def pictures(height, width):
    generator = torch.Generator().manual_seed(1)
    truth = torch.rand(height, width, 3, generator=generator)
    return (truth + 0.2 * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_the_papers_distance(network, tmp_path):
    tensors = random_tensors(network)
    save_file(tensors | {"classifier.1.bias": torch.zeros(4)}, tmp_path / "weights.safetensors")
    weights = read_lpips_weights(tmp_path / "weights.safetensors")
    assert weights.network == network
    one, other = pictures(35, 42)
    expected = reference(one, other, network, tensors)
    assert expected > 0.01
    assert lpips(one, other, weights) == pytest.approx(expected, rel=1e-5)
    assert lpips(other, one, weights) == pytest.approx(expected, rel=1e-5)
    assert lpips(one, one, weights) == 0.0


@pytest.mark.parametrize(("network", "least"), [("alexnet", 31), ("vgg16", 16)])
def test_pictures_are_large_enough_or_refused(network, least):
    weights = LpipsWeights(network, random_tensors(network))
    assert math.isfinite(lpips(*pictures(least, least), weights))
    with pytest.raises(UsageError, match=f"at least {least} pixels"):
        lpips(*pictures(least - 1, 50), weights)
    with pytest.raises(UsageError, match="equal shapes"):
        lpips(pictures(40, 40)[0], pictures(40, 41)[0], weights)
    with pytest.raises(UsageError, match=r"\(h, w, 3\)"):
        lpips(torch.zeros(40, 40, 1), torch.zeros(40, 40, 1), weights)


def renamed(tensors, old, new):
    return {new if name == old else name: tensor for name, tensor in tensors.items()}


def test_files_that_do_not_fit_are_refused_in_one_sentence(tmp_path):
    good = random_tensors("alexnet")
    cases = {
        r"lacks 'features\.0\.weight'": renamed(good, "features.0.weight", "net.slice1.0.weight"),
        r"lacks 'features\.8\.bias', which LPIPS on alexnet": renamed(good, "features.8.bias", "features.9.bias"),
        r"lacks 'lin3\.model\.1\.weight'": renamed(good, "lin3.model.1.weight", "lin3.weight"),
        r"'lin4.*shape \(1, 512, 1, 1\), but alexnet needs \(1, 256": good
        | {"lin4.model.1.weight": torch.ones(1, 512, 1, 1)},
        r"shape \(96, 3, 7, 7\), but AlexNet's": good | {"features.0.weight": torch.ones(96, 3, 7, 7)},
        r"'lin0.*not finite": good | {"lin0.model.1.weight": torch.full((1, 64, 1, 1), math.nan)},
    }
    for sentence, tensors in cases.items():
        save_file(tensors, tmp_path / "a.safetensors")
        with pytest.raises(DataError, match=rf"a\.safetensors.*{sentence}"):
            read_lpips_weights(tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        (tmp_path / "cut.safetensors").write_bytes(content)
        with pytest.raises(DataError, match="no whole safetensors file"):
            read_lpips_weights(tmp_path / "cut.safetensors")
    with pytest.raises(DataError, match="does not exist"):
        read_lpips_weights(tmp_path / "none.safetensors")


class Trap:
    """What runs when it is unpickled is seen."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_pickles_are_never_read(tmp_path, capsys):
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Trap()))
    torch.save({"features.0.weight": Trap()}, tmp_path / "archive.pth")
    for name in ("plain.pth", "archive.pth"):
        with pytest.raises(DataError, match=r"is a pickle.*convert it to safetensors"):
            read_lpips_weights(tmp_path / name)
    assert "unpickled" not in capsys.readouterr().out


def test_results_name_it_only_where_it_was_asked_for():
    plain = Evaluation("held-out", "white", (ViewScore("a", 20.0, 0.5, None), ViewScore("b", 30.0, 0.7, None)))
    assert "lpips" not in json.dumps(plain.as_json())
    views = (ViewScore("a", 20.0, 0.5, None, 0.2), ViewScore("b", 30.0, 0.7, None, 0.4))
    asked = Evaluation("held-out", "white", views, "vgg16")
    assert asked.summary()["lpips"] == pytest.approx(0.3)
    assert asked.as_json()["lpips_network"] == "vgg16"
    assert [view["lpips"] for view in asked.as_json()["per_view"]] == [0.2, 0.4]


def test_the_command_reads_the_weights_before_all_else(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path), "--lpips", str(tmp_path / "none.safetensors")]) == DataError.exit_code
    assert "none.safetensors does not exist" in capsys.readouterr().err
