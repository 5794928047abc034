"""The page in headless Chromium, on a run in training: seen, moved, paused, its path and crop used afterwards."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from onefield.data.crop import read_crop
from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.data.paths import path_from_json
from onefield.export.formats import read_mesh

pytest.importorskip("viser", reason="needs the extra view")
browsers = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(900),
]
COMMAND = [sys.executable, "-m", "onefield.tools.main"]
SMALL = [
    "training.samples_per_step=8192",
    "training.validate_every=20",
    "sampler.resolution=32",
    "field.levels=4",
    "field.log2_table_size=12",
]
# Software rendering in a browser is slow where cores are few.
PATIENCE = 120_000.0
# What is clicked while a group unfolds is no longer where it was.
UNFOLDING = 1000.0
ENOUGH_FOR_A_SURFACE = 100
SWIFTSHADER = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
STEP = re.compile(r"step ([\d,]+)")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=10, size=40)
    return folder


@pytest.fixture(scope="module")
def training(scene, tmp_path_factory):
    """A run that would train for long, with its page's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = tmp_path_factory.mktemp("runs") / "run"
    command = [*COMMAND, "train", str(scene), "--steps", "8000", "--output", str(run), "--view", "--port", str(port)]
    # Ctrl-C must reach it even where the tests themselves were started without
    started = {"text": True, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "preexec_fn": _listen_to_interrupts}
    with subprocess.Popen([*command, "--set", *SMALL], **started) as process:
        for line in process.stderr:
            if "to see it learn" in line:
                break
        yield run, f"http://127.0.0.1:{port}/", process
        process.kill()


def _listen_to_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def page(training):
    with browsers.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=CHROMIUM, args=SWIFTSHADER)
        page = browser.new_page(viewport={"width": 640, "height": 420})
        page.set_default_timeout(PATIENCE)
        page.goto(training[1])
        page.get_by_text("Pause training").wait_for()
        yield page
        browser.close()


def step(page):
    return int(STEP.search(page.inner_text("body")).group(1).replace(",", ""))


def picture(page):
    """What the scene's canvas shows, without the panel."""
    import io

    from PIL import Image

    shot = page.screenshot(clip={"x": 0, "y": 150, "width": 300, "height": 270}, timeout=PATIENCE)
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(float)


def settled(page):
    """The picture once nothing sharpens it any more."""
    last = picture(page)
    for _ in range(60):
        page.wait_for_timeout(2000)
        now = picture(page)
        if np.abs(now - last).max() < 3 and now.std() > 5:
            return now
        last = now
    raise AssertionError("the picture never came to rest")


def changed(page, before):
    """Whether the picture becomes another; a busy machine takes its time."""
    for _ in range(60):
        if np.abs(picture(page) - before).mean() > 2:
            return True
        page.wait_for_timeout(1000)
    return False


def tick(page, name):
    page.get_by_text(name, exact=True).locator("xpath=following::input[@type='checkbox'][1]").click(force=True)


def drag(page, thumb, track, share):
    """Takes a slider's thumb to a share of its track."""
    thumb.scroll_into_view_if_needed()
    held, rail = thumb.bounding_box(), track.bounding_box()
    page.mouse.move(held["x"] + held["width"] / 2, held["y"] + held["height"] / 2)
    page.mouse.down()
    page.mouse.move(rail["x"] + share * rail["width"], rail["y"] + rail["height"] / 2, steps=8)
    page.mouse.up()


def wait_for_step(page, least):
    page.wait_for_function(f"() => /step ([\\d,]+)/.exec(document.body.innerText)[1].replace(/,/g, '') > {least}")


def test_training_is_paused_and_resumed(page):
    wait_for_step(page, ENOUGH_FOR_A_SURFACE)
    page.get_by_role("button", name="Pause training").click()
    page.get_by_text("paused").wait_for()
    first = step(page)
    page.wait_for_timeout(1500)
    assert step(page) == first
    page.get_by_role("button", name="Resume training").click()
    wait_for_step(page, first)
    page.get_by_role("button", name="Pause training").click()
    page.get_by_text("paused").wait_for()


def test_the_picture_changes_when_the_camera_moves(page):
    tick(page, "cameras")
    before = settled(page)
    page.mouse.move(150, 300)
    page.mouse.down()
    page.mouse.move(230, 310, steps=4)
    page.mouse.up()
    assert changed(page, before), "the picture stayed as it was"


def test_a_path_is_clicked_together_and_saved(page, training, scene):
    page.get_by_text("Camera path", exact=True).click()
    page.get_by_role("button", name="Add view").click()
    page.get_by_text("1 views", exact=True).first.wait_for()
    page.mouse.move(150, 300)
    page.mouse.down()
    page.mouse.move(110, 290, steps=3)
    page.mouse.up()
    page.wait_for_timeout(3000)
    page.get_by_role("button", name="Add view").click()
    page.get_by_text("2 views", exact=True).first.wait_for()
    page.get_by_role("button", name="Save path").click()
    page.get_by_text("saved; render it with").wait_for()
    views = path_from_json(training[0] / "path.json", load_scene(scene))
    assert len(views) == 6 * 24
    assert (views.positions[-1] - views.positions[0]).norm() > 0.05


def test_the_crop_reaches_the_export(page, training, scene, tmp_path):
    run, _, process = training
    page.get_by_text("Crop", exact=True).click()
    page.get_by_text("crop", exact=True).wait_for()
    page.wait_for_timeout(UNFOLDING)
    tick(page, "crop")
    drag(page, page.locator(".multi-slider-thumb").nth(1), page.locator(".multi-slider-track").first, 0.7)
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Save crop").click()
    page.get_by_text("export cuts the mesh").first.wait_for()
    transform = load_scene(scene).transform
    box = read_crop(run / "crop.json", transform)
    assert box.maximum[0] == pytest.approx(0.4, abs=0.1)
    assert box.minimum == pytest.approx((-1, -1, -1), abs=0.011)
    page.close()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=PATIENCE / 1000) == 130
    exported = _export(run, tmp_path / "mesh.ply")
    assert "crop.json" in exported.stderr
    _, high = _reach(tmp_path / "mesh.ply", transform)
    assert high[0] <= box.maximum[0] + 1e-3
    assert "crop.json" not in _export(run, tmp_path / "whole.ply", "--no-crop").stderr
    assert _reach(tmp_path / "whole.ply", transform)[1][0] > high[0] + 0.05


def _export(run, path, *options):
    command = [*COMMAND, "export", str(run), "--to", str(path), "--resolution", "32", "--isovalue", "1", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=PATIENCE / 1000, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == str(path)
    return done


def _reach(path, transform):
    points = transform.apply(read_mesh(path).vertices.to(torch.float64))
    return points.amin(0).tolist(), points.amax(0).tolist()
