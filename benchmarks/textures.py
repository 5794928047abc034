"""Textures against photos that were held out, one JSON line a kind: colours at vertices, the field's as the training
cameras look at it and from straight above, those of photos, levelled in exposure and as they were taken.

The mesh of a trained run is drawn unlit into held-out views; PSNR is over the pixels that the mesh covers and, where
photos have alpha, that are opaque. Errors of the mesh count as much as those of its texture, for all kinds alike.

    python benchmarks/textures.py RUN [--resolution 160] [--faces 40000] [--texture 1024] [--views 4]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from onefield.cameras import Cameras
from onefield.configs.runs import open_run
from onefield.data.scene import Scene
from onefield.fields.field import Field
from onefield.meshing import photo_colors
from onefield.meshing.colors import color_points
from onefield.meshing.preview import render_preview
from onefield.training import texturing
from onefield.training.surface import choose_extractor, color_reach, method_surface
from onefield.training.texturing import TextureSettings, textured
from onefield.types import Mesh

# No colour, so that it marks what the mesh leaves free.
NOWHERE = (-1.0, -1.0, -1.0)


def psnr(mesh: Mesh, scene: Scene, views: list[int]) -> float:
    """Mean over the views."""
    figures = []
    for view in views:
        picture = render_preview(mesh, scene.cameras[[view]], shaded=False, supersampling=1, background=NOWHERE)
        photo = scene.images.image(view)
        counted = (picture >= 0).all(-1)
        if photo.shape[-1] == 4:
            counted &= photo[..., 3] == 1
        figures.append(-10 * math.log10(float((picture - photo[..., :3])[counted].square().mean())))
    return sum(figures) / len(figures)


def no_gains(
    mesh: Mesh,
    points: Tensor,
    normals: Tensor,
    spacing: float,
    count: int,
    view_of: Callable[[int], photo_colors.PhotoView],
) -> Tensor:
    """In the place of `onefield.meshing.photo_colors.photo_gains`."""
    return torch.ones(count, 3)


def from_above(
    mesh: Mesh,
    field: Field,
    points: Tensor,
    normals: Tensor,
    cameras: Cameras,
    *,
    reach: float,
    observe: Callable[[int, int], None],
) -> Tensor:
    """In the place of `onefield.meshing.colors.color_as_seen`."""
    return color_points(field, points, -normals, reach=reach)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--resolution", type=int, default=160)
    parser.add_argument("--faces", type=int, default=40_000)
    parser.add_argument("--texture", type=int, default=1024)
    parser.add_argument("--views", type=int, default=4)
    arguments = parser.parse_args()
    opened = open_run(arguments.run)
    method, scene = opened.method, opened.scene
    count = len(scene.test_indices)
    spread = torch.linspace(0, count - 1, min(count, arguments.views)).round().long()
    views = scene.test_indices[spread].tolist()
    choice = choose_extractor(method, scene)
    surface = method_surface(method, scene, choice, resolution=arguments.resolution, faces=arguments.faces)
    detailed = surface.mesh if surface.detailed is None else surface.detailed
    row = {"run": arguments.run.name, "faces": len(surface.mesh.faces), "views": len(views)}
    print(json.dumps(row | {"colors": "vertices", "psnr": round(psnr(surface.mesh, scene, views), 2)}), flush=True)
    kinds = {
        "field": ("field", None),
        "field from above": ("field", mock.patch.object(texturing, "color_as_seen", from_above)),
        "photos": ("photos", None),
        "photos as taken": ("photos", mock.patch.object(photo_colors, "photo_gains", no_gains)),
    }
    for name, (source, change) in kinds.items():
        begun = time.process_time()
        settings = TextureSettings(arguments.texture, source)
        with change or nullcontext():
            mesh = textured(method, scene, surface.mesh, detailed, settings, color_reach(scene, arguments.resolution))
        figures = {"colors": name, "psnr": round(psnr(mesh, scene, views), 2)}
        print(json.dumps(row | figures | {"cpu_seconds": round(time.process_time() - begun, 1)}), flush=True)


if __name__ == "__main__":
    main()
