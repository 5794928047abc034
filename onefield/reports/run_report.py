"""The page of one run: ``report.html`` in its folder."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from onefield.configs.command import train_command
from onefield.configs.runs import Run
from onefield.errors import OnefieldError
from onefield.files import write_atomically
from onefield.reports.charts import Line, line_chart
from onefield.reports.figures import duration, gigabytes, score_name, score_text
from onefield.reports.page import (
    Markup,
    facts,
    figure,
    folded,
    heading,
    image,
    joined,
    listing,
    page,
    paragraph,
    preformatted,
    row_of,
    section,
    slider,
    table,
)
from onefield.reports.pictures import ERROR_SHOWN, data_address, ramp_style
from onefield.reports.portrait import Portrait, portray
from onefield.reports.record import RunRecord, read_record
from onefield.training.run_folder import RunFolder
from onefield.types import Mesh

# A page that a mail carries.
LARGEST_PAGE = 10_000_000
# Held-out views with pictures: the worst, the best, and some between.
MOST_VIEWS = 6
# Longest sides of pictures in pixels that are tried in turn until the page is small enough; 0 leaves them out.
PICTURE_SIDES = (640, 480, 320, 200, 0)
# Entries of an evaluation that are told elsewhere on the page.
_NOT_MEANS = ("per_view", "step", "split", "protocol_details", "scored_from")
# More warnings than anybody reads.
MOST_WARNINGS = 60

_logger = logging.getLogger("onefield.reports")


def report_run(run: Run, mesh: Mesh | None = None) -> Path | None:
    """Writes the report of a trained run, with pictures of its geometry.

    A report never costs a run: what goes wrong becomes a warning.

    Args:
        mesh: the run's surface in its own frame, where it is known already.

    Returns:
        The page; None where it could not be written.
    """
    return _safely(run.folder, lambda: portray(run, mesh))


def report_folder(folder: RunFolder) -> Path | None:
    """Writes what a run's folder alone says, at once: for runs that were interrupted. Trouble becomes a warning."""
    return _safely(folder, lambda: None)


def _safely(folder: RunFolder, portrait: Callable[[], Portrait | None]) -> Path | None:
    try:
        return write_report(folder, portrait())
    except Exception as error:  # the run is trained and saved; nothing here may make it fail
        reason = str(error) if isinstance(error, OnefieldError) else f"{type(error).__name__}: {error}"
        _logger.warning("The report %s was not written: %s", folder.report, reason)
        _logger.debug("The report failed.", exc_info=True)
        return None


def write_report(folder: RunFolder, portrait: Portrait | None = None) -> Path:
    """Writes ``report.html`` into a run's folder.

    Args:
        portrait: pictures of the field's geometry; None leaves them out.

    Raises:
        DataError: the folder's facts can't be read.
        ResourceError: the page can't be written.
    """
    record = read_record(folder)
    write_atomically(folder.report, fitted(lambda side: report_page(record, portrait, side)))
    return folder.report


def fitted(build: Callable[[int], bytes]) -> bytes:
    """The first page below `LARGEST_PAGE`, from large pictures to none."""
    content = b""
    for side in PICTURE_SIDES:
        content = build(side)
        if len(content) < LARGEST_PAGE:
            break
    return content


def report_page(record: RunRecord, portrait: Portrait | None, picture_side: int) -> bytes:
    """The page as bytes.

    Args:
        picture_side: longest side of pictures in pixels; 0 leaves them out.
    """
    title = f"{record.scene_name}: {record.config.method.method}, {record.step} steps"
    return page(
        title,
        [
            section("Run", _run_facts(record)),
            _warnings(record, portrait),
            section("Curves", curves([(record.folder.path.name, record)])),
            section("Held-out views", *_scores(record), *_view_pictures(record, picture_side)),
            *_geometry(portrait, picture_side),
            section(
                "Repeat it",
                preformatted("\n".join(_commands(record))),
                folded("All settings", preformatted(record.folder.read_config())),
            ),
        ],
    )


def _commands(record: RunRecord) -> list[str]:
    """What repeats a run: the command that began it, and the one by which it went on beyond its budget."""
    begun = shlex.join(train_command(record.config))
    budget = record.config.method.training
    if budget.seconds is not None or record.step <= budget.steps:
        return [begun]
    return [f"{begun} --output RUN", f"onefield train RUN --resume --steps {record.step}"]


def _run_facts(record: RunRecord) -> Markup:
    config, told = record.config, record.facts
    rows: list[tuple[object, object]] = [("scene", config.scene)]
    if told:
        rows.append(("format", told.get("format", "")))
        rows.append(("views", f"{len(told.get('train', []))} to train on, {len(told.get('held_out', []))} held out"))
        if told.get("held_out_rule"):
            rows.append(("held out", told["held_out_rule"]))
    if config.downscale > 1:
        rows.append(("images", f"{config.downscale} times smaller than the files"))
    rows.append(("method", config.method.method))
    took = "" if record.seconds is None else f" in {duration(record.seconds)}"
    budget = config.method.training
    planned = f"{budget.steps} steps" if budget.seconds is None else duration(budget.seconds)
    rows.append(("trained", f"{record.step} steps{took} (budget: {planned})"))
    rows.append(("machine", machine_text(record.machine)))
    rows.append(("folder", record.folder.path.resolve()))
    return facts(rows)


def machine_text(machine: dict | None) -> str:
    """The machine that trained, in a line."""
    if machine is None:
        return "not recorded"
    parts = [f"{machine.get('platform')}", f"{machine.get('cores')} cores"]
    if machine.get("memory_total"):
        parts.append(f"{gigabytes(machine['memory_total'])} memory")
    parts.append(f"Python {machine.get('python')}, PyTorch {machine.get('torch')}")
    for accelerator in machine.get("accelerators", []):
        if accelerator.get("available") and "device" in str(accelerator.get("name")):
            parts.append(str(accelerator.get("detail")))
    return "; ".join(parts)


def _warnings(record: RunRecord, portrait: Portrait | None) -> Markup:
    told = [*record.warnings, *(portrait.trouble if portrait else ())]
    if record.scored_elsewhere:
        told.append(record.scored_elsewhere)
    if not told:
        return section("Warnings", paragraph("None."))
    more = len(told) - MOST_WARNINGS
    shown = told[:MOST_WARNINGS] + ([f"... and {more} more in log.txt"] if more > 0 else [])
    return section("Warnings", listing(shown))


def curves(records: list[tuple[str, RunRecord]], along: str = "step") -> Markup:
    """Loss and quick held-out PSNR of runs along steps or seconds."""
    axis = "training step" if along == "step" else "seconds of training"
    several = len(records) > 1

    def lines(quantity: str) -> list[Line]:
        return [Line(name, record.curve(quantity, along)) for name, record in records]

    return row_of(
        [
            line_chart("Loss", axis, "loss", lines("loss"), logarithmic=True, legend=several),
            line_chart("Held-out PSNR on a few rays", axis, "PSNR, dB", lines("held_out_psnr"), legend=several),
        ]
    )


def score_keys(rows: list[dict]) -> list[str]:
    """The scores that any of the views has, in their order."""
    known = dict.fromkeys(key for row in rows for key, value in row.items() if value is not None)
    return [key for key in known if key != "view"]


def _scores(record: RunRecord) -> Iterator[Markup]:
    if record.evaluation is None:
        none_held_out = record.facts and not record.facts.get("held_out")
        reason = "No view was held out." if none_held_out else "Not scored yet: onefield evaluate scores it."
        yield paragraph(f"{reason} There are no figures of quality.")
        return
    means = {key: value for key, value in record.evaluation.items() if key not in _NOT_MEANS}
    yield facts([(score_name(key), score_text(key, value)) for key, value in means.items()])
    if record.protocol_details:
        yield heading("How they were scored")
        yield listing(record.protocol_details)
    rows = record.views
    if not rows:
        return
    yield heading("Every view, worst first")
    keys = score_keys(rows)
    yield table(
        ["view", *map(score_name, keys)],
        [[row["view"], *(score_text(key, row.get(key)) for key in keys)] for row in rows],
    )


def _view_pictures(record: RunRecord, side: int) -> Iterator[Markup]:
    rows = record.views
    if not rows or not side:
        return
    chosen = dict.fromkeys(round(place) for place in np.linspace(0, len(rows) - 1, min(MOST_VIEWS, len(rows))))
    legend = Markup(f'<span class="scale" style="{ramp_style()}"></span>')
    parts = []
    for number in chosen:
        name = str(rows[number]["view"])
        pictures = record.pictures(name)
        if pictures is None:
            continue
        parts.append(heading(f"{name}: PSNR {score_text('psnr', rows[number].get('psnr'))} dB"))
        truth = image(data_address(pictures.truth, side), f"photo of {name}")
        rendered = image(data_address(pictures.rendered, side), f"rendering of {name}")
        error = image(data_address(pictures.error, side), f"error of {name}")
        fitted_to = "; faded: the half that the view was fitted to" if record.scored_from else ""
        caption = joined(["error, mean over the channels: 0", legend, f"{ERROR_SHOWN} or more{fitted_to}"])
        parts.append(row_of([slider(truth, rendered, "left: photo; right: rendering"), figure(error, caption)]))
    if parts:
        yield heading(f"Pictures of {len(parts) // 2} of {len(rows)} views, from the worst to the best")
        yield from parts


def _geometry(portrait: Portrait | None, side: int) -> Iterator[Markup]:
    if portrait is None:
        return
    legend = Markup(f'<span class="scale" style="{ramp_style()}"></span>')
    pictures = []
    for view in portrait.geometry if side else ():
        scale: object = "nothing is seen"
        if view.depths is not None:
            low, high = view.depths
            scale = joined([f"{view.view}: distance {low:.4g}", legend, f"{high:.4g} units"])
        pictures.append(figure(image(data_address(view.depth, side), f"depth of {view.view}"), scale))
        words = f"{view.view}: normals, x y z as red green blue"
        pictures.append(figure(image(data_address(view.normal, side), f"normals of {view.view}"), words))
    if pictures:
        yield section("Depth and normals", row_of(pictures))
    sides = [
        figure(image(data_address(pixels, side), f"surface, {name}"), name)
        for name, pixels in (portrait.sides if side else ())
    ]
    notes = portrait.surface or ("No surface could be extracted; the warnings say why.",)
    yield section("Surface", paragraph(" ".join(notes)), *([row_of(sides)] if sides else []))
