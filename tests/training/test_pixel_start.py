"""From photos with depth to pixels that start as Gaussians: which, how deep, and how the views fit together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from onefield.data.demo_scene import demo_depth
from onefield.data.flow_files import Flow
from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.data.sightings import Sightings
from onefield.errors import DataError
from onefield.fields.pixel_gaussians import PixelMatches
from onefield.training.pixel_start import (
    align,
    depths_of_files,
    flows_of_files,
    keep_ahead,
    pixel_matches,
    pixel_rays,
)
from tests.sparse_scene import OFFSETS, SCALES, rig, write_sparse_scene

SIZE = 64


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return load_scene(write_sparse_scene(tmp_path_factory.mktemp("sparse"), SIZE))


def started(scene: Scene):
    return pixel_rays(scene, depths_of_files(scene), 5)


def true_depths(scene: Scene, places: torch.Tensor) -> torch.Tensor:
    depths = np.stack([demo_depth(pose, SIZE) for pose in rig()[:3]])
    return torch.from_numpy(depths.reshape(-1)).float()[places] * scene.transform.scale


def test_pixels_that_show_something_start_at_their_depth_and_colour(scene):
    pixels = started(scene)
    assert pixels.sizes == ((SIZE, SIZE),) * 3
    views, places = pixels.views, pixels.places
    alpha = np.stack([scene.images.pixels(view)[..., 3] for view in scene.train_indices.tolist()]) / 255
    assert torch.equal(places, torch.from_numpy(np.flatnonzero(alpha.reshape(-1) >= 0.5)))
    known = torch.isfinite(true_depths(scene, places))
    scales, offsets = torch.tensor(SCALES)[views], torch.tensor(OFFSETS)[views] * scene.transform.scale
    torch.testing.assert_close(
        (pixels.depths * scales + offsets)[known], true_depths(scene, places)[known], atol=1e-5, rtol=1e-5
    )
    means = pixels.origins[views] + pixels.depths[:, None] * pixels.directions
    found, depths = scene.cameras.project(scene.train_indices[views], means.double())
    inside = places - views * SIZE * SIZE
    wanted = torch.stack([inside % SIZE, inside // SIZE], dim=-1) + 0.5
    torch.testing.assert_close(found, wanted.double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(depths.float(), pixels.depths)
    middle = scene.images.pixels(int(scene.train_indices[1])).reshape(-1, 4)[int(inside[views == 1][7]), :3] / 255
    torch.testing.assert_close(pixels.colors[views == 1][7].double(), torch.from_numpy(middle))
    assert int(pixels.segments.max()) == 4


def test_flow_tells_scale_and_offset_of_each_views_depth(scene):
    pixels = started(scene)
    matches = pixel_matches(scene, pixels, flows_of_files(scene))
    assert len(matches.rows) > 3000
    scales, offsets = align(pixels, matches)
    torch.testing.assert_close(scales, torch.tensor(SCALES), rtol=0.02, atol=0)
    torch.testing.assert_close(offsets / scene.transform.scale, torch.tensor(OFFSETS), rtol=0.02, atol=0.005)
    # a tenth of the matches lead anywhere: the sum of distances bears it
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(len(matches.rows), generator=generator) < 0.1
    strange = torch.where(wrong, torch.randint(len(pixels), (len(wrong),), generator=generator), matches.rows)
    scales, offsets = align(pixels, replace(matches, rows=strange))
    torch.testing.assert_close(scales, torch.tensor(SCALES), rtol=0.02, atol=0)


def test_known_points_do_as_well_where_there_is_no_flow(scene, caplog):
    pixels = started(scene)
    places = torch.arange(20, len(pixels), 31)
    distances = true_depths(scene, pixels.places) * pixels.directions.norm(dim=-1)
    usable = places[torch.isfinite(distances[places])]
    inside = (pixels.places - pixels.views * SIZE * SIZE)[usable]
    seen = Sightings(scene.train_indices[pixels.views[usable]], inside % SIZE, inside // SIZE, distances[usable])
    sighted = replace(scene, sightings=seen)
    matches = pixel_matches(sighted, pixels, lambda first, second: None)
    assert (len(matches.rows), len(matches.known_rows)) == (0, len(usable))
    scales, offsets = align(pixels, matches)
    torch.testing.assert_close(scales, torch.tensor(SCALES), rtol=1e-3, atol=0)
    torch.testing.assert_close(offsets / scene.transform.scale, torch.tensor(OFFSETS), rtol=1e-3, atol=1e-3)
    assert torch.equal(align(pixels, PixelMatches.none())[0], torch.ones(3))
    assert "taken as it is" in caplog.text


def test_estimators_are_functions_of_views(scene):
    """A depth that has holes, and a flow that moves nothing, from functions instead of files."""
    holes = torch.full((SIZE, SIZE), float("nan"))
    holes[:, : SIZE // 2], holes[:, -1] = 2.0, 3.0
    pixels = pixel_rays(scene, lambda view: holes, 2)
    columns = pixels.places % SIZE
    assert torch.equal(pixels.depths == 2.0, columns < SIZE // 2 + SIZE // 4)
    still = Flow(torch.rand(SIZE, SIZE, 2) * 0 + 0.5, torch.ones(SIZE, SIZE, dtype=torch.bool))
    matches = pixel_matches(scene, pixels, lambda first, second: still if (first, second) == (0, 1) else None)
    assert len(matches.rows) == int((pixels.views == 0).sum())
    middle = SIZE * SIZE + SIZE // 2 * SIZE + SIZE // 2
    assert set(pixels.places[matches.partners].tolist()) == {middle}


def test_nothing_comes_before_the_camera(scene):
    pixels = started(scene)
    scales, offsets = torch.ones(3), torch.tensor([-pixels.depths[pixels.views == 0].quantile(0.2), 0.0, 0.0])
    kept = keep_ahead(pixels, scales, offsets)
    aligned = kept.depths + offsets[kept.views]
    assert float(aligned.min()) > 0
    assert torch.equal(kept.depths[kept.views > 0], pixels.depths[pixels.views > 0])


def test_disparity_for_depth_is_told(scene):
    pixels = started(scene)
    matches = pixel_matches(scene, pixels, flows_of_files(scene))
    with pytest.raises(DataError, match=r"photo \d would have to be turned around"):
        align(replace(pixels, depths=1 / (pixels.depths + 2)), matches)


def test_photos_without_depth_maps_are_named_with_what_does_without(tmp_path):
    scene = load_scene(write_sparse_scene(tmp_path, 16, depth=False, flow=False))
    with pytest.raises(DataError, match=r"no depth map for 3 .*left\.png.*depth_file_path.*--method splat"):
        depths_of_files(scene)


def test_a_depth_map_of_zeros_is_told(tmp_path):
    write_sparse_scene(tmp_path, 16)
    np.save(tmp_path / "depth/middle.npy", np.zeros((16, 16), dtype=np.float32))
    scene = load_scene(tmp_path)
    with pytest.raises(DataError, match=r"middle\.png' has no number above 0"):
        pixel_rays(scene, depths_of_files(scene), 5)
