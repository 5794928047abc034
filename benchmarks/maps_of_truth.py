"""A copy of a scene of a known shape with the maps that networks would guess from its photos: relative depth, normals.

    python benchmarks/maps_of_truth.py SCENE COPY [--downscale 4]

SCENE is a dataset of transforms.json with the true surface beside the pictures, `truth.ply` in the dataset's frame. The
maps are those of the true surface, and so better than any guess, but for the depth's unit and zero, which differ from
photo to photo. Train on the copy with

    onefield train COPY --method occ-sdf --downscale 4 --steps 300

and measure the exported mesh with `benchmarks/photo_surfaces.py SCENE --mesh FILE`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from onefield.data.formats import load_scene
from onefield.export.formats import read_mesh
from onefield.renderers.mesh_rasterizer import rasterize_mesh

# Of each photo's depth, drawn once: predictors have no unit, and their zero lies anywhere.
SCALES, SHIFTS = (0.2, 5.0), (0.5, 10.0)
TO_MAP = torch.tensor([1.0, -1.0, -1.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("copy", type=Path)
    parser.add_argument("--downscale", type=int, default=4, help="of the maps")
    arguments = parser.parse_args()
    shutil.copytree(arguments.scene, arguments.copy)
    scene = load_scene(arguments.scene, downscale=arguments.downscale)
    cameras = scene.transform.invert_cameras(scene.cameras)
    truth = read_mesh(arguments.scene / "truth.ply")
    record = json.loads((arguments.copy / "transforms.json").read_text())
    frames = {frame["file_path"]: frame for frame in record["frames"]}
    random = np.random.default_rng(0)
    (arguments.copy / "maps").mkdir()
    for index, name in enumerate(scene.image_names):
        camera = cameras[index]
        seen = rasterize_mesh(truth.vertices, truth.faces, camera)
        shape = seen.depth.shape
        depth = (seen.depth * camera.axis_cosines(camera.image_rays(0)).reshape(shape)).numpy()
        guessed = random.uniform(*SCALES) * depth + random.uniform(*SHIFTS)
        normals = seen.normal @ camera.camera_to_world[0, :, :3].float() * TO_MAP
        unseen = (seen.faces < 0).numpy()
        stem = f"maps/{Path(name).stem}"
        np.save(arguments.copy / f"{stem}-depth.npy", np.where(unseen, np.nan, guessed).astype(np.float32))
        np.save(arguments.copy / f"{stem}-normals.npy", np.where(unseen[..., None], np.nan, normals).astype(np.float32))
        frames[name] |= {"depth_file_path": f"{stem}-depth.npy", "normal_file_path": f"{stem}-normals.npy"}
    (arguments.copy / "transforms.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
