"""From photos or a video to a scene's folder: look, estimate, reconstruct, put together, publish.

All work happens in a folder beside the output (``.NAME.processing``), which stays when the work is interrupted and
lets the next call go on; the output appears by one renaming when it is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from onefield.data.dataset_paths import is_file
from onefield.data.formats import recognise
from onefield.data.structure_from_motion.cost import check_disk, estimate
from onefield.data.structure_from_motion.given_frame import usable_pose
from onefield.data.structure_from_motion.job import PICTURES, Job, JobLens, JobPicture, JobResult
from onefield.data.structure_from_motion.outcome import LeftOut, groups_apart, left_out
from onefield.data.structure_from_motion.photos import FEWEST_PHOTOS, VIDEO_SUFFIXES, Photo, find_photos
from onefield.data.structure_from_motion.pictures import store_picture, stored_suffix
from onefield.data.structure_from_motion.runner import Phase, check_installed, run_worker
from onefield.data.structure_from_motion.upright import AXES
from onefield.data.structure_from_motion.video_frames import extract_frames
from onefield.data.structure_from_motion.work_folder import locked_work_folder
from onefield.data.structure_from_motion.writing import compose_scene, publish
from onefield.errors import DataError, UsageError, nearest_name
from onefield.files import make_folder, write_atomically

RECORD = "processing.json"
DEFAULT_ROOT = Path("scenes")
DEFAULT_FRAMES = 120
_SCHEMA = 1
_HASHED_AT_ONCE = 1 << 20
_STORED_FRAMES = "frames.json"


@dataclass(frozen=True)
class Processed:
    """A finished scene.

    Attributes:
        scene: its folder.
        pictures, registered: how many were usable, and how many have a pose.
        error: mean reprojection error, pixels.
        points: sparse points.
        up_source: what the up direction was found from.
        left_out: pictures without a pose, and why.
        warnings: one sentence each.
        given: degrees and units that poses which came with the photos differ by from the found ones, whose frame is
            then theirs (medians); None where none came, or they don't agree with the pictures.
        known: it was there already.
    """

    scene: Path
    pictures: int
    registered: int
    error: float
    points: int
    up_source: str
    left_out: list[LeftOut]
    warnings: list[str]
    given: tuple[float, float] | None = None
    known: bool = False


@dataclass(frozen=True)
class Request:
    """What to process.

    Attributes:
        source: folder of photos, or a video. Poses that came with photos, in any format of `formats`, are found again
            from the pictures; the scene keeps their place, heading and units, as far as they agree with the pictures.
        output: the scene's folder; None makes ``scenes/NAME``.
        frames: to take from a video at most.
        up: ``"auto"``, or the axis of the frame found by itself that should point up, which also leaves given frames.
    """

    source: Path
    output: Path | None = None
    frames: int = DEFAULT_FRAMES
    up: str = "auto"

    def __post_init__(self) -> None:
        if self.up != "auto" and self.up not in AXES:
            raise UsageError(f"Unknown up axis '{self.up}': {nearest_name(self.up, ('auto', *AXES))}.")
        if self.frames < FEWEST_PHOTOS:
            raise UsageError(f"A scene needs at least {FEWEST_PHOTOS} frames, got {self.frames}.")


def process(
    request: Request,
    observe: Callable[[Phase], None] = lambda phase: None,
    note: Callable[[str], None] = lambda t: None,
) -> Processed:
    """Makes a scene from photos or a video; one that was made from the same before is recognised.

    Args:
        observe: told of each step of the work.
        note: told what the user should know on the way, a sentence each.

    Raises:
        UsageError: pycolmap is missing, or the output is in the way.
        DataError: no, too few or broken photos; or they don't give a scene.
        ResourceError: disk or memory don't suffice, or another process works there.
    """
    if not request.source.exists():
        raise DataError(f"{request.source} does not exist; give a folder of photos or a video.")
    check_installed()
    source = _look(request, note)
    output = _output(request, source.fingerprint)
    if output.exists():
        return _known(output)
    make_folder(output.parent)
    with locked_work_folder(output, source.fingerprint, note) as work:
        job = source.store(work, observe, note)
        job.write(work)
        cost = estimate([_size(job, picture) for picture in job.pictures], _bytes(work), job.threads)
        note(cost.sentence())
        check_disk(cost, work)
        result = run_worker(work, observe, note)
        if result.registered < FEWEST_PHOTOS:
            raise DataError(_failed(request.source, result))
        processed = _summary(output, result)
        scene = compose_scene(work, job, result)
        _write_record(scene, request, source.fingerprint, result, processed)
        publish(scene, output)
    return processed


def is_processed(scene: Path) -> bool:
    """Whether a scene's folder was made here, from plain photos or a video."""
    return is_file(scene / RECORD)


@dataclass(frozen=True)
class _Source:
    """What was found, what identifies it, and how to store its pictures in a work folder."""

    fingerprint: str
    store: Callable[[Path, Callable, Callable], Job]


def _look(request: Request, note: Callable[[str], None]) -> _Source:
    if is_file(request.source):
        if request.source.suffix.lower() not in VIDEO_SUFFIXES:
            known = ", ".join(VIDEO_SUFFIXES)
            raise DataError(f"{request.source} is no video ({known}); give one, or a folder of photos.")
        parts = [_digest(request.source), str(request.frames)]
        store = lambda work, observe, say: _store_video(request, work, observe, say)  # noqa: E731
    else:
        given = _given_poses(request, note)
        found = find_photos(request.source, given.files)
        for text in found.notes:
            note(text)
        parts = [f"{photo.name} {photo.digest}" for photo in found.photos]
        parts += [f"{path.name} {pose}" for path, pose in sorted(given.poses.items())]
        store = lambda work, observe, say: _store_photos(found.photos, given, request.up, work, observe)  # noqa: E731
    return _Source(hashlib.sha256("\n".join([*parts, request.up]).encode()).hexdigest(), store)


@dataclass(frozen=True)
class _Given:
    """What came with the photos.

    Attributes:
        files: resolved paths of the pictures that were posed; None where nothing came.
        poses: by these paths, the usable ones.
        z_up: their z axis is known to point up.
    """

    files: frozenset[Path] | None = None
    poses: dict[Path, list[list[float]]] = field(default_factory=dict)
    z_up: bool = False


def _given_poses(request: Request, note: Callable[[str], None]) -> _Given:
    form = recognise(request.source)
    if form is None:
        return _Given()
    try:
        capture = form.read(request.source)
    except DataError as error:
        note(f"the poses that came along can't be read and are not used: {error}")
        return _Given()
    views = {view.image_path.resolve(): view.camera_to_world for view in capture.views if is_file(view.image_path)}
    if not views:
        return _Given()
    poses = {path: pose.tolist() for path, pose in views.items() if usable_pose(pose)}
    frame = "keeps their frame and units" if request.up == "auto" else f"is turned by --up={request.up} instead"
    note(
        f"{len(views)} photos came with poses ({capture.format}), {len(poses)} of them usable: all are found again "
        f"from the pictures, and the scene {frame}"
    )
    return _Given(frozenset(views), poses, capture.z_up)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_HASHED_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def _store_photos(photos: list[Photo], given: _Given, up: str, work: Path, observe: Callable[[Phase], None]) -> Job:
    folder = make_folder(work / PICTURES)
    lenses: dict[str, int] = {}
    records: list[JobLens] = []
    pictures, taken = [], set()
    for number, photo in enumerate(photos):
        file = f"{number:05d}{stored_suffix(photo)}"
        if not (folder / file).is_file():
            store_picture(photo, folder / file)
        if photo.lens not in lenses:
            lenses[photo.lens] = len(lenses)
            records.append(JobLens(*photo.size, photo.focal))
        pose = given.poses.get(photo.path.resolve())
        pictures.append(JobPicture(file, _free_name(photo, taken), lenses[photo.lens], pose))
        observe(Phase("pictures", number + 1, len(photos)))
    return Job(pictures, records, _threads(), up, given.z_up)


def _free_name(photo: Photo, taken: set[str]) -> str:
    """The photo's own name, with the suffix that it is stored with, and a number where that is taken."""
    stem, suffix = photo.name.rsplit(".", 1)[0], stored_suffix(photo)
    own = "." + photo.name.rsplit(".", 1)[1]
    if own.lower() == suffix or (own.lower(), suffix) == (".jpeg", ".jpg"):
        suffix = own
    name, number = stem + suffix, 2
    while name.lower() in taken:
        name, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(name.lower())
    return name


def _store_video(request: Request, work: Path, observe: Callable[[Phase], None], note: Callable[[str], None]) -> Job:
    from onefield.data.images import read_header

    folder = make_folder(work / PICTURES)
    if not (work / _STORED_FRAMES).is_file():
        for leftover in folder.iterdir():
            leftover.unlink()
        chosen = extract_frames(
            request.source, folder, request.frames, lambda done, total: observe(Phase("frames", done, total))
        )
        note(
            f"{len(chosen.indices)} of {chosen.total} frames kept; {chosen.blurred} blurred and {chosen.repeated} "
            "nearly repeated ones left out"
        )
        write_atomically(work / _STORED_FRAMES, json.dumps(chosen.indices).encode())
    files = sorted(path.name for path in folder.iterdir())
    header = read_header(folder / files[0])
    pictures = [JobPicture(file, file, 0) for file in files]
    return Job(pictures, [JobLens(header.width, header.height, None)], _threads(), request.up)


def _threads() -> int:
    return max(1, torch.get_num_threads())


def _size(job: Job, picture: JobPicture) -> tuple[int, int]:
    lens = job.lenses[picture.lens]
    return lens.width, lens.height


def _bytes(work: Path) -> int:
    return sum(path.stat().st_size for path in (work / PICTURES).iterdir())


def _output(request: Request, fingerprint: str) -> Path:
    """Where the scene goes; without a wish, a name under ``scenes`` that is free or holds this very scene."""
    if request.output is not None:
        output = request.output.resolve()
        if output.exists() and _recorded(output) != fingerprint:
            raise UsageError(
                f"{request.output} exists and was not made from exactly these photos and options; choose another "
                "--output, or remove it."
            )
        return output
    name = request.source.resolve().stem if is_file(request.source) else request.source.resolve().name
    base = (DEFAULT_ROOT / (name or "scene")).resolve()
    output, number = base, 2
    while output.exists() and _recorded(output) != fingerprint:
        output, number = base.with_name(f"{base.name}-{number}"), number + 1
    return output


def _recorded(scene: Path) -> str | None:
    try:
        record = json.loads((scene / RECORD).read_text(encoding="utf-8"))
        return record["fingerprint"] if record["schema"] == _SCHEMA else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _known(scene: Path) -> Processed:
    try:
        record = json.loads((scene / RECORD).read_text(encoding="utf-8"))
        figures = record["figures"]
        return Processed(
            scene,
            figures["pictures"],
            figures["registered"],
            figures["error"],
            figures["points"],
            record["up"]["source"],
            [LeftOut(**item) for item in record["left_out"]],
            record["warnings"],
            record.get("given"),
            known=True,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{scene / RECORD} can't be read ({error!r}); remove {scene} and process again.") from error


def _summary(output: Path, result: JobResult) -> Processed:
    apart = groups_apart(result)
    return Processed(
        output,
        len(result.pictures),
        result.registered,
        result.error,
        result.points,
        result.up_source,
        left_out(result),
        [apart] if apart else [],
        result.given,
    )


def _write_record(scene: Path, request: Request, fingerprint: str, result: JobResult, done: Processed) -> None:
    record = {
        "schema": _SCHEMA,
        "fingerprint": fingerprint,
        "source": request.source.name,
        "attempt": result.attempt,
        "up": {"asked": request.up, "source": result.up_source, "axis": "z", "turn_from_reconstruction": result.turn},
        "figures": {
            "pictures": done.pictures,
            "registered": done.registered,
            "error": done.error,
            "points": done.points,
        },
        "given": done.given,
        "left_out": [vars(item) for item in done.left_out],
        "warnings": done.warnings,
    }
    write_atomically(scene / RECORD, json.dumps(record, indent=1).encode())


def _failed(source: Path, result: JobResult) -> str:
    missing = left_out(result)
    reasons: dict[tuple[str, str], int] = {}
    for item in missing:
        reasons[item.reason, item.cure] = reasons.get((item.reason, item.cure), 0) + 1
    listed = "; ".join(f"{reason} in {count} ({cure})" for (reason, cure), count in reasons.items())
    return f"No scene could be made from the {len(result.pictures)} photos of {source}: {listed}."
