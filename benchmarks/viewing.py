"""How fast the viewer follows, and what a page that is open costs training.

    python benchmarks/viewing.py RUN --seconds 20

A browser's part is played by a web socket, so that what a browser draws with costs nothing here; ``--browser chromium``
opens the still page in a real one instead. First training is paused and the view moves 30 times a second in a window of
400 x 400: pictures a second that arrive, and how many pixels they have. Then training goes on in turns without a page
and with one that is open and still: wall time a step. Prints one line of JSON each.
"""

from __future__ import annotations

import argparse
import math
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import viser
import zstandard
from short_runs import tell
from websockets.sync.client import connect

from onefield.cameras import Cameras
from onefield.configs.runs import Run, open_run
from onefield.data.batches import RayBatches
from onefield.training.loop import Progress, take_step
from onefield.training.state import TrainingState
from onefield.types import Bounds, RenderedImage
from onefield.viewing.gate import Gate
from onefield.viewing.page import FieldPage
from onefield.viewing.pictures import FieldPainter, Quantity
from onefield.viewing.server import serving

WINDOW = 400
MOVES_A_SECOND = 30
SETTLING_SECONDS = 3.0
# Two counts of eight bytes stand before the compressed part of a message.
HEADER = 16


class Watched(FieldPainter):
    """Notes how wide the pictures are."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.method, run.scene)
        self.widths: list[int] = []

    def paint(self, camera: Cameras, quantity: Quantity, crop: Bounds | None) -> RenderedImage:
        self.widths.append(int(camera.width[0]))
        return super().paint(camera, quantity, crop)


class Browser:
    """Asks for views and counts the pictures that come."""

    def __init__(self, port: int) -> None:
        version = [f"viser-v{viser.__version__}"]
        origin = f"http://127.0.0.1:{port}"
        self.socket = connect(f"ws://127.0.0.1:{port}", origin=origin, subprotocols=version, max_size=None)
        self.pictures = 0
        threading.Thread(target=self._count, daemon=True).start()

    def look_from(self, position: tuple[float, float, float]) -> None:
        length = math.hypot(*position)
        forward = tuple(-value / length for value in position)
        message = {
            "type": "ViewerCameraMessage",
            "wxyz": quaternion_towards(forward),
            "position": position,
            "fov": 0.8,
            "near": 0.01,
            "far": 100.0,
            "look_at": (0.0, 0.0, 0.0),
            "up_direction": (0.0, 0.0, 1.0),
            "image_height": WINDOW,
            "image_width": WINDOW,
        }
        self.socket.send(msgspec.msgpack.encode(message))

    def _count(self) -> None:
        unpacker = zstandard.ZstdDecompressor()
        for frame in self.socket:
            content = unpacker.decompressobj().decompress(frame[HEADER:])
            self.pictures += content.count(b"BackgroundImageMessage")


def quaternion_towards(forward: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """wxyz of a camera that looks along a direction with z up."""
    import numpy as np
    from scipy.spatial.transform import Rotation

    along = np.array(forward)
    right = np.cross(along, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(along, right), along], axis=1)
    return tuple(Rotation.from_matrix(axes).as_quat(scalar_first=True).tolist())


def main() -> None:
    arguments = parse()
    run = open_run(arguments.run)
    moving(run, arguments.seconds)
    still(run, arguments.seconds, arguments.turns, arguments.browser)


@contextmanager
def opened(run: Run, training: bool) -> Iterator[tuple[FieldPage, Watched, int]]:
    painter = Watched(run)
    painter.warm_up()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serving(Gate(port=port), "benchmark") as server:
        yield FieldPage(server, painter, run.scene, run.folder, training=training), painter, port


def moving(run: Run, seconds: float) -> None:
    """The view circles the scene; the page paints all the time, as while training is paused."""
    distance = float(run.scene.cameras.positions.norm(dim=1).median())
    with opened(run, training=False) as (page, painter, port):
        browser, over = Browser(port), threading.Event()

        def circle() -> None:
            move = 0
            while not over.is_set():
                angle = 0.01 * move
                browser.look_from((distance * math.cos(angle), distance * math.sin(angle), 0.4 * distance))
                move += 1
                time.sleep(1 / MOVES_A_SECOND)

        threading.Thread(target=circle, daemon=True).start()
        serve_for(page, SETTLING_SECONDS)
        before, painter.widths, began = browser.pictures, [], time.monotonic()
        serve_for(page, seconds)
        passed = time.monotonic() - began
        over.set()
        width = statistics.median(painter.widths)
        rate = (browser.pictures - before) / passed
        tell(measured="moving, training paused", window=WINDOW, pictures_a_second=round(rate, 1), picture_side=width)


def serve_for(page: FieldPage, seconds: float) -> None:
    end = time.monotonic() + seconds
    page.serve_until(lambda: time.monotonic() > end)


def still(run: Run, seconds: float, turns: int, program: str | None) -> None:
    """Training in turns: without the page, and with it open and its view at rest."""
    settings = replace(run.method.settings, steps=10**6, seconds=None)
    method = replace(run.method, settings=settings)
    run = replace(run, method=method)
    state = TrainingState.begin(method, RayBatches(run.scene, run.scene.train_indices, seed=settings.seed))
    train_for(state, seconds / 2, None)
    alone, watched = [], []
    with opened(run, training=True) as (page, painter, port):
        with looking(port, run, program):
            train_for(state, SETTLING_SECONDS, page)
            painter.widths = []
            for _ in range(turns):
                alone.append(train_for(state, seconds, None))
                watched.append(train_for(state, seconds, page))
        tell(
            measured="page open and still" + (f" in {program}" if program else ""),
            step_alone=round(statistics.median(alone), 4),
            step_watched=round(statistics.median(watched), 4),
            slower_by_percent=round((statistics.median(watched) / statistics.median(alone) - 1) * 100, 1),
            painted=bool(painter.widths),
        )


@contextmanager
def looking(port: int, run: Run, program: str | None) -> Iterator[None]:
    """Somebody who has the page open and does nothing."""
    if program is None:
        distance = float(run.scene.cameras.positions.norm(dim=1).median())
        browser = Browser(port)
        browser.look_from((distance, 0.0, 0.4 * distance))
        yield
        browser.socket.close()
        return
    options = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    command = [program, *options, f"--window-size={WINDOW},{WINDOW}", "--remote-debugging-port=0"]
    with subprocess.Popen([*command, f"http://127.0.0.1:{port}/"], stderr=subprocess.DEVNULL) as process:
        yield
        process.terminate()


def train_for(state: TrainingState, seconds: float, page: FieldPage | None) -> float:
    """Wall time a step."""
    began, first = time.monotonic(), state.step
    while time.monotonic() - began < seconds:
        take_step(state)
        if page is not None:
            page.after_step(Progress(state.step, 0.5, 0.1, {}, None, 8.0, 1000.0, 1.0, 1.0), lambda: False)
    return (time.monotonic() - began) / (state.step - first)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--browser", default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
