"""From matches to poses: a ladder of attempts, each for what made the one before it fail; the largest model is kept.

Runs in the process of `worker`: pycolmap is imported at the top.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pycolmap

from onefield.data.structure_from_motion.job import DATABASE, PICTURES, Job

# With this share of the pictures in one model, another attempt would hardly be worth its time.
GOOD_SHARE = 0.9
_SINGLE_LENSES = "database-single.db"
_ATTEMPTS = "attempts"
_SMALLEST_MODEL = 3
_MOST_MODELS = 10
_SEED = 0

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Attempt:
    """A rung of the ladder and its models, largest first."""

    name: str
    models: list[pycolmap.Reconstruction]

    @property
    def registered(self) -> int:
        """Pictures in the largest model."""
        return self.models[0].num_reg_images() if self.models else 0


def climb(work: Path, job: Job, report: Report, note: Callable[[str], None]) -> Attempt:
    """Tries one way after another until nine of ten pictures are in one model; gives the best attempt.

    Args:
        report: told the phase, pictures registered and of how many.
        note: told in a sentence why another attempt is made.
    """
    total = len(job.pictures)
    best: Attempt | None = None
    for name, attempt in _ladder(job):
        if best is not None:
            note(f"{best.registered} of {total} pictures found their place; trying {name}")
        folder = work / _ATTEMPTS / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        report("mapping", 0, total)
        models = sorted(attempt(work, job, folder, report), key=_size, reverse=True)
        found = Attempt(name, models)
        if best is None or found.registered > best.registered:
            best = found
        if best.registered >= GOOD_SHARE * total:
            break
    return best


def _ladder(job: Job) -> list[tuple[str, Callable]]:
    rungs = [("shared intrinsics", _shared)]
    if len(job.lenses) < len(job.pictures):
        rungs.append(("intrinsics for each picture", _single))
    rungs += [("global mapping", _global), ("looser thresholds", _loose)]
    return rungs


def _size(model: pycolmap.Reconstruction) -> int:
    return model.num_reg_images()


def _options(job: Job) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = job.threads
    options.random_seed = _SEED
    options.min_model_size = _SMALLEST_MODEL
    options.max_num_models = _MOST_MODELS
    return options


def _shared(work: Path, job: Job, folder: Path, report: Report) -> list[pycolmap.Reconstruction]:
    return _incremental(work / DATABASE, work, job, folder, report, _options(job))


def _single(work: Path, job: Job, folder: Path, report: Report) -> list[pycolmap.Reconstruction]:
    database = work / _SINGLE_LENSES
    database.unlink(missing_ok=True)
    _with_single_cameras(work / DATABASE, database)
    return _incremental(database, work, job, folder, report, _options(job))


def _loose(work: Path, job: Job, folder: Path, report: Report) -> list[pycolmap.Reconstruction]:
    """For few photos with little overlap or little parallax: half to a third of the usual evidence will do."""
    options = _options(job)
    options.min_num_matches = 10
    options.mapper.init_min_num_inliers = 40
    options.mapper.init_min_tri_angle = 5.0
    options.mapper.abs_pose_min_num_inliers = 15
    options.mapper.abs_pose_min_inlier_ratio = 0.12
    options.mapper.filter_min_tri_angle = 1.0
    options.triangulation.min_angle = 1.0
    options.triangulation.ignore_two_view_tracks = False
    return _incremental(work / DATABASE, work, job, folder, report, options)


def _global(work: Path, job: Job, folder: Path, report: Report) -> list[pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads = job.threads
    options.random_seed = _SEED
    options.image_path = work / PICTURES
    options.min_model_size = _SMALLEST_MODEL
    return list(pycolmap.global_mapping(work / DATABASE, work / PICTURES, folder, options).values())


def _incremental(
    database: Path,
    work: Path,
    job: Job,
    folder: Path,
    report: Report,
    options: pycolmap.IncrementalPipelineOptions,
) -> list[pycolmap.Reconstruction]:
    total = len(job.pictures)
    registered = [0]

    def first_two() -> None:
        registered[0] = 2
        report("mapping", 2, total)

    def one_more() -> None:
        registered[0] = min(registered[0] + 1, total)
        report("mapping", registered[0], total)

    models = pycolmap.incremental_mapping(
        database,
        work / PICTURES,
        folder,
        options,
        initial_image_pair_callback=first_two,
        next_image_callback=one_more,
    )
    return list(models.values())


def _with_single_cameras(source: Path, target: Path) -> None:
    """A copy of the features and verified matches, in which each picture has a camera of its own."""
    with pycolmap.Database.open(source) as old, pycolmap.Database.open(target) as new:
        for image in old.read_all_images():
            number = image.image_id
            camera = copy.copy(old.read_camera(image.camera_id))
            camera.camera_id = number
            new.write_camera(camera, use_camera_id=True)
            rig = pycolmap.Rig()
            rig.rig_id = number
            rig.add_ref_sensor(camera.sensor_id)
            new.write_rig(rig, use_rig_id=True)
            own = pycolmap.Image(name=image.name, camera_id=number, image_id=number)
            new.write_image(own, use_image_id=True)
            frame = pycolmap.Frame()
            frame.frame_id = number
            frame.rig_id = number
            frame.add_data_id(own.data_id)
            new.write_frame(frame, use_frame_id=True)
            new.write_keypoints(number, old.read_keypoints(number))
        for pair, geometry in zip(*old.read_two_view_geometries(), strict=True):
            first, second = pycolmap.pair_id_to_image_pair(pair)
            new.write_two_view_geometry(first, second, geometry)
