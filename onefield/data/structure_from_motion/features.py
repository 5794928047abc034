"""Features of pictures and matches between them, into COLMAP's database; what lies there already is not done again.

Runs in the process of `worker`: pycolmap is imported at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pycolmap

from onefield.data.structure_from_motion.job import DATABASE, PICTURES, Job, JobPicture
from onefield.data.structure_from_motion.pairs import ALL_PAIRS_UP_TO, choose_pairs, photo_likeness

# One focal length and one radial distortion: what few photos determine.
CAMERA_MODEL = "SIMPLE_RADIAL"
# Features are found on pictures of at most this side; larger ones cost time and hardly help poses.
LONGEST_SIDE = 1600
MOST_FEATURES = 8192
# Pictures a thread between two lines of progress.
_PICTURES_A_THREAD = 2
_PAIRS_A_BATCH = 60
_PAIRS_FILE = "pairs.txt"
_SEED = 0

Report = Callable[[str, int, int], None]


def extract_features(work: Path, job: Job, report: Report) -> None:
    """SIFT features of all pictures; those of one lens share a camera.

    Args:
        report: told the phase, how many are done and of how many.
    """
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = job.threads
    options.use_gpu = False
    options.max_image_size = LONGEST_SIDE
    options.sift.max_num_features = MOST_FEATURES
    done = 0
    report("features", done, len(job.pictures))
    for number, lens in enumerate(job.lenses):
        pictures = [picture for picture in job.pictures if picture.lens == number]
        for batch in _batches(pictures, _PICTURES_A_THREAD * job.threads):
            reader = pycolmap.ImageReaderOptions()
            reader.camera_model = CAMERA_MODEL
            if lens.focal is not None:
                reader.camera_params = f"{lens.focal},{lens.width / 2},{lens.height / 2},0"
            reader.existing_camera_id = _camera_of(work, pictures)
            pycolmap.extract_features(
                work / DATABASE,
                work / PICTURES,
                image_names=[picture.file for picture in batch],
                camera_mode=pycolmap.CameraMode.SINGLE,
                reader_options=reader,
                extraction_options=options,
                device=pycolmap.Device.cpu,
            )
            done += len(batch)
            report("features", done, len(job.pictures))


def match_pictures(work: Path, job: Job, report: Report) -> None:
    """Compares the pairs that `pairs` chooses and keeps the matches that agree with one geometry."""
    likeness = None
    if len(job.pictures) > ALL_PAIRS_UP_TO:
        report("likeness", 0, 1)
        likeness = photo_likeness(_descriptors(work, job.pictures))
        report("likeness", 1, 1)
    pairs = choose_pairs(len(job.pictures), likeness)
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = job.threads
    matching.use_gpu = False
    geometry = pycolmap.TwoViewGeometryOptions()
    geometry.ransac.random_seed = _SEED
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = work / _PAIRS_FILE
    done = 0
    report("matching", done, len(pairs))
    for batch in _batches(pairs, _PAIRS_A_BATCH):
        lines = [f"{job.pictures[first].file} {job.pictures[second].file}" for first, second in batch]
        (work / _PAIRS_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
        pycolmap.match_image_pairs(
            work / DATABASE,
            matching_options=matching,
            pairing_options=pairing,
            verification_options=geometry,
            device=pycolmap.Device.cpu,
        )
        done += len(batch)
        report("matching", done, len(pairs))


def _camera_of(work: Path, pictures: list[JobPicture]) -> int:
    """The camera that an earlier batch made for these pictures, or -1."""
    with pycolmap.Database.open(work / DATABASE) as database:
        for picture in pictures:
            if database.exists_image(picture.file):
                return database.read_image_with_name(picture.file).camera_id
    return -1


def _descriptors(work: Path, pictures: list[JobPicture]) -> list[np.ndarray]:
    with pycolmap.Database.open(work / DATABASE) as database:
        numbers = [database.read_image_with_name(picture.file).image_id for picture in pictures]
        return [np.asarray(database.read_descriptors(number).data, dtype=np.float32) for number in numbers]


def _batches(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))
