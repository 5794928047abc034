"""A page as a browser's parser sees it."""

from html.parser import HTMLParser

_VOID = ("meta", "link", "img", "input")


class Outline(HTMLParser):
    """Checks that elements close in order; collects tags with their attributes, and the rows of tables."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.open, self.met, self.rows, self.words = [], [], [], []
        self.feed(content.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.met.append((tag, dict(attributes)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.met.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)
            if "td" in self.open or "th" in self.open:
                self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.met)

    def addresses(self) -> list[str]:
        """Everything that a browser might load."""
        return [names[name] for _, names in self.met for name in ("src", "href", "srcset", "data") if name in names]
