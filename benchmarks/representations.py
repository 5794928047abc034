"""Representations of signals against figures and claims of their papers, at a size that one core bears.

Tests hold what takes a second; these rows hold the rest. Each prints lines of JSON:

- ``camera``: PSNR of the camera picture of 64 x 64 pixels after 300 full batches, three seeds.
- ``steady``: WIRE for 2,000 steps at a rate of 0.005, with frequency over sharpness below and above 2.
- ``split``: wavelets beside a low-pass network against wavelets alone, at equal parameters.
- ``sizes``: widths for the six numbers of parameters of Kim and Fridovich-Keil (arXiv 2506.11139), section 4.
- ``noise``: their noise and grid (band 0.5, 10,000 parameters) against the mean and the least-squares optimum.
- ``heldout``: pixels that were not shown, by Fourier features and without (Tancik et al. 2020).
- ``volume``: a step on 64 frames of 64 x 64 pixels by networks of one axis each and by one of all three, at equal
  parameters (F-INR).

    python benchmarks/representations.py [--only camera,split] [--seeds 3]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from skimage import data
from torch import Tensor, nn

from onefield.data.signals import Signal
from onefield.fields.encodings import DenseGridEncoding, FourierEncoding, GaussianFourierEncoding, IdentityEncoding
from onefield.fields.networks.band_split import BandSplitNetwork
from onefield.fields.networks.chebyshev import ChebyshevNetwork
from onefield.fields.networks.factorised import CpNetwork
from onefield.fields.networks.finer import Finer
from onefield.fields.networks.mlp import Mlp
from onefield.fields.networks.siren import Siren
from onefield.fields.networks.wire import Wire
from onefield.training.recipes import recipe_for

Row = dict[str, object]
# Quality at equal steps, and with a share of the time that the one network takes for them.
_QUALITIES = ((32, "joined", 100), (32, "single", 100), (32, "joined", 2000))
# Cutoffs of the nine bands of noise lie between these, in periods a sample, with steps that grow.
_LOWEST, _HIGHEST, _BANDS, _BASE = 0.0015, 0.7, 9, 300
_NOISE_SIDE, _NOISE_SEED = 1001, 1234


def camera(side: int) -> Tensor:
    """The picture averaged to so many pixels a side, in [0, 1]."""
    part = 512 // side
    return torch.tensor(data.camera().reshape(side, part, side, part).mean((1, 3)) / 255, dtype=torch.float32)


def places(*sides: int) -> Tensor:
    """Points of a lattice whose border is that of [-1, 1]^d."""
    axes = [torch.linspace(-1, 1, side) for side in sides]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(sides))


def decibels(error: float, peak: float) -> float:
    """PSNR of a mean square error."""
    return round(-10 * math.log10(error / peak**2), 2)


def descend(answer: Callable[[], Tensor], module: nn.Module, values: Tensor, rate: float, steps: int) -> float:
    """Mean square error after full batches of Adam at a constant rate."""
    optimizer = torch.optim.Adam(module.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        (answer() - values).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        return (answer() - values).square().mean().item()


def fitted(make: Callable[[], nn.Module], points: Tensor, values: Tensor, rate: float, steps: int, seed: int) -> float:
    """The same for a network of points, made after its seed is set."""
    torch.manual_seed(seed)
    network = make()
    return descend(lambda: network(points), network, values, rate, steps)


def numbers(module: nn.Module) -> int:
    """How many parameters there are."""
    return sum(parameter.numel() for parameter in module.parameters())


def camera_rows(seeds: int) -> Iterator[Row]:
    """Networks of 64 units and two hidden layers, and a grid with a vertex a pixel."""
    points, values = places(64, 64), camera(64).reshape(-1, 1) * 2 - 1
    kinds: dict[str, tuple[Callable[[], nn.Module], float, Tensor]] = {
        "siren": (lambda: Siren(2, 1, 64, 2), 1e-3, points),
        "finer": (lambda: Finer(2, 1, 64, 2), 5e-4, points),
        "wire": (lambda: Wire(2, 1, 45, 2, 10.0, 10.0), 1e-3, points),
        "chebyshev": (lambda: ChebyshevNetwork(2, 1, 64, 2, degree=64, rank=32), 1e-3, points),
        "grid": (lambda: DenseGridEncoding(2, 64, 1, "cubic"), 0.1, (points + 1) / 2),
    }
    for name, (make, rate, inputs) in kinds.items():
        found = [decibels(fitted(make, inputs, values, rate, 300, seed), 2) for seed in range(seeds)]
        yield {"network": name, "rate": rate, "psnr": found}


def steady_rows(_seeds: int) -> Iterator[Row]:
    """A rate five times the recipe's, as in WIRE's scripts."""
    points, values = places(32, 32), camera(32).reshape(-1, 1) * 2 - 1
    for frequency in (19.0, 60.0):
        error = fitted(lambda f=frequency: Wire(2, 1, 45, 2, f, 10.0), points, values, 5e-3, 2000, 0)
        yield {"frequency": frequency, "sharpness": 10.0, "finite": math.isfinite(error), "psnr": decibels(error, 2)}


def split_rows(seeds: int) -> Iterator[Row]:
    """The same sharpness and frequency in both; the low-pass network takes its share of the parameters."""
    points, values = places(64, 64), camera(64).reshape(-1, 1) * 2 - 1
    kinds: dict[str, Callable[[], nn.Module]] = {
        "wire": lambda: Wire(2, 1, 45, 2, 10.0, 10.0),
        "band-split": lambda: BandSplitNetwork(2, 1, 41, 2, low_width=34),
    }
    for name, make in kinds.items():
        found = [decibels(fitted(make, points, values, 1e-3, 300, seed), 2) for seed in range(seeds)]
        yield {"network": name, "parameters": numbers(make()), "psnr": found}


def size_rows(_seeds: int) -> Iterator[Row]:
    """Of pictures of one channel."""
    picture = Signal("image", torch.zeros(1000, 1000, 1), 1.0)
    for name, option in (("siren", "width"), ("wire", "width")):
        counts = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)
        recipes = [recipe_for(name, picture, parameters=count) for count in counts]
        layers = recipes[0].options["hidden_layers"]
        yield {"field": name, "hidden_layers": layers, "widths": [recipe.options[option] for recipe in recipes]}


def published_noise(band: int) -> np.ndarray:
    """Uniform noise below the cutoff of band 1 to 9, as little as filtering leaves of it."""
    steps = (np.logspace(0, 1, _BANDS, base=_BASE) - 1) / (_BASE - 1)
    cutoff = _LOWEST + steps[band - 1] * (_HIGHEST - _LOWEST)
    noise = np.random.RandomState(_NOISE_SEED).uniform(size=(_NOISE_SIDE, _NOISE_SIDE))
    frequencies = np.fft.fftfreq(_NOISE_SIDE)
    length = np.hypot(frequencies[:, None], frequencies)
    return np.fft.ifft2(np.where(length <= cutoff / math.sqrt(2), np.fft.fft2(noise), 0)).real


def noise_rows(_seeds: int) -> Iterator[Row]:
    """Their grid of 100 x 100 vertices on 1001 x 1001 samples, whose last row and column are inside the border."""
    yield {"mean": [decibels(published_noise(band).var(), 1) for band in range(1, _BANDS + 1)]}
    noise = torch.tensor(published_noise(5))
    axis = torch.arange(_NOISE_SIDE) / _NOISE_SIDE
    points, values = torch.cartesian_prod(axis, axis), noise.float().reshape(-1, 1)
    for interpolation in ("linear", "cubic"):
        line = DenseGridEncoding(1, 100, 100, interpolation)
        grid = DenseGridEncoding(2, 100, 1, interpolation)
        with torch.no_grad():
            line.grid.copy_(torch.eye(100))
            grid.grid.fill_(0.1)
            matrix = line(axis[:, None]).double()
        # the two axes part, so that the optimum over the square is one solution after the other
        onto = matrix @ torch.linalg.pinv(matrix)
        optimum = (onto @ noise @ onto.T - noise).square().mean().item()
        row: Row = {"interpolation": interpolation, "optimum": decibels(optimum, 1)}
        optimizer, begun = torch.optim.Adam(grid.parameters(), 0.1), time.thread_time()
        for step in range(1, 201):
            optimizer.zero_grad()
            error = (grid(points) - values).square().mean()
            error.backward()
            optimizer.step()
            if step in (50, 100, 200):
                row[f"psnr_{step}"] = decibels(error.item(), 1)
        yield row | {"seconds_a_step": round((time.thread_time() - begun) / 200, 4)}


def heldout_rows(seeds: int) -> Iterator[Row]:
    """Every second pixel of every second row is shown. The paper's deviation of 10 is for four times as many."""
    side = 128
    picture = camera(side)
    points = torch.cartesian_prod(torch.arange(side) / side, torch.arange(side) / side)
    shown = torch.zeros(side, side, dtype=torch.bool)
    shown[::2, ::2] = True
    shown, values = shown.reshape(-1), picture.reshape(-1, 1)
    encodings: dict[str, Callable[[int], nn.Module]] = {
        "none": lambda _: IdentityEncoding(2),
        **{f"{k} octaves": lambda _, k=k: FourierEncoding(2, k, include_input=False) for k in (4, 5, 6)},
        **{f"gaussian {s:g}": lambda seed, s=s: GaussianFourierEncoding(2, 512, s, seed) for s in (1.0, 2.5, 10.0)},
    }
    for name, make in encodings.items():
        found = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            encoded = make(seed)(points)
            network = Mlp(encoded.shape[1], 1, 128, 3)
            inputs = encoded[shown]
            descend(lambda n=network, x=inputs: n(x), network, values[shown], 1e-3, 500)
            with torch.no_grad():
                error = (network(encoded[~shown]).clamp(0, 1) - values[~shown]).square().mean().item()
            found.append(decibels(error, 1))
        yield {"encoding": name, "psnr": found}


def panned(frames: int, side: int) -> Tensor:
    """A window that moves over the picture by a pixel a frame, ``frames side side``, in [-1, 1]."""
    picture = camera(2 * side) * 2 - 1
    return torch.stack([picture[frame // 2 : frame // 2 + side, frame : frame + side] for frame in range(frames)])


def volume_rows(_seeds: int) -> Iterator[Row]:
    """Three sine networks of one axis, joined by 32 products, against one of three axes."""
    gain = recipe_for("functional-cp", Signal("volume", torch.zeros(4, 4, 4, 1), 1.0)).options["output_gain"]

    def joined() -> CpNetwork:
        return CpNetwork(3, 1, 32, lambda inputs, outputs: Siren(inputs, outputs, 64, 2, output_gain=gain))

    for side, name, steps in ((64, "joined", 4), (64, "single", 4), *_QUALITIES):
        torch.manual_seed(0)
        network, axes = joined() if name == "joined" else Siren(3, 1, 122, 2), [torch.linspace(-1, 1, side)] * 3
        points, video = places(side, side, side), panned(side, side)

        def answer(
            network: nn.Module = network, axes: list[Tensor] = axes, points: Tensor = points, video: Tensor = video
        ) -> Tensor:
            found = network.on_grid(axes) if isinstance(network, CpNetwork) else network(points)
            return found.reshape(video.shape)

        # changes nothing, and takes what only a first step takes
        descend(answer, network, video, 0.0, 1)
        begun = time.thread_time()
        error = descend(answer, network, video, 1e-3, steps)
        seconds = round((time.thread_time() - begun) / steps, 4)
        row: Row = {"network": name, "side": side, "parameters": numbers(network), "steps": steps}
        yield row | {"psnr": decibels(error, 2), "seconds_a_step": seconds}


ROWS: dict[str, Callable[[int], Iterator[Row]]] = {
    "camera": camera_rows,
    "steady": steady_rows,
    "split": split_rows,
    "sizes": size_rows,
    "noise": noise_rows,
    "heldout": heldout_rows,
    "volume": volume_rows,
}


def main() -> None:
    """Prints a line of JSON a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="kinds of rows, between commas")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for kind in chosen.only.split(","):
        for row in ROWS[kind](chosen.seeds):
            print(json.dumps({"row": kind} | row), flush=True)


if __name__ == "__main__":
    main()
