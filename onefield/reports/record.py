"""What a run's folder says about it, read without its scene and without its tensors."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from onefield.configs.runs import RunConfig, read_config
from onefield.data.images import decode
from onefield.errors import DataError
from onefield.reports.pictures import error_colors, faded
from onefield.training.checkpoints import newest_state
from onefield.training.evaluation import picture_names
from onefield.training.run_folder import RunFolder

_LOGGED = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?:WARNING|ERROR|CRITICAL) [\w.]+: (.*)")
# A step's number is no reason to say the same thing again.
_NUMBER = re.compile(r"\d+")
_PANELS = 3
HELD_OUT = "held-out"


@dataclass(frozen=True)
class ViewPictures:
    """A held-out view as it was scored: photo, rendering, and their difference as colours, faded where not scored."""

    view: str
    truth: UInt8[np.ndarray, "H W 3"]
    rendered: UInt8[np.ndarray, "H W 3"]
    error: UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder describes it.

    Attributes:
        facts: of scene.json, empty where it is missing.
        machine: of machine.json, None where it is missing.
        step: of the newest checkpoint.
        seconds: of training until then; None where there is no checkpoint.
        measured: the lines of metrics.jsonl.
        evaluation: of the held-out views, None before the first.
        warnings: of the data set and of training, each once.
    """

    folder: RunFolder
    config: RunConfig
    facts: dict
    machine: dict | None
    step: int
    seconds: float | None
    measured: tuple[dict, ...]
    evaluation: dict | None
    warnings: tuple[str, ...]

    @property
    def scene_name(self) -> str:
        return str(self.facts.get("name") or Path(self.config.scene).name)

    @property
    def views(self) -> list[dict]:
        """Scores of the held-out views, worst PSNR first."""
        rows = (self.evaluation or {}).get("per_view")
        named = [row for row in rows or [] if isinstance(row, dict) and "view" in row]
        # PSNR is missing where it was infinite
        return sorted(named, key=lambda row: float("inf") if row.get("psnr") is None else row["psnr"])

    @property
    def scored_elsewhere(self) -> str | None:
        """A sentence where the figures are of another step than the newest checkpoint; None where they are not."""
        scored = (self.evaluation or {}).get("step", self.step)
        if scored == self.step:
            return None
        return f"The held-out views were scored at step {scored}, not at step {self.step}."

    @property
    def scored_from(self) -> float:
        """Where the scored part of each picture begins, as a share of its width."""
        share = (self.evaluation or {}).get("scored_from")
        return float(share) if isinstance(share, int | float) and 0 <= share < 1 else 0.0

    @property
    def protocol_details(self) -> list[str]:
        """What was fitted to held-out views before they were scored, a sentence for each step."""
        told = (self.evaluation or {}).get("protocol_details")
        return [str(text) for text in told] if isinstance(told, list) else []

    def curve(self, quantity: str, along: str) -> list[tuple[float | None, float | None]]:
        """A measured quantity along ``step`` or ``seconds``."""
        return [(record.get(along), record.get(quantity)) for record in self.measured]

    def pictures(self, view: str) -> ViewPictures | None:
        """The pictures of a scored view; None where they are not there."""
        names = [str(row["view"]) for row in (self.evaluation or {}).get("per_view", [])]
        path = self.folder.evaluation / dict(zip(names, picture_names(names), strict=True)).get(view, "")
        if not path.is_file():
            return None
        try:
            pixels = decode(path)[..., :3]
        except DataError:
            return None
        width = pixels.shape[1] // _PANELS
        truth, rendered = pixels[:, :width], pixels[:, width : 2 * width]
        error = faded(error_colors(truth, rendered), int(self.scored_from * width))
        return ViewPictures(view, truth, rendered, error)


def read_record(folder: RunFolder) -> RunRecord:
    """Reads what there is.

    Raises:
        DataError: the configuration, or a file of facts, can't be read.
    """
    facts = folder.read_scene() if folder.scene.is_file() else {}
    step, state = newest_state(folder.checkpoints) or (0, {})
    told = [str(warning) for warning in facts.get("warnings", [])] + _logged_warnings(folder.log)
    return RunRecord(
        folder=folder,
        config=read_config(folder),
        facts=facts,
        machine=folder.read_machine(),
        step=step,
        seconds=state.get("elapsed"),
        measured=tuple(folder.read_metrics()),
        evaluation=folder.read_evaluation(HELD_OUT),
        warnings=tuple(dict.fromkeys(told)),
    )


def _logged_warnings(log: Path) -> list[str]:
    """Messages of a log, one of each kind: the first of those that differ in numbers alone, with their count."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    messages = [found[1] for found in map(_LOGGED.fullmatch, lines) if found]
    kinds = Counter(_NUMBER.sub("#", message) for message in messages)
    first: dict[str, str] = {}
    for message in messages:
        first.setdefault(_NUMBER.sub("#", message), message)
    return [message + (f" ({kinds[kind]} like this)" if kinds[kind] > 1 else "") for kind, message in first.items()]
