"""Estimates of memory against sums done by hand, and the sentence that refuses."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.cameras import Cameras
from onefield.configs import memory as scene_memory
from onefield.configs.gaussians import GaussianSet
from onefield.configs.memory import require_training_memory, sized_parts
from onefield.configs.presets import PRESETS
from onefield.configs.reading import changed
from onefield.configs.renderers import RayCast
from onefield.configs.runs import configure
from onefield.data.demo_scene import write_demo_scene
from onefield.data.scene import Scene
from onefield.errors import ResourceError
from onefield.fields.gaussians import GaussianField
from onefield.renderers.ellipsoids import project_ellipsoids
from onefield.renderers.gaussian_rays import cast_form
from onefield.renderers.schools import ONEFIELD
from onefield.training import memory
from onefield.training.fit import fit
from onefield.training.memory import MemoryNeed, ray_pairs, require, tile_pairs, training_need
from onefield.types import Bounds, PointCloud

GIBIBYTE = 2**30


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=8, size=24)
    return configure(folder).load_scene()


def _need(scene: Scene, method: str, *changes: str) -> MemoryNeed:
    config = changed(PRESETS[method], list(changes))
    cast = isinstance(config.renderer, RayCast)
    return training_need(*sized_parts(config, scene), config.training, scene, cast=cast)


# of those left out one starts from depth maps, the other in a box with fewer cells than the cube that is estimated
@pytest.mark.parametrize("method", sorted(set(PRESETS) - {"sparse-splat", "flexicubes"}))
def test_sizes_are_those_of_the_built_method_and_take_no_memory(scene: Scene, method: str) -> None:
    whole = ["field.first=300", "field.most=300"] if isinstance(PRESETS[method].field, GaussianSet) else []
    config = changed(PRESETS[method], ["field.growth_stages=0"] if method == "dense" else whole)
    built = config.build(scene)
    field, sampler = sized_parts(config, scene)
    parts = [(field, built.field)] + ([] if sampler is None else [(sampler, built.renderer.sampler)])
    for sized, real in parts:
        shapes = {name: tensor.shape for name, tensor in real.state_dict().items()}
        assert {name: tensor.shape for name, tensor in sized.state_dict().items()} == shapes
    assert {parameter.device.type for parameter in field.parameters()} == {"meta"}


def test_a_dense_grid_is_counted_in_bytes(scene: Scene) -> None:
    small, large = (
        _need(scene, "dense", f"field.resolution={side}", "field.features=3").parameters for side in (2, 102)
    )
    # a vertex has a density and three features in float32; eight copies at the peak
    assert large - small == 8 * 4 * 4 * (102**3 - 2**3)


def test_each_part_follows_its_setting(scene: Scene) -> None:
    plain = _need(scene, "ngp")
    assert plain.total < 2 * GIBIBYTE
    more = _need(scene, "ngp", f"training.samples_per_step={2**20}")
    assert more.samples > 25 * plain.samples
    assert (more.parameters, more.grid, more.pictures) == (plain.parameters, plain.grid, plain.pictures)
    assert _need(scene, "ngp", "sampler.resolution=128").grid == pytest.approx(8 * plain.grid, rel=0.01)
    assert _need(scene, "ngp", "field.log2_table_size=24").largest == "parameters"


def test_pairs_of_gaussians_with_rays_and_tiles_are_counted() -> None:
    """Against sets that fill a cube, as training starts, counted by the kernels or by geometry."""
    count, size = 4000, 96
    some = GaussianField.from_points(Bounds.cube(1.0), PointCloud(torch.rand(count, 3) * 2 - 1), 0)
    some.log_scales.data += math.log(0.5)
    pose = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -3.5]]], dtype=torch.float64)
    picture = Cameras.pinhole(pose, 1.2 * size, (size / 2, size / 2), size, size).image_rays(0)
    drawn = len(project_ellipsoids(some.gaussians(), picture, ONEFIELD).tiles.owners)
    assert drawn < tile_pairs(count, size * size) < 2 * drawn
    some.opacities.data.fill_(-2.2)
    form = cast_form(some.gaussians(), 0.01)
    # those as near to the line of a ray as a Gaussian reaches
    rays = picture[torch.arange(0, size * size, 37)]
    offsets = torch.einsum("pij,rpj->rpi", form.whitening, form.means - rays.origins[:, None].float())
    along = torch.nn.functional.normalize(torch.einsum("pij,rj->rpi", form.whitening, rays.directions.float()), dim=-1)
    beside = offsets - (offsets * along).sum(-1, keepdim=True) * along
    met = int((beside.norm(dim=-1) < form.reaches).sum())
    assert met < ray_pairs(count, len(rays)) < 4 * met


def test_memory_of_gaussians_follows_rays_and_counts(scene: Scene) -> None:
    few = ["field.most=8000", "field.first=1000", "field.lobes=0"]
    plain, more = (_need(scene, "raygauss", *few, f"training.most_rays={rays}").samples for rays in (2**12, 2**13))
    # of eight thousand there are twenty along each edge
    assert more - plain == pytest.approx(2**12 * (800 + 36 * 4 * 20), abs=1)
    many = _need(scene, "raygauss", *few[1:], "field.most=64000", f"training.most_rays={2**12}").samples
    assert many - plain == pytest.approx(850 * 56_000 + 2**12 * 36 * 4 * 20, abs=1)
    drawn = [_need(scene, "splat", "field.first=1000", f"field.most={most}").samples for most in (1000, 8000)]
    assert drawn[1] - drawn[0] > 7000 * (850 + 64)


@pytest.mark.parametrize(
    ("method", "change"), [("raygauss", "training.most_rays=4194304"), ("splat", "field.most=9000000")]
)
def test_the_cure_of_gaussians_fits(scene: Scene, monkeypatch: pytest.MonkeyPatch, method: str, change: str) -> None:
    monkeypatch.setattr(scene_memory, "memory_available", lambda: 2 * GIBIBYTE)
    with pytest.raises(ResourceError, match=f"--set {change.partition('=')[0]}=") as caught:
        require_training_memory(changed(PRESETS[method], [change]), scene)
    proposed = str(caught.value).partition("--set ")[2].rstrip(".")
    require_training_memory(changed(PRESETS[method], [proposed]), scene)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ("field.log2_table_size=24", "--set field.log2_table_size="),
        ("sampler.resolution=1024", "--set sampler.resolution="),
        ("training.samples_per_step=16777216", "--set training.samples_per_step="),
    ],
)
def test_the_cure_fits(scene: Scene, monkeypatch: pytest.MonkeyPatch, change: str, cure: str) -> None:
    monkeypatch.setattr(scene_memory, "memory_available", lambda: 2 * GIBIBYTE)
    with pytest.raises(ResourceError, match=r"needs about .* GiB of memory .*, but 2\.0 GiB are available; ") as caught:
        require_training_memory(changed(PRESETS["ngp"], [change]), scene)
    assert cure in str(caught.value)
    proposed = str(caught.value).partition("--set ")[2].rstrip(".")
    require_training_memory(changed(PRESETS["ngp"], [proposed]), scene)


def test_large_pictures_are_to_be_made_smaller(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    large = scene.cameras.resized(12_000, 9_000)
    monkeypatch.setattr(scene_memory, "memory_available", lambda: 4 * GIBIBYTE)
    with pytest.raises(ResourceError, match=r"rendering one whole view.* --downscale \d+\.$"):
        require_training_memory(PRESETS["ngp"], _with_cameras(scene, large))


def _with_cameras(scene: Scene, cameras: object) -> Scene:
    import dataclasses

    return dataclasses.replace(scene, cameras=cameras)


def test_sizes_beyond_any_machine_are_refused(scene: Scene) -> None:
    for method, change in (("dense", "field.resolution=10000000"), ("ngp", "sampler.resolution=100000000")):
        with pytest.raises(ResourceError, match=r"beyond any machine .*; lower field\."):
            require_training_memory(changed(PRESETS[method], [change]), scene)


def test_what_fits_is_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    need = MemoryNeed(parameters=3 * GIBIBYTE)
    monkeypatch.setattr(memory, "memory_available", lambda: need.total)
    require(need, "This", "do that")
    monkeypatch.setattr(memory, "memory_available", lambda: need.total - 1)
    with pytest.raises(ResourceError, match=r"^This needs about 3\.4 GiB of memory \(3\.0 GiB of it for parameters"):
        require(need, "This", "do that")


def test_a_fit_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_available", lambda: GIBIBYTE // 8)
    with pytest.raises(ResourceError, match="Fitting image by 'hash' needs about"):
        fit(torch.rand(16, 16, 3), steps=1)
