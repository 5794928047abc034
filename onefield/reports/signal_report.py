"""Fields compared on signals: a table for machines, and a page with tables and charts."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from onefield.files import write_atomically
from onefield.reports.charts import Line, line_chart
from onefield.reports.figures import MISSING
from onefield.reports.page import (
    Markup,
    facts,
    folded,
    joined,
    listing,
    markup,
    page,
    paragraph,
    preformatted,
    row_of,
    section,
    table,
)
from onefield.training.signal_bench import Cell, RateSummary, Result, Summary, by_rate, summarised

_Key = tuple[str, str, float | None]
_Value = TypeVar("_Value")


def write_signal_report(results: dict[Cell, Result], folder: Path, command: str) -> list[Path]:
    """Writes ``results.csv`` (a line a cell), ``results.json`` (also means over seeds, and by rate) and ``bench.html``.

    Args:
        command: that makes the same comparison again.

    Raises:
        ResourceError: a file can't be written.
    """
    summaries = summarised(results)
    written = {
        "results.csv": _table(results).encode(),
        "results.json": _plain(results, summaries, command).encode(),
        "bench.html": signal_page(results, summaries, command),
    }
    for name, content in written.items():
        write_atomically(folder / name, content)
    return [folder / name for name in written]


def _table(results: dict[Cell, Result]) -> str:
    text = io.StringIO()
    rows = [_row(cell, result) for cell, result in results.items()]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(cell: Cell, result: Result) -> dict[str, object]:
    """One flat record; what was allowed and asked for is named so."""
    row, found = asdict(cell), asdict(result)
    row["allowed_parameters"], row["asked_steps"], row["asked_seconds"] = (
        row.pop(name) for name in ("parameters", "steps", "seconds")
    )
    return row | found


def _plain(results: dict[Cell, Result], summaries: Sequence[Summary], command: str) -> str:
    content = {
        "command": command,
        "cells": [_row(cell, result) for cell, result in results.items()],
        "summaries": [asdict(summary) for summary in summaries],
        "by_rate": [asdict(summary) for summary in by_rate(results)],
    }
    return json.dumps(content, indent=1) + "\n"


def signal_page(results: dict[Cell, Result], summaries: Sequence[Summary], command: str) -> bytes:
    """The page as bytes."""
    tasks = _unique(summary.cell.task for summary in summaries)
    swept = by_rate(results) if len({cell.rate for cell in results}) > 1 else []
    blocks: list[Markup] = [section("What was compared", *_opening(results, summaries, command))]
    for task in tasks:
        chosen = [summary for summary in summaries if summary.cell.task == task]
        rates = [summary for summary in swept if summary.task == task]
        blocks.append(section(f"Task: {task}", *_task(chosen), *_sweep(rates)))
    failed = [(cell, result.error) for cell, result in results.items() if result.error]
    errors = _unique(f"{cell.field} on {_named(cell)}: {error}" for cell, error in failed)
    if errors:
        blocks.append(section("Without figures", listing(errors)))
    return page("Fields on signals", blocks)


def _opening(results: dict[Cell, Result], summaries: Sequence[Summary], command: str) -> list[Markup]:
    rates = sorted({cell.rate for cell in results})
    seeds = len({cell.seed for cell in results})
    rows = [
        ("fits", f"{len(results)}, of which {sum(result.psnr is None for result in results.values())} without figures"),
        ("signals", ", ".join(_unique(_signal(cell.signal) for cell in results))),
        ("samples of a signal", f"about {next(iter(results)).side ** 2:,}"),
        ("learning rates", f"{', '.join(f'{rate:g}' for rate in rates)} times the recipe's; the best mean is shown"),
        ("seeds", f"{seeds}{'; figures are means over them' if seeds > 1 else ''}"),
        ("training time in all", f"{sum(result.seconds or 0 for result in results.values()):,.0f} s"),
    ]
    words = (
        "PSNR in dB over all samples of the signal itself. Each field is as large as the number of parameters allows, "
        "and trained by its recipe. Few steps favour who learns fast, and a ranking by one rate or one seed is an "
        "anecdote: sweep rates and seeds before you draw conclusions."
    )
    return [facts(rows), paragraph(words), folded("The same again", preformatted(command))]


def _task(summaries: Sequence[Summary]) -> list[Markup]:
    groups: dict[_Key, list[Summary]] = {}
    for summary in summaries:
        groups.setdefault(_key(summary), []).append(summary)
    names = _unique(summary.cell.field for summary in summaries)
    blocks = [_wins(groups, names), _figures(groups, names)]
    if any(len({summary.cell.parameters for summary in group}) > 1 for group in groups.values()):
        charts = [
            _chart(group, names, _signal_text(key), "parameters", lambda summary: summary.parameters)
            for key, group in groups.items()
        ]
        blocks += [Markup("<h3>PSNR by parameters</h3>"), row_of(charts)]
    charts = [
        _chart(group, names, _signal_text(key), "training time, s", lambda summary: summary.seconds)
        for key, group in groups.items()
    ]
    blocks += [Markup("<h3>PSNR by training time, a point a number of parameters</h3>"), row_of(charts)]
    bands = Counter(key[1] for key in groups)
    banded = [_band_chart(groups, names, signal) for signal, count in bands.items() if count > 1]
    if banded:
        blocks += [Markup("<h3>PSNR above the best constant's, by bandwidth</h3>"), row_of(banded)]
    return blocks


def _sweep(summaries: Sequence[RateSummary]) -> list[Markup]:
    """What each factor on the learning rates brings each field."""
    if not summaries:
        return []
    rates = sorted({summary.rate for summary in summaries})
    rows = []
    for name, budget in _unique((summary.field, summary.parameters) for summary in summaries):
        found = {each.rate: each for each in summaries if (each.field, each.parameters) == (name, budget)}
        most = max((each.psnr for each in found.values() if each.psnr is not None), default=None)
        cells = [_rate_figure(found[rate], most) if rate in found else MISSING for rate in rates]
        rows.append((name, f"{budget:,}", *cells))
    header = ["mean PSNR over signals, dB", "parameters", *(f"{rate:g} x the recipe's rates" for rate in rates)]
    words = "Deviations are those of the means over seeds. A dash: a fit has no figure, such as one that diverged."
    return [Markup("<h3>PSNR by learning rate</h3>"), table(header, rows), paragraph(words)]


def _rate_figure(summary: RateSummary, most: float | None) -> Markup:
    if summary.psnr is None:
        return markup(MISSING)
    text = markup(f"{summary.psnr:.1f}" + (f" ± {summary.deviation:.1f}" if summary.seeds > 1 else ""))
    return Markup(f"<strong>{text}</strong>") if summary.psnr == most else text


def _wins(groups: dict[_Key, list[Summary]], names: Sequence[str]) -> Markup:
    """How often each field is the best, by number of parameters."""
    budgets = sorted({summary.cell.parameters for group in groups.values() for summary in group})
    best = {
        (key, budget): max(rivals, key=lambda summary: summary.psnr).cell.field
        for key, group in groups.items()
        for budget in budgets
        if (rivals := [summary for summary in group if summary.cell.parameters == budget])
    }
    rows = []
    for name in names:
        counts = [sum(winner == name for (_, at), winner in best.items() if at == budget) for budget in budgets]
        rows.append((name, *counts, sum(counts)))
    rows.sort(key=lambda row: -row[-1])
    shown = table(["best on so many signals", *(f"{budget:,} parameters" for budget in budgets), "in all"], rows)
    return joined([shown, paragraph("Bands of a signal count as signals of their own.")])


def _figures(groups: dict[_Key, list[Summary]], names: Sequence[str]) -> Markup:
    """A row a signal and number of parameters, or, where there are more fields than of these, a row a field."""
    header = ["PSNR, dB", "parameters", "best constant", *names]
    rows = []
    for key, group in groups.items():
        for budget in sorted({summary.cell.parameters for summary in group}):
            found = {summary.cell.field: summary for summary in group if summary.cell.parameters == budget}
            most = max(summary.psnr for summary in found.values())
            constant = f"{next(iter(found.values())).mean_psnr:.1f}"
            cells = [_figure(found[name], found[name].psnr == most) if name in found else MISSING for name in names]
            rows.append([_signal_text(key), f"{budget:,}", constant, *cells])
    if len(names) > len(rows):
        header, *rows = zip(header, *rows, strict=True)
    return table(header, rows)


def _figure(summary: Summary, best: bool) -> Markup:
    text = f"{summary.psnr:.1f}"
    text += f" ± {summary.deviation:.1f}" if summary.seeds > 1 else ""
    text += f" (IoU {summary.iou:.3f})" if summary.iou is not None else ""
    text += f" at {summary.cell.rate:g}x" if summary.rates > 1 else ""
    return Markup(f"<strong>{markup(text)}</strong>") if best else markup(text)


def _chart(
    group: Sequence[Summary], names: Sequence[str], title: str, x_name: str, x: Callable[[Summary], float]
) -> Markup:
    lines = []
    for name in names:
        points = sorted((x(summary), summary.psnr) for summary in group if summary.cell.field == name)
        lines.append(Line(name, points))
    return line_chart(title, x_name, "PSNR, dB", lines, logarithmic_x=True, legend=True)


def _band_chart(groups: dict[_Key, list[Summary]], names: Sequence[str], signal: str) -> Markup:
    """At the largest number of parameters."""
    members = [summary for key, group in groups.items() if key[1] == signal for summary in group]
    budget = max(summary.cell.parameters for summary in members)
    lines = [
        Line(
            name,
            sorted(
                (summary.cell.band, summary.psnr - summary.mean_psnr)
                for summary in members
                if (summary.cell.field, summary.cell.parameters) == (name, budget)
            ),
        )
        for name in names
    ]
    return line_chart(f"{_signal(signal)}, {budget:,} parameters", "band", "dB above a constant", lines, legend=True)


def _key(summary: Summary) -> _Key:
    return summary.cell.task, summary.cell.signal, summary.cell.band


def _named(cell: Cell) -> str:
    return f"{_signal_text((cell.task, cell.signal, cell.band))}, {cell.parameters:,} parameters, {cell.task}"


def _signal_text(key: _Key) -> str:
    return _signal(key[1]) if key[2] is None else f"{_signal(key[1])}, band {key[2]:g}"


def _signal(name: str) -> str:
    """Files without their folders."""
    return Path(name).name


def _unique(values: Iterable[_Value]) -> list[_Value]:
    return list(dict.fromkeys(values))
