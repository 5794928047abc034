"""Distances of a shape by a small network of frequencies, with coordinates as they are and snapped to cells.

Ten octaves and three layers of 64 units, trained as `onefield fit` trains a SIREN, from several seeds. IoU and error of
distances as `onefield fit` tells them; chamfer of the mesh, 30,000 points each way, in percent of the longest side.

Run: python benchmarks/quantized_coordinates.py ../shared/data/meshes/spot.obj [--steps 300] [--seeds 0 1]
     [--cells 25600]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from onefield.data.signal_files import read_mesh
from onefield.data.signals import Shape
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.encodings.fourier import FourierEncoding
from onefield.fields.encodings.quantized import QuantizedEncoding
from onefield.fields.heads.distance import DistanceHead
from onefield.fields.networks.mlp import Mlp
from onefield.training.fit import fit
from onefield.training.metrics import surface_agreement

OCTAVES, WIDTH, LAYERS = 10, 64, 3
SCORED = 30_000
RESOLUTION = 128


def field_of(shape: Shape, encoding: Encoding, seed: int) -> ComposedField:
    """A field like that of the recipes, which starts as a sphere."""
    torch.manual_seed(seed)
    network = Mlp(encoding.output_dimension, 1, WIDTH, LAYERS)
    head = DistanceHead(shape.scale / 4, shape.domain.center, shape.scale / 2)
    return ComposedField(shape.domain, encoding, network, [head])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1))
    parser.add_argument("--cells", type=int, nargs="+", default=(25_600,))
    arguments = parser.parse_args()
    shape = Shape.of(read_mesh(arguments.mesh))
    side = max((shape.mesh.vertices.amax(0) - shape.mesh.vertices.amin(0)).tolist())
    table = Table(title=f"{arguments.mesh.stem}, {arguments.steps} steps")
    for column in ("cells", "seed", "IoU", "distance error", "chamfer %", "s"):
        table.add_column(column)
    for seed in arguments.seeds:
        for cells in (0, *arguments.cells):
            plain = FourierEncoding(3, OCTAVES)
            encoding = QuantizedEncoding(plain, cells) if cells else plain
            fitted = fit(shape, field_of(shape, encoding, seed), steps=arguments.steps, seed=seed)
            found = Shape.of(fitted.reconstruction(RESOLUTION))
            points = [
                given.surface_points(SCORED, torch.Generator().manual_seed(number))
                for number, given in enumerate((found, shape))
            ]
            chamfer = 100 * surface_agreement(*points, threshold=0.01 * side).chamfer / side
            figures = (f"{fitted.metrics['iou']:.4f}", f"{fitted.metrics['distance_error']:.5f}", f"{chamfer:.3f}")
            table.add_row(f"{cells or 'none'}", f"{seed}", *figures, f"{fitted.metrics['seconds']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
