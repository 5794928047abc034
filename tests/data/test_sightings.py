import numpy as np
import pytest
import torch

from onefield.data.batches import RayBatches
from onefield.data.formats import load_scene
from onefield.errors import DataError, UsageError


@pytest.fixture(params=["colmap_binary", "colmap_text"])
def seen(request, synthetic, tmp_path):
    truth = synthetic.write(request.param, tmp_path)
    return load_scene(tmp_path), truth


def expected(scene, truth) -> set[tuple[int, int, int]]:
    """View, column and row of each point in the images that the model names: n and n + 1 of as many as there are."""
    views = len(truth.poses)
    places = set()
    for point in range(len(truth.points)):
        for camera in (point % views, (point + 1) % views):
            column, row = truth.project(camera, truth.points[point : point + 1])[0]
            if 0 <= column < 8 and 0 <= row < 6:
                places.add((camera, int(column), int(row)))
    return places


def test_sightings_are_the_pixels_that_see_the_points(seen):
    scene, truth = seen
    sightings = scene.sightings
    found = {tuple(place) for place in torch.stack([sightings.views, sightings.columns, sightings.rows], 1).tolist()}
    assert found == expected(scene, truth)
    pixels = torch.stack([sightings.columns, sightings.rows], -1) + 0.5
    rays = scene.cameras.rays(sightings.views, pixels)
    reached = rays.origins + sightings.distances[:, None] * rays.directions
    apart = torch.cdist(reached.double(), scene.points.points.double()).min(dim=1).values
    # half a pixel's diagonal at a focal length of 9 pixels
    assert bool((apart < 0.08 * sightings.distances).all())


@pytest.mark.parametrize("budget", [1 << 20, 300])
def test_batches_bring_sightings_along(seen, budget):
    scene, _ = seen
    scene.images.byte_budget = budget
    indices = scene.train_indices
    known = {
        (view, column, row): distance
        for view, column, row, distance in zip(
            scene.sightings.views.tolist(),
            scene.sightings.columns.tolist(),
            scene.sightings.rows.tolist(),
            scene.sightings.distances.tolist(),
            strict=True,
        )
    }
    batch = RayBatches(scene, indices, distances=True).next(160)
    plain = RayBatches(scene, indices).next(160)
    drawn = torch.isfinite(batch.distances)
    assert int(drawn.sum()) == 20
    assert bool(drawn[:20].all())
    assert torch.equal(batch.rays.directions[20:], plain.rays.directions[20:])
    points = batch.rays.origins.double() + batch.rays.directions.double()
    pixels = scene.cameras.project(batch.rays.camera_indices, points)[0].floor().long()
    for ray in range(20):
        place = (int(batch.rays.camera_indices[ray]), *pixels[ray].tolist())
        assert place[0] in indices.tolist()
        assert place in known
        # the writers paint pixel (x, y) of camera c as (30 x, 40 y, 20 c)
        picture = torch.tensor([30.0 * place[1], 40.0 * place[2], 20.0 * place[0]]) / 255
        torch.testing.assert_close(batch.colors[ray], picture)


def test_points_that_are_not_finite_are_not_seen(synthetic, tmp_path):
    synthetic.write("colmap_text", tmp_path)
    file = tmp_path / "sparse" / "0" / "points3D.txt"
    lines = file.read_text().splitlines()
    words = lines[1].split()
    lines[1] = " ".join([words[0], "nan", *words[2:]])
    whole = len(load_scene(tmp_path).sightings)
    file.write_text("\n".join(lines) + "\n")
    left = load_scene(tmp_path).sightings
    assert len(left) < whole
    assert bool(np.isfinite(left.distances.numpy()).all())


def test_a_track_of_an_impossible_image_is_refused(synthetic, tmp_path):
    synthetic.write("colmap_text", tmp_path)
    file = tmp_path / "sparse" / "0" / "points3D.txt"
    file.write_text(file.read_text() + f"99 0 0 0 1 1 1 0.5 {10**30} 0\n")
    with pytest.raises(DataError, match="which no model has"):
        load_scene(tmp_path)


def test_a_scene_without_depth_refuses_losses_of_depth(synthetic, tmp_path):
    synthetic.write("ngp", tmp_path)
    scene = load_scene(tmp_path)
    assert scene.sightings is None
    with pytest.raises(UsageError, match="no depth to learn from"):
        RayBatches(scene, scene.train_indices, distances=True)
