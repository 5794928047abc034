"""Sets of Gaussians as configured: how they start, how many they may be, and a run that stops and goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from onefield.configs.gaussians import GaussianSet, camera_extent
from onefield.configs.presets import preset
from onefield.configs.reading import changed
from onefield.configs.runs import configure, open_run, run, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.data.scene import Scene
from onefield.errors import DataError, UsageError
from onefield.fields.gaussians import CONSTANT_HARMONIC
from onefield.kernels.gaussian_footprints import rotations
from onefield.training.densification import Adaptive, Mcmc
from onefield.training.visual_hull import inside_outlines
from onefield.types import PointCloud
from tests.outlined_scene import write_ellipsoid_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("demo")
    write_demo_scene(path, views=8, size=24)
    return path


@pytest.fixture(scope="module")
def scene(folder) -> Scene:
    return load_scene(folder)


def test_it_starts_from_the_scenes_points_thinned_to_the_bound(scene):
    cloud = PointCloud(torch.rand(500, 3), torch.rand(500, 3))
    seen = dataclasses.replace(scene, points=cloud)
    torch.manual_seed(0)
    field = GaussianSet(most=200, first_opacity=0.3).started(seen)
    assert len(field) == 200
    assert float(torch.sigmoid(field.opacities[0]).detach()) == pytest.approx(0.3)
    known = {tuple(point) for point in cloud.points.tolist()}
    assert all(tuple(mean) in known for mean in field.means.tolist())
    assert len(GaussianSet(most=900).started(seen)) == 500


def test_without_points_it_starts_at_random_denser_in_the_region_than_around(scene):
    open_scene = dataclasses.replace(scene, points=None, bounded=False, extent_scale=8.0)
    torch.manual_seed(0)
    field = GaussianSet(first=3000).started(open_scene)
    reach = field.means.detach().abs().amax(1)
    assert float(reach.max()) <= 8.0 + 1e-4
    assert float((reach <= 1).double().mean()) == pytest.approx((1 / (2 - 1 / 8)) ** 3, abs=0.03)
    far, near = reach > 4, reach < 1
    assert field.log_scales[far].mean() > field.log_scales[near].mean() + 1


def test_random_ones_start_within_the_outlines_of_an_object(tmp_path):
    outlined = load_scene(write_ellipsoid_scene(tmp_path, views=12, size=40))
    field = GaussianSet(first=500).started(outlined)
    assert len(field.means) == 500
    assert inside_outlines(outlined, field.means.detach()).all()
    # outlines that have nothing in common leave nothing, and Gaussians start anywhere
    shifted = dataclasses.replace(outlined, cameras=outlined.cameras[torch.arange(len(outlined)).flip(0)])
    assert len(GaussianSet(first=500).started(shifted).means) == 500


def test_surfels_start_as_thin_discs_turned_anyhow(scene):
    method = changed(preset("surfels"), ["field.first=400"]).build(scene)
    log_scales, normals = method.field.log_scales.detach(), rotations(method.field.quaternions.detach())[:, :, 2]
    assert bool((log_scales[:, 2] < log_scales[:, :2].amin(1) - 3).all())
    assert float(normals.mean(0).norm()) < 0.2
    assert float(normals.abs().mean(0).min()) > 0.4
    with pytest.raises(UsageError, match=r"renderer\.antialiased"):
        changed(preset("surfels"), ["renderer.antialiased=true"])
    with pytest.raises(UsageError, match="'ellipsoids'"):
        changed(preset("surfels"), ["renderer.primitive=ellipsoid"])


def write_points(path: Path, points: torch.Tensor) -> None:
    rows = "\n".join(f"{x} {y} {z} 255 0 128" for x, y, z in points.tolist())
    properties = [f"property {kind} {name}" for kind, names in (("double", "xyz"), ("uchar", "rgb")) for name in names]
    path.write_text(
        "\n".join(["ply", "format ascii 1.0", f"element vertex {len(points)}", *properties, "end_header", rows])
    )


def test_it_starts_from_a_file_of_points_in_the_datasets_frame(folder, tmp_path):
    file = tmp_path / "points.ply"
    placed = torch.rand(300, 3, dtype=torch.float64) - 0.5
    scene = load_scene(folder)
    write_points(file, scene.transform.inverse().apply(placed))
    field = GaussianSet(points=str(file), most=400).started(scene)
    torch.testing.assert_close(field.means.detach().double(), placed, atol=1e-5, rtol=0)
    color = 0.5 + CONSTANT_HARMONIC * field.harmonics[0][0, 0].detach()
    torch.testing.assert_close(color, torch.tensor([1.0, 0.0, 128 / 255]), atol=1e-5, rtol=0)
    begun = start_run(
        configure(folder, "splat", steps=2, changes=[f"field.points={file}", "field.densification=none"]),
        tmp_path / "run",
    )
    run(begun)
    # the run has what it started from: the file may go
    file.unlink()
    assert len(open_run(tmp_path / "run").method.field) == 300


@pytest.mark.parametrize("content", [None, torch.zeros(1, 3), torch.full((5, 3), torch.nan)])
def test_files_without_points_are_named(scene, tmp_path, content):
    file = tmp_path / "points.ply"
    if content is not None:
        write_points(file, content)
    with pytest.raises(DataError, match=r"points\.ply"):
        GaussianSet(points=str(file)).started(scene)


def test_a_bound_in_mebibytes_counts_what_training_holds(scene):
    config = GaussianSet(most_mebibytes=1.0, degree=3)
    assert config.bytes_each == 4 * 4 * 59
    assert config.bound == 2**20 // 944
    assert len(GaussianSet(most=50, first=100).started(dataclasses.replace(scene, points=None))) == 50


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("most", 0, "may hold at least 2"),
        ("most_mebibytes", 0.0, "bound of 0"),
        ("first", 0, "starts with at least 2"),
        ("degree", 4, "0 to 3"),
        ("first_opacity", 1.0, "between 0 and 1"),
        ("mean_rate", -1.0, "must be positive"),
        ("densification", "mcmx", "did you mean 'mcmc'"),
        ("first_scale", 0, "field.first_scale must be positive"),
        ("final_mean_rate", -1, "field.final_mean_rate must be positive"),
        ("most_mebibytes", ".nan", "field.most_mebibytes must be a finite number"),
    ],
)
def test_settings_without_meaning_are_named(key, value, message):
    with pytest.raises(UsageError, match=message):
        changed(preset("splat"), [f"field.{key}={value}"])


def test_each_densification_has_its_strategy_and_the_means_learn_by_the_cameras_extent(scene):
    assert isinstance(GaussianSet().strategies(scene)[1], Mcmc)
    original = GaussianSet(densification="original").strategies(scene)[1]
    absolute = GaussianSet(densification="absolute").strategies(scene)[1]
    assert isinstance(original, Adaptive)
    assert (original.pull, original.absolute) == (2e-4, False)
    assert (absolute.pull, absolute.absolute) == (8e-4, True)
    rate = GaussianSet().rates(scene)["means"]
    assert rate.rate == pytest.approx(1.6e-4 * camera_extent(scene))
    assert rate.final == 0.01


def test_splatting_needs_gaussians_and_volumes_refuse_structure(scene):
    with pytest.raises(UsageError, match="no set of them"):
        changed(preset("ngp"), ["renderer.kind=splat"]).build(scene)
    for name in ("dssim", "normal_consistency", "depth_distortion"):
        with pytest.raises(UsageError, match=rf"losses\.{name}"):
            changed(preset("ngp"), [f"losses.{name}=0.2"]).build(scene)


@pytest.mark.parametrize(
    ("method", "densification"),
    [
        ("splat", "mcmc"),
        ("splat", "original"),
        ("splat", "absolute"),
        ("splat", "none"),
        ("surfels", "mcmc"),
        ("surfels", "absolute"),
    ],
)
def test_a_run_that_stops_goes_on_to_the_same_numbers(folder, tmp_path, method, densification):
    settings = [
        f"field.densification={densification}", "field.first=60", "field.most=150", "field.events=10",
        "field.pull=1e-9", "field.growth=1.2",
    ]  # fmt: skip

    def opened(name):
        return start_run(configure(folder, method, steps=24, changes=settings), tmp_path / name)

    whole, broken = opened("whole"), opened("broken")
    run(whole)
    steps = iter(range(100))
    run(broken, should_stop=lambda: next(steps) >= 9)
    again = open_run(tmp_path / "broken", trained=False)
    outcome = run(again, resume=True)
    assert outcome.step == 24
    expected = whole.method.model().state_dict()
    for name, tensor in again.method.model().state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert (len(again.method.field) > 60) == (densification != "none")
    trained = open_run(tmp_path / "broken")
    assert len(trained.method.field) == len(again.method.field)


def test_a_set_of_gaussians_can_be_trained_as_a_volume(scene):
    from onefield.training.loop import take_step
    from onefield.training.state import TrainingState

    changes = ["renderer.kind=volume", "losses.dssim=0", "field.first=50", "training.first_rays=64"]
    method = changed(preset("splat"), changes).build(scene)
    state = TrainingState.begin(method, method.batches(scene, scene.train_indices, 0))
    result = take_step(state)
    assert result.trouble is None
