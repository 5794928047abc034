"""Several runs on one page: figures, curves, what their settings differ in, the same held-out views side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onefield.configs.command import flattened
from onefield.configs.reading import to_plain
from onefield.errors import UsageError
from onefield.files import write_atomically
from onefield.reports.figures import MISSING, duration, score_name, score_text
from onefield.reports.page import (
    Markup,
    figure,
    heading,
    image,
    listing,
    page,
    paragraph,
    row_of,
    section,
    table,
)
from onefield.reports.pictures import data_address
from onefield.reports.record import RunRecord, read_record
from onefield.reports.run_report import curves, fitted, machine_text
from onefield.training.run_folder import RunFolder

# Whether more is better, of the scores that get a column where a run has them.
SCORES = {"psnr": True, "ssim": True, "ms_ssim": True, "lpips": False}
MOST_VIEWS = 6


def compare_runs(folders: Sequence[RunFolder], path: Path) -> Path:
    """Writes a page with all the runs.

    Raises:
        UsageError: fewer than two runs, or one twice.
        DataError: a run's facts can't be read.
        ResourceError: the page can't be written.
    """
    places = [folder.path.resolve() for folder in folders]
    if len(places) < 2:
        raise UsageError(f"A comparison needs at least two runs, got {len(places)}; name one more.")
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UsageError(f"{place} is named twice; name each run once.")
    records = named_records(folders)
    write_atomically(path, fitted(lambda side: comparison_page(records, side)))
    return path


def named_records(folders: Sequence[RunFolder]) -> list[tuple[str, RunRecord]]:
    """Each run with the shortest end of its path that no other has."""
    parts = [folder.path.resolve().parts for folder in folders]
    length = next(n for n in range(1, max(map(len, parts)) + 1) if len({part[-n:] for part in parts}) == len(parts))
    return [("/".join(part[-length:]), read_record(folder)) for part, folder in zip(parts, folders, strict=True)]


def comparison_page(records: list[tuple[str, RunRecord]], picture_side: int) -> bytes:
    """The page as bytes.

    Args:
        picture_side: longest side of pictures in pixels; 0 leaves them out.
    """
    scenes = list(dict.fromkeys(record.scene_name for _, record in records))
    return page(
        f"Comparison of {len(records)} runs of {', '.join(scenes)}",
        [
            section("Figures", *_figures(records)),
            section("Settings that differ", _differences(records)),
            section("Curves over training steps", curves(records)),
            section("Curves over training time", curves(records, "seconds")),
            section("The same held-out views", *_views(records, picture_side)),
        ],
    )


def _figures(records: list[tuple[str, RunRecord]]) -> list[Markup]:
    keys = [key for key in SCORES if any(_score(record, key) is not None for _, record in records)]
    best = {key: _best([_score(record, key) for _, record in records], key) for key in keys}
    rows = []
    for name, record in records:
        cells: list[object] = [record.scene_name, record.config.method.method, record.step]
        cells.append(MISSING if record.seconds is None else duration(record.seconds))
        for key in keys:
            score = _score(record, key)
            text = score_text(key, score)
            marked = best[key] is not None and score is not None and text == best[key]
            cells.append(Markup(f"<strong>{text} ★</strong>") if marked else text)
        rows.append([name, *cells, score_text("views", (record.evaluation or {}).get("views"))])
    header = ["run", "scene", "method", "steps", "time", *map(score_name, keys), "held-out views"]
    notes = _caveats(records)
    machines = [f"{name}: {machine_text(record.machine)}" for name, record in records]
    return [table(header, rows), paragraph("★ best of its column."), *notes, heading("Machines"), listing(machines)]


def _score(record: RunRecord, key: str) -> float | None:
    value = (record.evaluation or {}).get(key)
    return value if isinstance(value, int | float) else None


def _best(values: list[float | None], key: str) -> str | None:
    """The text of the best value, where there are several to choose from."""
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return None
    return score_text(key, max(known) if SCORES[key] else min(known))


def _caveats(records: list[tuple[str, RunRecord]]) -> list[Markup]:
    """What makes the figures of different runs hard to compare."""
    told = []
    scored = [(name, record) for name, record in records if record.evaluation is not None]
    for what, of in (
        ("scenes", lambda record: record.scene_name),
        ("image sizes", lambda record: record.config.downscale),
        ("held-out views", lambda record: sorted(str(row["view"]) for row in record.views)),
        ("protocols", lambda record: record.evaluation.get("protocol")),
        ("backgrounds", lambda record: record.evaluation.get("background")),
    ):
        if len({repr(of(record)) for _, record in scored}) > 1:
            told.append(f"The runs were scored on different {what}: their figures can't be held against each other.")
    told += [f"{name}: {record.scored_elsewhere}" for name, record in scored if record.scored_elsewhere]
    told += [f"{name} was not scored." for name, record in records if record.evaluation is None]
    return [paragraph(text) for text in told]


def _differences(records: list[tuple[str, RunRecord]]) -> Markup:
    settings = [flattened(to_plain(record.config)) for _, record in records]
    keys = dict.fromkeys(key for values in settings for key in values)
    rows = []
    for key in keys:
        texts = [str(values[key]) if key in values else MISSING for values in settings]
        if len(set(texts)) > 1:
            rows.append([key.removeprefix("method."), *texts])
    if not rows:
        return paragraph("None: the runs had the same settings.")
    return table(["setting", *(name for name, _ in records)], rows)


def _views(records: list[tuple[str, RunRecord]], side: int) -> list[Markup]:
    if len({record.scene_name for _, record in records}) > 1:
        return [paragraph("The runs are of different scenes, so no view is the same.")]
    scores = [{str(row["view"]): row.get("psnr") for row in record.views} for _, record in records]
    # the first run's worst first
    common = [view for view in scores[0] if all(view in others for others in scores[1:])]
    if not common:
        return [paragraph("No held-out view was scored in all of the runs.")]
    shown = [[view, *(score_text("psnr", score[view]) for score in scores)] for view in common]
    blocks = [heading("PSNR of every common view, dB"), table(["view", *(name for name, _ in records)], shown)]
    places = np.linspace(0, len(common) - 1, min(MOST_VIEWS, len(common)))
    for view in dict.fromkeys(common[round(place)] for place in places) if side else ():
        blocks += _side_by_side(records, view, [score[view] for score in scores], side)
    return blocks


def _side_by_side(
    records: list[tuple[str, RunRecord]], view: str, scores: list[float | None], side: int
) -> list[Markup]:
    found = [(name, record.pictures(view), score) for (name, record), score in zip(records, scores, strict=True)]
    pictured = [(name, pictures, score) for name, pictures, score in found if pictures is not None]
    if not pictured:
        return []
    figures = [figure(image(data_address(pictured[0][1].truth, side), f"photo of {view}"), "photo")]
    errors = []
    for name, pictures, score in pictured:
        words = f"{name}: PSNR {score_text('psnr', score)} dB"
        figures.append(figure(image(data_address(pictures.rendered, side), f"{view} by {name}"), words))
        errors.append(figure(image(data_address(pictures.error, side), f"error of {view} by {name}"), f"error, {name}"))
    return [heading(view), row_of(figures), row_of(errors)]
