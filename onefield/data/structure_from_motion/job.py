"""What the process that reconstructs is told, and what it answers: plain records, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from onefield.files import write_atomically

JOB, RESULT, DATABASE, PICTURES, MODEL = "job.json", "result.json", "database.db", "images", "model"


@dataclass(frozen=True)
class JobPicture:
    """A picture.

    Attributes:
        file: in ``images``.
        name: in the scene.
        lens: its number.
        given: the 3 x 4 camera-to-world pose that came along (OpenCV axes), if one did.
    """

    file: str
    name: str
    lens: int
    given: list[list[float]] | None = None


@dataclass(frozen=True)
class JobLens:
    """A set of intrinsics: size in pixels, and the focal length where EXIF says one."""

    width: int
    height: int
    focal: float | None


@dataclass(frozen=True)
class Job:
    """All that a reconstruction depends on; pictures in the order in which they were taken.

    Attributes:
        up: ``"auto"``, or the axis of the frame found by itself that should point up.
        given_z_up: the z axis of the given poses is known to point up.
    """

    pictures: list[JobPicture]
    lenses: list[JobLens]
    threads: int
    up: str = "auto"
    given_z_up: bool = False

    def write(self, folder: Path) -> None:
        """Writes ``job.json``."""
        write_atomically(folder / JOB, json.dumps(asdict(self)).encode())

    @staticmethod
    def read(folder: Path) -> Job:
        """Reads what `write` wrote."""
        record = json.loads((folder / JOB).read_text(encoding="utf-8"))
        pictures = [JobPicture(**item) for item in record["pictures"]]
        lenses = [JobLens(**item) for item in record["lenses"]]
        return Job(pictures, lenses, record["threads"], record["up"], record["given_z_up"])


@dataclass(frozen=True)
class PictureOutcome:
    """What became of a picture.

    Attributes:
        name: in the scene.
        registered: it has a pose.
        features: found in it.
        matched: other pictures that agree with it in geometry.
        matched_registered: those among them that have a pose.
    """

    name: str
    registered: bool
    features: int
    matched: int
    matched_registered: int


@dataclass(frozen=True)
class JobResult:
    """The answer.

    Attributes:
        pictures: one for each of the job, in its order.
        attempt: which rung of the ladder gave the model.
        models: pictures in each separate model of that attempt, largest first.
        error: mean reprojection error, pixels.
        points: in the model.
        up_source: what the up direction was found from.
        turn: rotation from the reconstruction's own frame to the scene's.
        given: degrees and units that given poses differ by from the found ones (medians); None where none came along,
            or the scene has a frame of its own.
    """

    pictures: list[PictureOutcome]
    attempt: str
    models: list[int]
    error: float = 0.0
    points: int = 0
    up_source: str = ""
    turn: list[list[float]] = field(default_factory=list)
    given: tuple[float, float] | None = None

    @property
    def registered(self) -> int:
        """How many pictures have a pose."""
        return sum(picture.registered for picture in self.pictures)

    def write(self, folder: Path) -> None:
        """Writes ``result.json``."""
        write_atomically(folder / RESULT, json.dumps(asdict(self)).encode())

    @staticmethod
    def read(folder: Path) -> JobResult:
        """Reads what `write` wrote."""
        record = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        record["pictures"] = [PictureOutcome(**item) for item in record["pictures"]]
        return JobResult(**record)
