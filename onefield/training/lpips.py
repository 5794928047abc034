"""LPIPS: how different two pictures look to a trained network (Zhang et al. 2018, version 0.1).

The weights are the user's: one safetensors file with

- ``features.N.weight`` and ``features.N.bias``, the convolutions of torchvision's AlexNet (N = 0, 3, 6, 8, 10) or VGG16
  (N = 0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), trained on ImageNet;
- ``lin0.model.1.weight`` to ``lin4.model.1.weight``, the authors' linear layers for that network, ``1 x c x 1 x 1``.

Other tensors, such as torchvision's ``classifier``, are left unread. The shape of ``features.0.weight`` says which
network it is. docs/methods.md shows how to make such a file; nothing is downloaded, and pickles (``.pth``) are never
read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.errors import DataError, UsageError

# The authors' scaling_layer: mean and deviation of ImageNet's colours (sRGB in [0, 1]) for pictures in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
# The authors' guard against pixels without any feature.
_SMALLEST_NORM = 1e-10


@dataclass(frozen=True)
class _Convolution:
    """One convolution and the ReLU behind it.

    Attributes:
        place: its index N in torchvision's ``features``.
        pooled: side of the max-pooling window before it, stride 2; None pools nothing.
        compared: its features are compared.
    """

    place: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pooled: int | None = None
    compared: bool = False


# Krizhevsky 2014, and Simonyan and Zisserman 2015 (configuration D), as torchvision numbers them.
_NETWORKS = {
    "alexnet": (
        _Convolution(0, 3, 64, kernel=11, stride=4, padding=2, compared=True),
        _Convolution(3, 64, 192, kernel=5, padding=2, pooled=3, compared=True),
        _Convolution(6, 192, 384, pooled=3, compared=True),
        _Convolution(8, 384, 256, compared=True),
        _Convolution(10, 256, 256, compared=True),
    ),
    "vgg16": (
        _Convolution(0, 3, 64),
        _Convolution(2, 64, 64, compared=True),
        _Convolution(5, 64, 128, pooled=2),
        _Convolution(7, 128, 128, compared=True),
        _Convolution(10, 128, 256, pooled=2),
        _Convolution(12, 256, 256),
        _Convolution(14, 256, 256, compared=True),
        _Convolution(17, 256, 512, pooled=2),
        _Convolution(19, 512, 512),
        _Convolution(21, 512, 512, compared=True),
        _Convolution(24, 512, 512, pooled=2),
        _Convolution(26, 512, 512),
        _Convolution(28, 512, 512, compared=True),
    ),
}
_FIRST = "features.0.weight"
_SEE = "see docs/methods.md"
_PICKLE_SIGNS = (b"\x80", b"PK\x03\x04")  # a pickle's protocol mark; the archive around PyTorch's pickles
# The least height and width from which every layer still has a pixel.
_SMALLEST_SIDE = {"alexnet": 31, "vgg16": 16}


@dataclass(frozen=True)
class LpipsWeights:
    """What LPIPS needs of a trained network.

    Attributes:
        network: ``"alexnet"`` or ``"vgg16"``.
        tensors: by the names that the module states.
    """

    network: str
    tensors: dict[str, Float[Tensor, "..."]]


def read_lpips_weights(path: str | Path) -> LpipsWeights:
    """Reads and checks a safetensors file with the tensors that the module states.

    Raises:
        DataError: missing, a pickle, no safetensors file, or tensors are missing, misshapen or not finite.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; name the safetensors file with the weights of LPIPS ({_SEE}).")
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            network = _network_of(path, shapes)
            tensors = {name: file.get_tensor(name).float() for name in _expected(network)}
    except (SafetensorError, OSError) as error:
        raise DataError(_why_unreadable(path, error)) from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise DataError(f"{path}: '{name}' has values that are not finite; write the file again ({_SEE}).")
    return LpipsWeights(network, tensors)


def _why_unreadable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        pickled = file.read(4).startswith(_PICKLE_SIGNS)
    if pickled:
        return f"{path} is a pickle, which can run code and is never read; convert it to safetensors ({_SEE})."
    return f"{path} is no whole safetensors file ({error}); write it again ({_SEE})."


def _network_of(path: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    """Which network has these tensors, all of them and of the right shape."""
    first = shapes.get(_FIRST)
    if first is None:
        raise DataError(f"{path} lacks '{_FIRST}'; name its tensors as torchvision does ({_SEE}).")
    fitting = [network for network in _NETWORKS if _expected(network)[_FIRST] == first]
    if not fitting:
        raise DataError(
            f"{path}: '{_FIRST}' has shape {first}, but AlexNet's is (64, 3, 11, 11) and VGG16's (64, 3, 3, 3); "
            f"give the weights of one of these ({_SEE})."
        )
    for name, shape in _expected(fitting[0]).items():
        if name not in shapes:
            raise DataError(f"{path} lacks '{name}', which LPIPS on {fitting[0]} needs; add it ({_SEE}).")
        if shapes[name] != shape:
            raise DataError(
                f"{path}: '{name}' has shape {shapes[name]}, but {fitting[0]} needs {shape}; give the weights of one "
                f"network ({_SEE})."
            )
    return fitting[0]


def _expected(network: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in _NETWORKS[network]:
        shapes[f"features.{layer.place}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        shapes[f"features.{layer.place}.bias"] = (layer.outputs,)
    compared = [layer for layer in _NETWORKS[network] if layer.compared]
    for index, layer in enumerate(compared):
        shapes[_linear(index)] = (1, layer.outputs, 1, 1)
    return shapes


def _linear(index: int) -> str:
    return f"lin{index}.model.1.weight"


@torch.no_grad()
def lpips(prediction: Float[Tensor, "h w 3"], target: Float[Tensor, "h w 3"], weights: LpipsWeights) -> float:
    """Learned perceptual distance of two pictures, RGB (sRGB) in [0, 1]; 0 for equal ones, no upper limit.

    Values by different networks can't be compared. VGG16 takes some 2 kB of memory a pixel.

    Raises:
        UsageError: shapes differ, other channels than three, or a side below 31 (AlexNet) or 16 (VGG16) pixels.
    """
    if prediction.shape != target.shape:
        raise UsageError(f"Metrics compare equal shapes, got {tuple(prediction.shape)} and {tuple(target.shape)}.")
    least = _SMALLEST_SIDE[weights.network]
    if prediction.ndim != 3 or prediction.shape[2] != 3 or min(prediction.shape[:2]) < least:
        raise UsageError(
            f"LPIPS on {weights.network} needs pictures (h, w, 3) of at least {least} pixels a side, got shape "
            f"{tuple(prediction.shape)}."
        )
    features = [_standardised(prediction), _standardised(target)]
    tensors = {name: tensor.to(features[0].device) for name, tensor in weights.tensors.items()}
    distance, compared = 0.0, 0
    for layer in _NETWORKS[weights.network]:
        features = [_convolved(picture, layer, tensors) for picture in features]
        if layer.compared:
            one, other = (_unit(picture) for picture in features)
            weighted = functional.conv2d((one - other).square_(), tensors[_linear(compared)])
            distance += weighted.double().mean().item()
            compared += 1
    return distance


def _standardised(picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    signed = 2 * picture.detach().float() - 1
    return ((signed - signed.new_tensor(_SHIFT)) / signed.new_tensor(_SCALE)).movedim(-1, 0)[None]


def _convolved(picture: Tensor, layer: _Convolution, tensors: dict[str, Tensor]) -> Tensor:
    pooled = picture if layer.pooled is None else functional.max_pool2d(picture, layer.pooled, stride=2)
    weight, bias = (tensors[f"features.{layer.place}.{part}"] for part in ("weight", "bias"))
    return functional.conv2d(pooled, weight, bias, layer.stride, layer.padding).relu_()


def _unit(features: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + _SMALLEST_NORM)
