"""Held-out views of methods that correct poses and colours, on a scene whose field is known in closed form."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from scipy.spatial.transform import Rotation

from onefield.cameras import Cameras
from onefield.configs.runs import configure, run, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.data.image_store import ImageStore, MaskStore, Picture
from onefield.data.images import write_image
from onefield.data.scene import Scene, Similarity
from onefield.errors import DataError
from onefield.fields.analytic import Material, MixtureField, SphereField
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.renderers.volume import VolumeRenderer
from onefield.training import held_out
from onefield.training.appearance import Exposure
from onefield.training.checkpoints import load_checkpoint
from onefield.training.evaluation import evaluate, true_image
from onefield.training.held_out import fitted_pose, shown_view
from onefield.training.method import Method
from onefield.training.poses import PoseRefinement, moved_cameras
from onefield.training.settings import TrainingSettings

WIDTH, HEIGHT = 48, 24
GAIN = torch.tensor([0.6, 0.8, 1.0])
TILT = torch.tensor([0.02, -0.03, 0.02, 0.02, 0.02, -0.02]).double()


def field() -> MixtureField:
    places = ((0.5, 0.1, 0.3), (-0.5, 0.3, -0.2), (0.0, -0.5, 0.1), (-0.3, -0.6, 0.4))
    return MixtureField([SphereField(0.35, place, Material(density=20.0, softness=0.05)) for place in places])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Four views; the last is held out, its photo has a cast, and its pose is wrong by two degrees."""
    poses = []
    for index in range(4):
        rotation = torch.from_numpy(Rotation.from_euler("zx", [80 * index, -100], degrees=True).as_matrix())
        poses.append(torch.cat([rotation, -2.5 * rotation[:, 2:]], dim=1))
    cameras = Cameras.pinhole(torch.stack(poses), 40.0, (WIDTH / 2, HEIGHT / 2), WIDTH, HEIGHT)
    pictures = []
    for index in range(4):
        color = VolumeRenderer(UniformSampler(32)).render_image(field(), cameras, index).color
        write_image(tmp_path / f"{index}.png", color * GAIN if index == 3 else color)
        pictures.append(Picture(tmp_path / f"{index}.png", (WIDTH, HEIGHT)))
    noise = torch.zeros(4, 6, dtype=torch.float64)
    noise[3] = TILT
    return Scene(
        name="balls",
        path=tmp_path,
        format="test",
        cameras=moved_cameras(cameras, noise),
        images=ImageStore(pictures, 3),
        image_names=tuple(f"{index}.png" for index in range(4)),
        train_indices=torch.arange(3),
        test_indices=torch.tensor([3]),
        transform=Similarity.identity(),
    )


def method_for(scene: Scene, poses: bool, appearance: bool) -> Method:
    return Method(
        name="test",
        field=field(),
        renderer=VolumeRenderer(UniformSampler(32)),
        objective=(),
        settings=TrainingSettings(),
        poses=PoseRefinement(scene.cameras, scene.train_indices) if poses else None,
        appearance=Exposure(4, scene.train_indices) if appearance else None,
    )


def test_pose_and_colours_are_fitted_on_one_half_and_scored_on_the_other(scene, monkeypatch):
    monkeypatch.setattr(held_out, "LEAST_SPREAD", 0.05)  # as if training had found poses as wrong as this one
    as_it_is = evaluate(method_for(scene, False, False), scene)
    method = method_for(scene, True, True)
    fitted = evaluate(method, scene)
    assert as_it_is.summary()["protocol"] == "whole pictures"
    assert "pose and colours of each view fitted on the left half" in fitted.as_json()["protocol"]
    assert "scored on the right half" in fitted.protocol
    assert fitted.views[0].psnr > as_it_is.views[0].psnr + 8
    assert fitted.views[0].psnr > 33
    assert evaluate(method, scene, "training").protocol.startswith("whole pictures with the pose and colours")
    assert all(parameter.requires_grad for parameter in method.model().parameters())
    assert (method.poses.coordinates == 0).all()


def test_every_step_of_the_protocol_and_every_correction_is_told(scene, monkeypatch):
    monkeypatch.setattr(held_out, "POSE_STEPS", 7)
    monkeypatch.setattr(held_out, "LEAST_SPREAD", 0.05)
    scene = dataclasses.replace(scene, transform=Similarity(0.5, torch.eye(3).double(), torch.zeros(3).double()))
    method = method_for(scene, True, True)
    told = evaluate(method, scene).as_json()
    (view,) = told["per_view"]
    left = torch.arange(WIDTH).expand(HEIGHT, WIDTH) < WIDTH // 2
    twist = fitted_pose(method, scene, 3, true_image(method, scene, 3), left).double()
    motion = torch.zeros(4, 4, dtype=torch.float64)
    motion[:3, :3] = torch.linalg.cross(twist[:3].expand(3, 3), torch.eye(3).double()).T
    motion[:3, 3] = twist[3:]
    motion = torch.linalg.matrix_exp(motion)
    turned = math.degrees(math.acos((motion[:3, :3].trace() - 1) / 2))
    assert turned > 0.1
    assert view["turned"] == pytest.approx(turned, rel=1e-3)
    # a unit of the data set is half of one of the scene
    assert view["moved"] == pytest.approx(2 * float(motion[:3, 3].norm()), rel=1e-3)
    assert 0.01 < view["recolored"] < 0.4
    assert told["scored_from"] == 0.5
    text = " ".join(told["protocol_details"])
    for words in ("left half", "six numbers", "7 steps", "'exposure'", "16,384", "right edge", "same protocol"):
        assert words in text
    plain = evaluate(method_for(scene, False, False), scene).as_json()
    assert (plain["protocol_details"], plain["scored_from"]) == ([], 0.0)
    assert not {"turned", "moved", "recolored", "lpips"} & plain["per_view"][0].keys()
    trained = evaluate(method_for(scene, True, False), scene, "training").as_json()
    assert trained["scored_from"] == 0
    assert [row["turned"] for row in trained["per_view"]] == [0, 0, 0]


def test_a_pose_moves_about_as_far_as_training_moved_the_others(scene):
    method = method_for(scene, True, False)
    scene = dataclasses.replace(scene, images=ImageStore([Picture(scene.path / "0.png", (WIDTH, HEIGHT))] * 4, 3))
    tilted = torch.zeros(4, 6, dtype=torch.float64)
    tilted[3] = TILT
    poses = scene.cameras.camera_to_world.clone()
    poses[3] = poses[0]
    scene = dataclasses.replace(
        scene, cameras=moved_cameras(dataclasses.replace(scene.cameras, camera_to_world=poses), tilted)
    )
    left = torch.arange(WIDTH).expand(HEIGHT, WIDTH) < WIDTH // 2
    timid = fitted_pose(method, scene, 3, true_image(method, scene, 3), left)
    method.poses.coordinates.data[:3] = 0.05 * torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    free = fitted_pose(method, scene, 3, true_image(method, scene, 3), left)
    assert timid.norm() < 0.2 * TILT.norm()
    assert (free + TILT).norm() < 0.5 * TILT.norm()


@pytest.mark.parametrize(("poses", "appearance"), [(True, False), (False, True)])
def test_the_fit_never_sees_what_is_scored(scene, poses, appearance, monkeypatch):
    monkeypatch.setattr(held_out, "POSE_STEPS", 3)
    method = method_for(scene, poses, appearance)
    truth = true_image(method, scene, 3)
    shown = shown_view(method, scene, 3, truth, "held-out").picture
    other = truth.clone()
    other[:, WIDTH // 2 :] = torch.rand(HEIGHT, WIDTH // 2, 3)
    assert torch.equal(shown_view(method, scene, 3, other, "held-out").picture, shown)
    other[:, : WIDTH // 2] *= 0.5
    assert not torch.equal(shown_view(method, scene, 3, other, "held-out").picture, shown)


def test_training_views_are_shown_with_what_was_learned_for_them(scene):
    method = method_for(scene, True, True)
    truth = true_image(method, scene, 1)
    with torch.no_grad():
        method.poses.coordinates[1, 2] = 0.1
        method.appearance.values[1, :3] = 0.3
    cameras = method.poses.corrected(scene.cameras)
    plain = method.renderer.render_image(method.field, cameras, 1).color
    gain = torch.exp(torch.tensor(0.2))  # the mean over three views is taken off
    torch.testing.assert_close(
        shown_view(method, scene, 1, truth, "training").picture, plain * gain - 0.0, atol=1e-5, rtol=1e-4
    )


def test_pixels_that_masks_ignore_are_not_scored(scene, tmp_path):
    method = method_for(scene, False, False)
    mask = torch.ones(HEIGHT, WIDTH, 1)
    mask[:10, :20] = 0
    write_image(tmp_path / "mask.png", mask)
    masks = MaskStore(scene.images.pictures, [None, None, None, tmp_path / "mask.png"])
    masked = dataclasses.replace(scene, masks=masks, mask_meaning="ignore", masked_views=1)
    before = evaluate(method, masked)
    photo = true_image(method, scene, 3)
    photo[:10, :20] = torch.rand(10, 20, 3)
    write_image(tmp_path / "3.png", photo)
    spoilt = dataclasses.replace(masked, images=ImageStore(scene.images.pictures, 3))
    after = evaluate(method, spoilt)
    assert after.views == before.views
    assert after.protocol == "whole pictures, without the pixels that masks ignore"
    assert evaluate(method, dataclasses.replace(spoilt, masks=None)).views[0].psnr < after.views[0].psnr - 1
    write_image(tmp_path / "mask.png", torch.zeros(HEIGHT, WIDTH, 1))
    with pytest.raises(DataError, match="leave nothing of the held-out views"):
        evaluate(method, spoilt)


def test_a_run_with_corrections_resumes_to_the_same_numbers(tmp_path):
    write_demo_scene(tmp_path / "scene", views=8, size=16)
    changes = ["training.samples_per_step=1024", "training.validate_every=0", "sampler.resolution=16"]
    changes += ["field.levels=2", "field.log2_table_size=10", "field.finest_resolution=32"]
    changes += ["refine_poses=true", "appearance=code"]
    config = configure(tmp_path / "scene", steps=8, changes=changes)
    whole = start_run(config, tmp_path / "whole")
    run(whole)
    stops = iter([False, False, False, True])
    run(start_run(config, tmp_path / "stopped"), should_stop=lambda: next(stops))
    again = dataclasses.replace(whole, folder=dataclasses.replace(whole.folder, path=tmp_path / "stopped"))
    again = dataclasses.replace(again, method=config.method.build(again.scene))
    assert run(again, resume=True).step == 8
    one, two = (load_checkpoint(tmp_path / name / "checkpoints") for name in ("whole", "stopped"))
    names = one.model.keys() | one.optimizer.keys()
    assert {"poses.coordinates", "appearance.values", "second.poses.coordinates"} <= names
    for name, tensor in (one.model | one.optimizer).items():
        assert torch.equal(tensor, (two.model | two.optimizer)[name]), name
    assert one.model["poses.coordinates"].abs().max() > 0
    assert one.model["appearance.values"].abs().max() > 0
