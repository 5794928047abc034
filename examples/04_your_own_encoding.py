"""Write an encoding of your own, put it into a field, and fit an image with it.

python examples/04_your_own_encoding.py OUTPUT [--image PHOTO.png] [--steps N] [--bumps N]
"""

import argparse
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

import onefield
from onefield.data.images import write_image
from onefield.data.signals import load_signal
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.mlp import Mlp

PHOTO = Path(__file__).parents[1] / "docs" / "images" / "demo.png"


class Bumps(Encoding):
    """Gaussian bumps whose places and widths are learned: a feature each, 1 at its centre."""

    def __init__(self, dimension: int, count: int) -> None:
        super().__init__()
        self.input_dimension, self.output_dimension = dimension, count
        self.centers = nn.Parameter(torch.rand(count, dimension))
        self.sharpness = nn.Parameter(torch.full((count,), 2.0 * count ** (1 / dimension)))

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        # |p - c|^2 by its three terms: an array of all differences would be d times larger
        squares = points.square().sum(1, keepdim=True) - 2 * points @ self.centers.T + self.centers.square().sum(1)
        return torch.exp(-squares * self.sharpness.square())


def main(output: Path, image: Path, steps: int, bumps: int) -> None:
    signal = load_signal(image)
    network = Mlp(bumps, signal.channels, width=64, hidden_layers=2)
    field = ComposedField(signal.domain, Bumps(2, bumps), network, [ValueHead(0.5, 0.5)])
    fitted = onefield.fit(signal, field, steps=steps)
    print(f"PSNR {fitted.metrics['psnr']:.2f} dB with {bumps} bumps")
    output.mkdir(parents=True, exist_ok=True)
    write_image(output / "bumps.png", fitted.reconstruction())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--image", type=Path, default=PHOTO)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--bumps", type=int, default=512)
    main(**vars(parser.parse_args()))
