"""A run's page, with a browser's part played by a web socket."""

import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from onefield.data.crop import write_crop
from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.errors import DataError
from onefield.training.loop import Progress
from onefield.training.run_folder import RunFolder
from onefield.types import Bounds, RenderedImage
from onefield.viewing.gate import Gate
from onefield.viewing.page import STILL_SHARE, FieldPage, _stand_at_a_camera
from onefield.viewing.server import serving

viser = pytest.importorskip("viser", reason="needs the extra view")
PATIENCE = 60.0


class Grey:
    """A painter that remembers whom it painted for, and in which thread."""

    def __init__(self):
        self.positions, self.threads = [], set()

    def paint(self, camera, quantity, crop):
        shape = int(camera.height[0]), int(camera.width[0])
        self.positions.append(camera.positions[0].tolist())
        self.threads.add(threading.get_ident())
        return RenderedImage(torch.full((*shape, 3), 0.5), torch.ones(shape), torch.ones(shape))


class Broken:
    """A painter that can't."""

    def paint(self, camera, quantity, crop):
        raise RuntimeError("no picture today")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=8, size=16)
    return load_scene(folder)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run")


@contextmanager
def opened(scene, folder, painter, **options):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serving(Gate(port=port), "test") as server:
        yield FieldPage(server, painter, scene, folder, **options), port


def browser(port):
    from websockets.sync.client import connect

    version = [f"viser-v{viser.__version__}"]
    return connect(f"ws://127.0.0.1:{port}", origin=f"http://127.0.0.1:{port}", subprotocols=version, max_size=None)


def look_from(connection, position):
    import msgspec

    message = {
        "type": "ViewerCameraMessage",
        "wxyz": (1.0, 0.0, 0.0, 0.0),
        "position": position,
        "fov": 1.0,
        "near": 0.1,
        "far": 10.0,
        "look_at": (0.0, 0.0, 0.0),
        "up_direction": (0.0, 0.0, 1.0),
        "image_height": 48,
        "image_width": 64,
    }
    connection.send(msgspec.msgpack.encode(message))


def wait_for(page, reached):
    limit = time.monotonic() + PATIENCE
    page.serve_until(lambda: reached() or time.monotonic() > limit)
    assert reached()


def progress(step):
    return Progress(step, 0.5, 0.1, {}, None, 8.0, 1000.0, 1.0, 1.0)


def test_the_view_that_a_browser_asks_for_is_painted_in_the_serving_thread(scene, folder):
    painter = Grey()
    with opened(scene, folder, painter) as (page, port), browser(port) as connection:
        look_from(connection, (0.0, 0.0, -3.0))
        wait_for(page, lambda: [0.0, 0.0, -3.0] in painter.positions)
        look_from(connection, (1.0, 0.0, -2.0))
        wait_for(page, lambda: [1.0, 0.0, -2.0] in painter.positions)
    assert painter.threads == {threading.get_ident()}


def test_the_first_view_is_that_of_a_camera_and_no_farther_back(scene):
    server = SimpleNamespace(initial_camera=SimpleNamespace())
    _stand_at_a_camera(server, scene)
    position, target = (torch.tensor(getattr(server.initial_camera, name)) for name in ("position", "look_at"))
    poses = scene.cameras.camera_to_world[scene.train_indices].float()
    steps = position - poses[:, :, 3]
    nearest = int(steps.norm(dim=1).argmin())
    forward = poses[nearest, :, 2]
    assert 0 < float(steps[nearest] @ forward) < 0.1 * float(poses[nearest, :, 3].norm())
    towards = torch.nn.functional.normalize(target - position, dim=0)
    assert torch.allclose(towards, forward, atol=1e-4)


def test_a_browser_that_leaves_is_forgotten(scene, folder):
    painter = Grey()
    with opened(scene, folder, painter, training=True) as (page, port):
        with browser(port) as connection:
            look_from(connection, (0.0, 0.0, -3.0))
            wait_for(page, lambda: painter.positions)
        limit, step = time.monotonic() + PATIENCE, 0
        while time.monotonic() < limit:
            count = len(painter.positions)
            for _ in range(50):
                step += 1
                page.after_step(progress(step), lambda: False)
            if len(painter.positions) == count:
                break
            time.sleep(0.05)
        assert len(painter.positions) == count


def test_a_still_page_takes_its_share_and_no_more(scene, folder):
    """Training of 0.1 s a step by the test's own clock; a picture takes ten steps."""
    now = [0.0]

    class Slow(Grey):
        def paint(self, camera, quantity, crop):
            now[0] += float(camera.height[0]) * float(camera.width[0]) * 1.0 / (48 * 64)
            return super().paint(camera, quantity, crop)

    painter = Slow()
    options = {"training": True, "clock": lambda: now[0]}
    with opened(scene, folder, painter, **options) as (page, port), browser(port) as connection:
        look_from(connection, (0.0, 0.0, -3.0))
        wait_for(page, lambda: len(painter.positions) > 1)
        watched = 0.0
        for step in range(1600):
            now[0] += 0.1
            before = now[0]
            page.after_step(progress(step), lambda: False)
            watched += now[0] - before
    assert 0 < watched <= 1.25 * STILL_SHARE * 1600 * 0.1


def test_a_pause_lasts_until_it_is_ended_or_training_is_to_stop(scene, folder):
    with opened(scene, folder, Grey(), training=True) as (page, _):
        page.training.paused = True
        asked = iter([False, False, True])
        page.after_step(progress(1), lambda: next(asked))
        assert next(asked, None) is None
        ended = threading.Timer(0.2, lambda: setattr(page.training, "paused", False))
        ended.start()
        page.after_step(progress(2), lambda: False)
        assert not page.training.paused


def test_a_broken_picture_never_ends_training(scene, folder, caplog):
    with opened(scene, folder, Broken(), training=True) as (page, port), browser(port) as connection:
        look_from(connection, (0.0, 0.0, -3.0))
        limit = time.monotonic() + PATIENCE
        while "no picture today" not in caplog.text and time.monotonic() < limit:
            page.after_step(progress(1), lambda: False)
    assert caplog.text.count("the run goes on") == 1


def test_after_training_the_page_still_follows_a_view_that_moves(scene, folder):
    painter = Grey()
    with opened(scene, folder, painter, training=True) as (page, port), browser(port) as connection:
        page.after_step(progress(1200), lambda: False)
        look_from(connection, (0.0, 0.0, -3.0))
        wait_for(page, lambda: [0.0, 0.0, -3.0] in painter.positions)
        limit = time.monotonic() + PATIENCE
        look_from(connection, (1.0, 0.0, -2.0))
        while [1.0, 0.0, -2.0] not in painter.positions and time.monotonic() < limit:
            page.after_training("scoring view 3 of 7")
        assert [1.0, 0.0, -2.0] in painter.positions


def test_a_broken_picture_never_ends_scoring(scene, folder, caplog):
    with opened(scene, folder, Broken(), training=True) as (page, port), browser(port) as connection:
        look_from(connection, (0.0, 0.0, -3.0))
        limit = time.monotonic() + PATIENCE
        while "no picture today" not in caplog.text and time.monotonic() < limit:
            page.after_training("scoring view 1 of 2")
    assert caplog.text.count("the run goes on") == 1


def test_a_crop_of_the_run_is_taken_up_and_a_broken_one_named(scene, folder):
    box = Bounds((-0.5, -0.25, 0.0), (0.5, 0.75, 1.0))
    write_crop(folder.crop, box, scene.transform)
    with opened(scene, folder, Grey()) as (page, _):
        assert page.crop.minimum == pytest.approx(box.minimum, abs=1e-6)
        assert page.crop.maximum == pytest.approx(box.maximum, abs=1e-6)
    folder.crop.write_text("{}")
    with pytest.raises(DataError, match=r"crop\.json"), opened(scene, folder, Grey()):
        pass


def test_without_a_crop_nothing_is_cut(scene, folder):
    with opened(scene, folder, Grey()) as (page, _):
        assert page.crop is None
