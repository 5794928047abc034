"""The page with a mesh in it: whole, alone, and read back by whoever wrote it; what it draws is for eyes."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from onefield.errors import DataError
from onefield.export import html
from onefield.export.formats import export_mesh, read_mesh
from onefield.export.gaussian_formats import export_gaussians
from onefield.types import Gaussians, Mesh

CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


class Outline(HTMLParser):
    """Elements that are open, all that were met, and the text of scripts."""

    def __init__(self):
        super().__init__()
        self.open, self.met, self.scripts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.met.append((tag, dict(attributes)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


@pytest.fixture
def page(tmp_path) -> Path:
    return export_mesh(Mesh(CORNERS, FACES, colors=CORNERS.clamp(0.2, 0.9)), tmp_path / "page.html").path


def test_the_page_is_whole_and_alone(page):
    text = page.read_text()
    outline = Outline()
    outline.feed(text)
    outline.close()
    assert outline.open == []
    assert "://" not in text
    assert "{{" not in re.sub(r"\$\{\{", "", text)
    assert not [name for tag, names in outline.met for name in names if name == "src"]
    assert [names["href"] for tag, names in outline.met if "href" in names] == ["data:,"]
    policy = next(names["content"] for tag, names in outline.met if names.get("http-equiv"))
    assert "default-src 'none'" in policy


def test_the_page_has_the_scripts_that_draw_a_mesh(page):
    text = page.read_text()
    for name in ("page.js", "page_mesh.js"):
        assert (Path(html.__file__).parent / name).read_text() in text
    assert 'CONTENTS["model/gltf-binary"]' in text


def test_every_script_that_is_shipped_is_on_some_page(page, tmp_path):
    one = Gaussians(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 4), torch.zeros(1), (torch.zeros(1, 1, 3),))
    pages = page.read_text() + export_gaussians(one, tmp_path / "set.html").path.read_text()
    for source in Path(html.__file__).parent.glob("page*.js"):
        assert source.read_text() in pages


def test_a_page_without_its_mesh_is_refused(page):
    content = page.read_bytes()
    page.write_bytes(content.replace(b'id="content"', b'id="nothing"'))
    with pytest.raises(DataError, match=r"page\.html is no whole page"):
        read_mesh(page)
