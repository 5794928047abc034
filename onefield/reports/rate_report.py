"""Rate and distortion of a compressed fit on one page."""

from __future__ import annotations

from collections.abc import Sequence

from onefield.reports.charts import Line, line_chart
from onefield.reports.page import Markup, facts, page, paragraph, section, table
from onefield.training.rate_distortion import RatePoint


def rate_page(
    name: str, opening: Sequence[tuple[str, str]], files: Sequence[RatePoint], prefixes: Sequence[RatePoint], peak: str
) -> bytes:
    """A chart of quality by size, and the numbers behind it.

    Args:
        name: of the fit.
        opening: facts about it, names and values.
        files: of several sizes.
        prefixes: of one of them.
        peak: what PSNR is held against, in words.
    """
    lines = [
        Line("files of several sizes", [(point.size, point.psnr) for point in files]),
        Line("beginnings of one file", [(point.size, point.psnr) for point in prefixes]),
    ]
    chart = line_chart(
        f"{name}: quality by size", "size, bytes", f"PSNR, dB ({peak})", lines, logarithmic_x=True, legend=True
    )
    words = "A beginning of a file is what a receiver has who took no more of it; a file of that size was made for it."
    return page(
        f"Rate and distortion of {name}",
        [
            section("Curve", facts(opening), chart, paragraph(words)),
            section("Files", _numbers(files)),
            section("Beginnings of one file, by bit planes", _numbers(prefixes)),
        ],
    )


def _numbers(points: Sequence[RatePoint]) -> Markup:
    rows = [(f"{point.size:,}", f"{point.bits:.2f}", point.planes, f"{point.psnr:.2f}") for point in points]
    return table(["bytes", "bits a parameter", "bit planes", "PSNR, dB"], rows)
