"""The documents tell the truth: their code runs, their links lead somewhere, their commands exist."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.test_nevers import RULES, parsed

ROOT = Path(__file__).resolve().parents[1]
FILE_BLOCK = re.compile(r"^```python (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIFF_BLOCK = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")
DOCUMENTS = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]


def patched(text, lines):
    """A text after one hunk: context and removed lines must stand in it, once, one after the other."""
    before = "".join(line[1:] + "\n" for line in lines if line[0] in " -")
    after = "".join(line[1:] + "\n" for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"these lines stand {text.count(before)} times:\n{before}"
    return text.replace(before, after)


def apply_diffs(root, diff):
    for hunk in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        name, *lines = hunk.splitlines()
        file = root / name
        file.write_text(patched(file.read_text(), lines))


def test_the_parts_of_the_adding_guide_work(tmp_path):
    for folder in ("onefield", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)  # with the compiled kernels: nothing is compiled anew
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    guide = (ROOT / "docs" / "adding.md").read_text()
    blocks = dict(FILE_BLOCK.findall(guide))
    for name, content in blocks.items():
        assert not (tmp_path / name).exists(), f"{name} is taken"
        (tmp_path / name).write_text(content)
        if name.startswith("onefield/"):
            assert [line for rule in RULES for line in rule(parsed(content, name))] == []
    for diff in DIFF_BLOCK.findall(guide):
        apply_diffs(tmp_path, diff)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", *blocks]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    tests = [name for name in blocks if name.startswith("tests/")]
    assert len(tests) == len(blocks) - len(tests) == 5
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests, "tests/contracts/test_catalog.py"]
    command += ["-k", "triangle or oscillation or every_class or test_relative or test_camera_table or test_off"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    passed = int(re.search(r"(\d+) passed", finished.stdout)[1])
    assert passed >= 9 + 4 + 5  # the tests of the guide, those of every encoding and network, a catalogue without gaps


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    for target in LINK.findall(document.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_paths_that_are_named_exist(document):
    for named in re.findall(r"`((?:onefield|tests|docs|benchmarks|examples)/[\w./]*)`", document.read_text()):
        assert (ROOT / named).exists(), f"{document.name} names {named}"


def test_commands_in_the_readme_exist():
    from onefield.tools.main import COMMANDS

    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^(?:.*&& )?onefield (\w+)", text, re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def test_continuous_check_runs_the_lines_of_the_readme():
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    install = 'pip install -c constraints.txt -e ".[dev]"'
    assert install in readme
    assert f"\n{install}\n" in script
    assert "&& onefield demo\n" in readme
    assert "\nonefield demo --output" in script
    assert "\npython -m pytest --numprocesses auto --dist loadfile\n" in readme
    assert script.endswith("\npython -m pytest --numprocesses auto --dist loadfile\n")
