"""Fit a shape as a signed distance, and export the surface of the field as a mesh.

python examples/02_fit_a_shape.py OUTPUT [--mesh SHAPE.obj] [--steps N] [--resolution N]
"""

import argparse
from pathlib import Path

import onefield
from onefield.fields.analytic import TorusField


def main(output: Path, mesh: Path | None, steps: int | None, resolution: int) -> None:
    shape = onefield.extract_mesh(TorusField(), resolution=64) if mesh is None else mesh
    fitted = onefield.fit(shape, steps=steps)
    print(f"IoU {fitted.metrics['iou']:.4f} with the shape, {fitted.metrics['parameters']:,.0f} parameters")

    surface = fitted.reconstruction(resolution)
    output.mkdir(parents=True, exist_ok=True)
    for name in ("shape.glb", "shape.ply"):
        onefield.export_mesh(surface, output / name)
    print(f"{len(surface.vertices)} vertices in {output / 'shape.glb'} and in shape.ply")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--mesh", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--resolution", type=int, default=128)
    main(**vars(parser.parse_args()))
