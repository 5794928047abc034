"""Elements of pages: what is text stays text."""

import pytest

from onefield.reports import page
from onefield.reports.page import Markup
from tests.reports.outline import Outline

HOSTILE = "</td><script>alert('1')</script> & \"x\""


@pytest.mark.parametrize(
    "element",
    [
        page.paragraph(HOSTILE),
        page.heading(HOSTILE),
        page.section(HOSTILE, HOSTILE),
        page.listing([HOSTILE]),
        page.preformatted(HOSTILE),
        page.folded(HOSTILE, HOSTILE),
        page.facts([(HOSTILE, HOSTILE)]),
        page.table([HOSTILE], [[HOSTILE, HOSTILE]]),
        page.image("data:,", HOSTILE),
        page.figure(page.image("data:,", HOSTILE), HOSTILE),
        page.slider(page.image("data:,", "a"), page.image("data:,", "b"), HOSTILE),
    ],
)
def test_text_is_escaped_everywhere(element):
    outline = Outline(element.encode())
    assert outline.count("script") == 0
    said = outline.text + " ".join(names.get("alt", "") for _, names in outline.met)
    assert "alert('1')" in said


def test_the_whole_page_forbids_the_network():
    outline = Outline(page.page(HOSTILE, [Markup("<p>ready</p>"), "raw <p>"]))
    assert outline.count("script") == 1
    assert "raw <p>" in outline.text
    policy = next(names["content"] for _, names in outline.met if "http-equiv" in names)
    assert policy.startswith("default-src 'none'")
    assert all(address.startswith("data:") for address in outline.addresses())


def test_names_that_are_no_text_do_not_break_a_page():
    """A file name with bytes that are no UTF-8 comes as lone surrogates."""
    assert b"a?b" in page.page("a\udcffb", [])
