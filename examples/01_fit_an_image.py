"""Fit an image in three lines, then look closer than its pixels.

python examples/01_fit_an_image.py OUTPUT [--image PHOTO.png] [--steps N]
"""

import argparse
from pathlib import Path

import torch

import onefield
from onefield.data.images import write_image

PHOTO = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
ZOOM = 256


def main(output: Path, image: Path, steps: int | None) -> None:
    fitted = onefield.fit(image, steps=steps)
    print(f"PSNR {fitted.metrics['psnr']:.2f} dB after {fitted.metrics['steps']:.0f} steps")
    picture = fitted.reconstruction()

    # The field answers anywhere in its domain: here 256 x 256 points on a seventh of the picture's width, x first.
    center, side = torch.tensor(fitted.field.domain.center), fitted.field.domain.extent[0] / 7
    ticks = ((torch.arange(ZOOM) + 0.5) / ZOOM - 0.5) * side
    y, x = torch.meshgrid(ticks + center[1], ticks + center[0], indexing="ij")
    closer = fitted(torch.stack([x, y], dim=-1))

    output.mkdir(parents=True, exist_ok=True)
    write_image(output / "reconstruction.png", picture)
    write_image(output / "closer.png", closer)
    fitted.save(output / "field.safetensors")
    print(f"reconstruction.png, closer.png and field.safetensors are in {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--image", type=Path, default=PHOTO)
    parser.add_argument("--steps", type=int)
    main(**vars(parser.parse_args()))
