"""Render shapes known in closed form with the volume renderer, and mesh them: a check of anything built on top.

python examples/05_analytic_shapes.py OUTPUT [--size N] [--resolution N]
"""

import argparse
from pathlib import Path

import torch

import onefield
from onefield.cameras import Cameras
from onefield.data.images import write_image
from onefield.fields.analytic import Material, MixtureField, SphereField, TorusField
from onefield.meshing.colors import color_vertices
from onefield.renderers.background import White
from onefield.renderers.sampling.uniform import UniformSampler


def main(output: Path, size: int, resolution: int) -> None:
    solid = Material(density=200.0, softness=0.01)
    field = MixtureField([TorusField(material=solid), SphereField(0.2, material=solid)])

    # 3 units before the scene, looking along y: columns are right, down, forward, position
    pose = torch.tensor([[1.0, 0, 0, 0], [0, -0.8, 0.6, -1.8], [0, -0.6, -0.8, 2.4]])
    cameras = Cameras.pinhole(pose[None], 1.5 * size, (size / 2, size / 2), size, size)
    renderer = onefield.VolumeRenderer(UniformSampler(256), White())
    view = renderer.render_image(field, cameras, 0)

    output.mkdir(parents=True, exist_ok=True)
    write_image(output / "view.png", view.color)
    mesh = onefield.extract_mesh(field, resolution=resolution)
    onefield.export_mesh(color_vertices(mesh, field), output / "shapes.glb")

    torus = TorusField()
    meshed = onefield.extract_mesh(torus, resolution=resolution)
    volume = torch.linalg.det(meshed.vertices[meshed.faces].double()).sum().item() / 6
    print(f"volume of a meshed torus {volume:.4f}, in closed form {torus.volume():.4f}")
    print(f"view.png and shapes.glb are in {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--resolution", type=int, default=128)
    main(**vars(parser.parse_args()))
