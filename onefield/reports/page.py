"""The elements of a page. Whatever is no `Markup` is text and is escaped when it is put on the page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib import resources

# Nothing is loaded from anywhere, whatever a name in a data set may contain.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Markup(str):
    """HTML that is put on a page as it is."""


def markup(content: object) -> Markup:
    """Text escaped, also for use inside attributes; `Markup` as it is."""
    return content if isinstance(content, Markup) else Markup(html.escape(str(content), quote=True))


def joined(parts: Iterable[object]) -> Markup:
    """One after the other."""
    return Markup("\n".join(markup(part) for part in parts))


def section(title: object, *blocks: object) -> Markup:
    """Blocks under a heading; nothing where there are no blocks."""
    return Markup(f"<section>\n<h2>{markup(title)}</h2>\n{joined(blocks)}\n</section>") if blocks else Markup("")


def heading(title: object) -> Markup:
    """Of a part of a section."""
    return Markup(f"<h3>{markup(title)}</h3>")


def paragraph(text: object) -> Markup:
    """A paragraph."""
    return Markup(f"<p>{markup(text)}</p>")


def listing(items: Iterable[object]) -> Markup:
    """Points, one below the other."""
    return Markup("<ul>\n" + "\n".join(f"<li>{markup(item)}</li>" for item in items) + "\n</ul>")


def preformatted(text: object) -> Markup:
    """Text in its own lines: commands, settings."""
    return Markup(f'<pre tabindex="0">{markup(text)}</pre>')


def folded(summary: object, *blocks: object) -> Markup:
    """Blocks that show when the summary is clicked."""
    return Markup(f"<details><summary>{markup(summary)}</summary>\n{joined(blocks)}\n</details>")


def facts(rows: Iterable[tuple[object, object]]) -> Markup:
    """Names and values, a pair a row."""
    lines = [f'<tr><th scope="row">{markup(name)}</th><td>{markup(value)}</td></tr>' for name, value in rows]
    return Markup('<table class="facts">\n' + "\n".join(lines) + "\n</table>")


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Rows below column names; the first cell of a row names it."""
    head = "".join(f'<th scope="col">{markup(name)}</th>' for name in header)
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td>{markup(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{markup(first)}</th>{cells}</tr>')
    body = "\n".join(lines)
    return Markup(
        f'<div class="wide" tabindex="0"><table class="figures">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def image(source: str, description: str) -> Markup:
    """A picture from a ``data:`` address."""
    return Markup(f'<img src="{markup(source)}" alt="{markup(description)}">')


def figure(content: Markup, caption: object) -> Markup:
    """A picture or drawing with words below."""
    return Markup(f"<figure>{content}<figcaption>{markup(caption)}</figcaption></figure>")


def row_of(figures: Iterable[Markup]) -> Markup:
    """Figures side by side, as many as fit."""
    return Markup('<div class="row">\n' + "\n".join(figures) + "\n</div>")


def slider(below: Markup, above: Markup, caption: object) -> Markup:
    """Two pictures of one size: side by side, or, where scripts run, one over the other with a slider between."""
    return Markup(
        f'<figure class="slider"><div class="pair">{below}{above}</div>'
        '<input type="range" min="0" max="100" value="50" aria-label="How much of the right picture covers the left">'
        f"<figcaption>{markup(caption)}</figcaption></figure>"
    )


def page(title: str, blocks: Iterable[object]) -> bytes:
    """A whole page: its style and the slider's script are inside."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<link rel="icon" href="data:,">\n'
        f"<title>{markup(title)}</title>\n<style>\n{_source('report.css')}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{markup(title)}</h1>\n{joined(blocks)}\n</main>\n<script>\n{_source('report.js')}</script>\n"
        "</body>\n</html>\n"
    ).encode("utf-8", errors="replace")  # file names may hold bytes that are no text


def _source(name: str) -> str:
    return resources.files("onefield.reports").joinpath(name).read_text(encoding="utf-8")
