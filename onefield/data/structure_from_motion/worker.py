"""The process that reconstructs: ``python -m onefield.data.structure_from_motion.worker FOLDER``.

A process of its own, because pycolmap brings its own OpenMP beside PyTorch's, ends on some errors, and does not
listen to signals in the middle of a phase. It reads the folder's job.json, writes events to stdout, a JSON object a
line, and result.json at the end. It ends when its standard input does, so it never outlives who started it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pycolmap

from onefield.data.structure_from_motion.features import extract_features, match_pictures
from onefield.data.structure_from_motion.given_frame import GivenFrame, frame_of
from onefield.data.structure_from_motion.job import DATABASE, MODEL, Job, JobResult, PictureOutcome
from onefield.data.structure_from_motion.mapping import Attempt, climb
from onefield.data.structure_from_motion.upright import find_up, turn_upright

POINTS_FILE = "points.ply"


def main(folder: str) -> int:
    """Runs the job of a folder; returns the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work = Path(folder)
    try:
        job = Job.read(work)
        pycolmap.set_random_seed(0)
        extract_features(work, job, _report)
        match_pictures(work, job, _report)
        attempt = climb(work, job, _report, _note)
        _result(work, job, attempt).write(work)
    except Exception as error:
        _say({"event": "error", "text": f"{type(error).__name__}: {' '.join(str(error).split())}"})
        raise
    return 0


def _end_with_parent() -> None:
    # not through sys.stdin: a thread that waits in its buffer makes the interpreter abort when it ends
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _say(event: dict[str, object]) -> None:
    print(json.dumps(event), flush=True)


def _report(phase: str, done: int, total: int) -> None:
    _say({"event": "progress", "phase": phase, "done": done, "total": total})


def _note(text: str) -> None:
    _say({"event": "note", "text": text})


def _result(work: Path, job: Job, attempt: Attempt) -> JobResult:
    model = attempt.models[0] if attempt.models else None
    registered = set() if model is None else {image.name for image in _registered(model)}
    outcomes = _outcomes(work, job, registered)
    if model is None:
        return JobResult(outcomes, attempt.name, [])
    frame = _given_frame(job, model)
    turn, up_source = np.eye(3), "the given poses"
    if frame is not None:
        model.transform(pycolmap.Sim3d(frame.scale, pycolmap.Rotation3d(frame.turn), frame.shift))
    if frame is None or not job.given_z_up:
        up = find_up(_poses(model), _points(model))
        up_source = up.source if job.up == "auto" else f"{up.source}, then its axis {job.up}"
        turn = turn_upright(up.direction, "z" if job.up == "auto" else job.up)
        model.transform(pycolmap.Sim3d(1.0, pycolmap.Rotation3d(turn), np.zeros(3)))
    names = {picture.file: picture.name for picture in job.pictures}
    for image in _registered(model):
        image.name = names[image.name]
    target = work / MODEL
    target.mkdir(exist_ok=True)
    model.write_binary(target)
    model.export_PLY(work / POINTS_FILE)
    return JobResult(
        outcomes,
        attempt.name,
        [found.num_reg_images() for found in attempt.models],
        float(model.compute_mean_reprojection_error()),
        model.num_points3D(),
        up_source,
        (turn if frame is None else turn @ frame.turn).tolist(),
        None if frame is None else (frame.degrees, frame.distance),
    )


def _given_frame(job: Job, model: pycolmap.Reconstruction) -> GivenFrame | None:
    """The frame of the poses that came along; said aloud where there are some and they make none."""
    given = {picture.file: picture.given for picture in job.pictures if picture.given is not None}
    if not given or job.up != "auto":
        return None
    both = [
        (image.cam_from_world().inverse().matrix(), given[image.name])
        for image in _registered(model)
        if image.name in given
    ]
    frame = frame_of(*(np.array(poses) for poses in zip(*both, strict=True))) if both else None
    if frame is None:
        _note("the poses that came along don't agree with the pictures; the scene gets a frame of its own")
    return frame


def _registered(model: pycolmap.Reconstruction) -> list[pycolmap.Image]:
    return [model.image(number) for number in model.reg_image_ids()]


def _poses(model: pycolmap.Reconstruction) -> np.ndarray:
    return np.stack([image.cam_from_world().inverse().matrix() for image in _registered(model)])


def _points(model: pycolmap.Reconstruction) -> np.ndarray:
    points = [point.xyz for point in model.points3D.values()]
    return np.stack(points) if points else np.zeros((0, 3))


def _outcomes(work: Path, job: Job, registered: set[str]) -> list[PictureOutcome]:
    least = pycolmap.TwoViewGeometryOptions().min_num_inliers
    with pycolmap.Database.open(work / DATABASE) as database:
        numbers = {image.image_id: image.name for image in database.read_all_images()}
        features = {name: database.num_keypoints_for_image(number) for number, name in numbers.items()}
        partners: dict[str, set[str]] = {name: set() for name in numbers.values()}
        for pair, inliers in zip(*database.read_two_view_geometry_num_inliers(), strict=True):
            first, second = (numbers[number] for number in pycolmap.pair_id_to_image_pair(pair))
            if inliers >= least:
                partners[first].add(second)
                partners[second].add(first)
    return [
        PictureOutcome(
            picture.name,
            picture.file in registered,
            features.get(picture.file, 0),
            len(partners.get(picture.file, ())),
            len(partners.get(picture.file, set()) & registered),
        )
        for picture in job.pictures
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
