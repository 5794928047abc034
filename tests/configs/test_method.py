"""Methods built for scenes: every preset takes a step; samplers start behind the space in front of lenses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from onefield.configs.method import BACKGROUNDS, nearest_content, wanted_losses
from onefield.configs.objective import TERMS
from onefield.configs.presets import PRESETS, preset
from onefield.configs.reading import changed
from onefield.configs.renderers import Splat
from onefield.configs.samplers import Occupancy, Proposal
from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.data.image_store import DepthStore, NormalStore
from onefield.data.scene import Scene
from onefield.data.sightings import Sightings
from onefield.errors import UsageError
from onefield.fields.section_opacity import DistanceAsOpacity
from onefield.renderers.schools import ONEFIELD, SCHOOLS, School
from onefield.training.level_growth import LevelGrowth
from onefield.training.loop import take_step
from onefield.training.method import DEPTH_TERMS, NORMAL_TERMS, RELATIVE_TERMS
from onefield.training.slope_annealing import SlopeAnnealing
from onefield.training.state import TrainingState
from onefield.types import PointCloud

# the others start from depth maps, which the demo scene lacks, and are tested with them elsewhere
ON_PHOTOS_ALONE = sorted(set(PRESETS) - {"sparse-splat"})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=8, size=16)
    return load_scene(folder)


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("name", ON_PHOTOS_ALONE)
def test_every_preset_takes_finite_steps(scene: Scene, name: str, bounded: bool) -> None:
    scene = dataclasses.replace(scene, bounded=bounded, extent_scale=1.0 if bounded else 4.0)
    config = changed(PRESETS[name], ["training.first_rays=64"])
    method = config.build(scene)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, 0))
    results = [take_step(state) for _ in range(2)]
    assert all(result.trouble is None for result in results)
    assert all(torch.isfinite(p).all() for p in method.model().parameters())


PRESET_OF_TERM = dict.fromkeys(("eikonal", "wide_eikonal", "curvature"), "sdf")
OF_OCCUPANCY = ("occupied_l1", "occupied_feature_color", "occupied_mask")
PRESET_OF_TERM |= dict.fromkeys(OF_OCCUPANCY, "occ-sdf")
PRESET_OF_TERM |= {"variation": "dense", "interlevel": "nerf", "dssim": "splat"}
PRESET_OF_TERM |= {"depth_distortion": "surfels", "normal_consistency": "surfels"}
OF_SURFACES = ("deviation", "sign_changes", "weight_change", "bending", "developability")
PRESET_OF_TERM |= dict.fromkeys(OF_SURFACES, "flexicubes")
# these need what the demo scene lacks, and are tested with it elsewhere
NEED_MAPS = {*DEPTH_TERMS, *NORMAL_TERMS, "carve", "depth_variation", "match_distance"}


@pytest.mark.parametrize("term", sorted(set(TERMS) - NEED_MAPS))
def test_every_summand_learns_with_a_preset_that_it_fits(scene: Scene, term: str) -> None:
    settings = [f"losses.{term}=0.01", "training.first_rays=64"]
    config = changed(preset(PRESET_OF_TERM.get(term, "ngp")), settings)
    method = config.build(scene)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, 0))
    result = take_step(state)
    assert result.trouble is None
    assert term in result.terms


def test_splatting_takes_a_schools_numbers_by_its_name(scene: Scene) -> None:
    def school(*assignments: str) -> School:
        return changed(preset("splat"), list(assignments)).build(scene).renderer.school

    assert school() == dataclasses.replace(ONEFIELD, near=nearest_content(scene))
    scale = scene.transform.scale
    assert school("renderer.school=inria") == dataclasses.replace(SCHOOLS["inria"], near=0.2 * scale)
    mixed = school("renderer.school=gsplat-1.5.3", "renderer.max_alpha=0.9", "renderer.antialiased=true")
    assert (mixed.max_alpha, mixed.antialiased, mixed.near) == (0.9, True, 0.01 * scale)
    with pytest.raises(UsageError, match=r"renderer\.school 'gsplatt': did you mean 'gsplat'"):
        school("renderer.school=gsplatt")


def test_equal_seeds_build_equal_fields(scene: Scene) -> None:
    one, other = (preset("ngp").build(scene).model().state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_nearest_content_follows_points_and_cameras(scene: Scene) -> None:
    distances = scene.cameras.positions[scene.train_indices].norm(dim=-1)
    assert nearest_content(scene) == pytest.approx(0.1 * float(distances.median()))
    points = torch.rand(500, 3) * 0.02 - 0.01
    with_points = dataclasses.replace(scene, points=PointCloud(points))
    assert nearest_content(with_points) == pytest.approx(0.8 * float(distances.min()), rel=0.02)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("losses.eikonal=0.1", "needs a field with distance"),
        ("losses.variation=0.1", "DenseGridEncoding"),
        ("losses.hubre=1", "did you mean 'huber'"),
        ("background=whit", "did you mean 'white'"),
        ("losses.huber=0", "objective is empty"),
    ],
)
def test_parts_that_do_not_meet_are_told(scene: Scene, assignment: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(preset("ngp"), [assignment]).build(scene)
    assert words in str(caught.value)


def test_a_distance_becomes_opacity_by_the_law_that_is_named(scene: Scene) -> None:
    laplace, logistic, neus = (
        changed(preset("sdf"), [f"field.law={law}"]).build(scene) for law in ("laplace", "logistic", "neus")
    )
    assert (laplace.field.law, logistic.field.law) == ("laplace", "logistic")
    assert isinstance(neus.field, DistanceAsOpacity)
    assert neus.field.sharpness.item() == pytest.approx(10, rel=1e-4)
    with pytest.raises(UsageError, match="did you mean 'neus'"):
        changed(preset("sdf"), ["field.law=nues"]).build(scene)


def test_slopes_are_trusted_and_levels_added_in_the_course_of_a_run_of_neus(scene: Scene) -> None:
    method = preset("neus").build(scene)
    assert [type(strategy) for strategy in method.strategies] == [SlopeAnnealing, LevelGrowth]
    at_once = changed(preset("neus"), ["field.anneal=0", "field.first_levels=0"]).build(scene)
    assert at_once.strategies == ()
    assert at_once.field.certainty == 1
    with pytest.raises(UsageError, match="can't use 9"):
        changed(preset("neus"), ["field.first_levels=9"]).build(scene)


def test_the_hybrid_starts_as_one_ball_for_distance_and_occupancy(scene: Scene) -> None:
    method = preset("occ-sdf").build(scene)
    assert method.renderer.occupied
    surface = torch.nn.functional.normalize(torch.randn(20, 3, generator=torch.Generator().manual_seed(1)), dim=-1) / 2
    sample = method.field.query(surface, want=("distance", "occupancy"))
    # the network's own part is small, not 0
    assert sample.distance.abs().max() < 0.05
    assert (sample.occupancy - 0.5).abs().max() < 0.1
    room = changed(preset("occ-sdf"), ["field.inside_out=true", "field.law=neus", "field.anneal=0.1"]).build(scene)
    middle = room.field.query(torch.zeros(1, 3), want=("distance", "occupancy"))
    assert middle.distance.item() > 0.4
    assert middle.occupancy.item() < 0.1
    assert [type(strategy) for strategy in room.strategies] == [SlopeAnnealing, LevelGrowth]
    without = changed(preset("sdf"), ["losses.occupied_l1=1"])
    with pytest.raises(UsageError, match="needs a field with occupancy"):
        without.build(scene)


def test_the_hybrid_learns_from_maps_of_depth_and_normals(scene: Scene, tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", np.random.default_rng(0).uniform(1, 2, (16, 16)))
    np.save(tmp_path / "normals.npy", np.tile(np.float32([0, 0.6, 0.8]), (16, 16, 1)))
    depths, normals = (
        DepthStore(scene.cameras, [tmp_path / "depth.npy"] * len(scene), 1.0),
        NormalStore(scene.cameras, [tmp_path / "normals.npy"] * len(scene)),
    )
    mapped = dataclasses.replace(scene, depths=depths, normals=normals)
    method = changed(preset("occ-sdf"), ["training.first_rays=256"]).build(mapped)
    result = take_step(TrainingState.begin(method, method.batches(mapped, mapped.train_indices, 0)))
    assert result.trouble is None
    assert all(result.terms[name] > 0 for name in (*RELATIVE_TERMS, *NORMAL_TERMS))
    metric = changed(preset("occ-sdf"), ["losses.depth=0.1", "losses.normals=0"]).build(mapped)
    assert {term.name for term in metric.objective} & {*DEPTH_TERMS, *NORMAL_TERMS} == {"depth", "occupied_normals"}
    # others are not told to
    assert wanted_losses({"huber": 1.0}, mapped, Occupancy()) == {"huber": 1.0}


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["losses.normals=0.1"], "has no normal maps; leave it out, or name"),
        (["losses.relative_depth=0.1"], "has no depth maps; leave it out, or name"),
        (["losses.relative_depth=0.1", "losses.depth=0.1"], "in any unit and losses.depth in the scene's"),
    ],
)
def test_maps_that_are_not_there_or_in_two_units_are_told(scene: Scene, assignments: list[str], words: str) -> None:
    stated = dataclasses.replace(scene, depths=DepthStore(scene.cameras, [], 1.0)) if len(assignments) > 1 else scene
    seen = dataclasses.replace(stated, sightings=Sightings(*(torch.zeros(1, dtype=torch.int64) for _ in range(4))))
    with pytest.raises(UsageError, match=words):
        wanted_losses(changed(preset("sdf"), assignments).losses, seen, Occupancy())


def test_distances_can_be_asked_at_the_centres_of_cells(scene: Scene) -> None:
    changes = ["field.quantized_cells=100", "training.first_rays=64", "losses.decay=0.1"]
    method = changed(preset("neus"), changes).build(scene)
    # the head's sphere is added at the points themselves, so its share is taken off
    middle = torch.tensor([[0.41, -0.31, 0.11]])
    shifted = middle + torch.tensor([[0.009, -0.009, 0.009]])
    features = [method.field.inner.query(points, want=("features",)).features for points in (middle, shifted)]
    assert torch.equal(*features)
    beyond = method.field.inner.query(middle + 0.011, want=("features",)).features
    assert not torch.equal(features[0], beyond)
    assert [type(strategy) for strategy in method.strategies] == [SlopeAnnealing, LevelGrowth]
    result = take_step(TrainingState.begin(method, method.batches(scene, scene.train_indices, 0)))
    assert result.trouble is None
    with pytest.raises(UsageError, match="at least 2 cells"):
        changed(preset("sdf"), ["field.quantized_cells=1"]).build(scene)


@pytest.mark.parametrize("name", ON_PHOTOS_ALONE)
def test_poses_and_colours_learn_with_every_preset(scene: Scene, name: str) -> None:
    changes = ["training.first_rays=64", "refine_poses=true", "appearance=affine"]
    method = changed(PRESETS[name], changes).build(scene)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, 0))
    results = [take_step(state) for _ in range(2)]
    assert all(result.trouble is None for result in results)
    assert method.poses.coordinates[scene.train_indices].abs().max() > 0
    assert (method.poses.coordinates[scene.test_indices] == 0).all()
    assert method.appearance.values.abs().max() > 0
    assert "appearance_prior" in results[0].terms


@pytest.mark.parametrize(
    ("name", "bounded", "alpha", "stated", "expected"),
    [
        ("ngp", False, False, None, "random"),
        ("sdf", False, False, None, "black"),
        ("sdf", False, True, None, "random"),
        ("ngp", True, False, None, "black"),
        ("ngp", True, True, "white", "random"),
        ("ngp", True, False, "white", "white"),
        ("ngp", True, True, "black", "black"),
    ],
)
def test_nothing_hides_in_the_background(scene: Scene, name: str, bounded: bool, alpha: bool, stated, expected) -> None:
    photos = dataclasses.replace(scene, bounded=bounded, alpha=alpha, background=stated)
    assert isinstance(preset(name).build(photos).renderer.background, BACKGROUNDS[expected])


def test_without_corrections_nothing_is_added(scene: Scene) -> None:
    method = preset("ngp").build(scene)
    assert set(method.model()) == {"field", "renderer"}
    assert len(method.objective) == len(preset("ngp").losses)


def test_depth_needs_maps_and_carving_brings_its_loss(scene: Scene) -> None:
    with pytest.raises(UsageError, match="neither depth maps nor points"):
        changed(preset("ngp"), ["losses.depth=0.1"]).build(scene)
    sightings = Sightings(torch.zeros(1, dtype=torch.int64), *torch.zeros(2, 1, dtype=torch.int64), torch.ones(1))
    seen = dataclasses.replace(scene, sightings=sightings, bounded=False)
    assert wanted_losses({"huber": 1.0}, seen, Occupancy())["line_of_sight"] > 0
    assert wanted_losses({"line_of_sight": 0.0}, seen, Occupancy())["line_of_sight"] == 0
    assert wanted_losses({"huber": 1.0}, seen, Occupancy())["near_space"] > 0
    bounded = wanted_losses({}, dataclasses.replace(seen, bounded=True), Occupancy())
    assert not {"line_of_sight", "near_space"} & set(bounded)
    assert wanted_losses({}, scene, Proposal()) == {"interlevel": 1.0}
    surfels = Splat(primitive="surfels")
    for bounded in (True, False):
        asked = wanted_losses({}, dataclasses.replace(scene, bounded=bounded), Occupancy(), surfels)
        assert ("depth_distortion" in asked) == bounded
    carved = dataclasses.replace(scene, mask_meaning="carve", masked_views=1)
    assert "carve" in [term.name for term in preset("ngp").build(carved).objective]
    without = changed(preset("ngp"), ["losses.carve=0"]).build(carved)
    assert "carve" not in [term.name for term in without.objective]
