"""The page of a run: windows, controls and what the browser draws, and the work that all of them ask for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from onefield.data.paths import typical_vertical_fov
from onefield.data.scene import Scene
from onefield.errors import DataError
from onefield.export.formats import MESH_FORMATS, read_mesh
from onefield.meshing.geometry import transformed
from onefield.meshing.preview import telling_views
from onefield.training.loop import Progress
from onefield.training.run_folder import RunFolder
from onefield.types import Bounds
from onefield.viewing.objects import SceneCameras, add_mesh, frustum_size
from onefield.viewing.panel import CropControls, PathControls, TrainingControls, view_of
from onefield.viewing.pictures import QUANTITIES, Painter, Picture
from onefield.viewing.window import Window

if TYPE_CHECKING:
    import viser

# Of the time that training takes, what a page that is open and still may take beside it.
STILL_SHARE = 0.05
# Unused time is not saved up beyond this, or a pause in looking would be followed by a pause in training.
_MOST_SAVED = 0.1
# Between two looks at whether a wait should end.
_NAP_SECONDS = 0.1
_PROGRESS_SECONDS = 0.25
_ROUGH_QUALITY, _SHARP_QUALITY = 70, 92
MESH = "mesh"

_logger = logging.getLogger("onefield.viewing")


class FieldPage:
    """All that browsers see of one run.

    Browsers' threads only leave notes of what they want; painting, and reading the field at all, happens in
    `serve_until` and `after_step`, on the thread that trains, so that nothing is read while it is changed.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        painter: Painter,
        scene: Scene,
        folder: RunFolder,
        *,
        training: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Fills the server's page.

        Args:
            training: whether the field is being trained, by whoever calls `after_step`.
            clock: seconds, for sharing time.

        Raises:
            DataError: the run's crop.json is broken.
        """
        self._server, self._painter, self._clock = server, painter, clock
        self._windows: dict[int, Window] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._saved = 0.0
        self._left = clock()
        self._told = -_PROGRESS_SECONDS
        self._broken = False
        self.training = TrainingControls(server, training, self._wake.set)
        self._mesh = _exported_mesh(server, scene, folder)
        shown = (*QUANTITIES, MESH) if self._mesh is not None else QUANTITIES
        self._shown = server.gui.add_dropdown("show", shown)
        self._shown.on_update(lambda event: self._look_again())
        self._cameras = SceneCameras(server, scene)
        visible = server.gui.add_checkbox("cameras", True)
        visible.on_update(lambda event: self._cameras.show(visible.value))
        self._crop = CropControls(server, scene, folder, self._look_again)
        PathControls(server, scene, folder)
        _stand_at_a_camera(server, scene)
        server.on_client_connect(self._welcome)
        server.on_client_disconnect(self._forget)

    @property
    def crop(self) -> Bounds | None:
        """The box, in the scene's frame, outside which nothing is shown; None shows everything."""
        return self._crop.box

    def serve_until(self, stop: Callable[[], bool]) -> None:
        """Paints what windows ask for until ``stop`` says so."""
        while not stop():
            if not self._work():
                self._wake.wait(_NAP_SECONDS)
                self._wake.clear()

    def after_step(self, progress: Progress, stop: Callable[[], bool]) -> None:
        """Takes its share of time after a step of training, and all of it while training is paused.

        Never raises: the run is worth more than a picture of it.

        Args:
            stop: whether training is to end, which also ends a pause.
        """
        self._unless_broken(lambda: self._after_step(progress, stop))

    def after_training(self, doing: str) -> None:
        """Says what is done now that training has ended, and paints what windows wait for.

        Called before each piece of that work. Never raises, as `after_step`.

        Args:
            doing: such as ``"scoring view 3 of 7"``.
        """
        self._unless_broken(lambda: self._after_training(doing))

    def _unless_broken(self, work: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            work()
        except Exception as error:
            self._broken = True
            _logger.warning("The viewer stopped (%s: %s); the run goes on.", type(error).__name__, error)

    def _after_step(self, progress: Progress, stop: Callable[[], bool]) -> None:
        began = self._clock()
        if began - self._told >= _PROGRESS_SECONDS:
            self._told = began
            self.training.show(progress.step, progress.psnr)
        for window in self._open_windows():
            window.refresh()
        self._paint_share(began)
        if self.training.paused:
            self.training.show(progress.step, progress.psnr)
            self.serve_until(lambda: stop() or not self.training.paused)
            self.training.show(progress.step, progress.psnr)
        self._left = self._clock()

    def _after_training(self, doing: str) -> None:
        self.training.finish(doing)
        self._paint_share(self._clock())
        self._left = self._clock()

    def _paint_share(self, began: float) -> None:
        """Paints views that move at once, and others for the share of time that has come together since."""
        self._saved = min(self._saved + STILL_SHARE * (began - self._left), _MOST_SAVED)
        for window in self._open_windows():
            while window.moving:
                window.paint()
        moved = self._clock()
        while self._saved > 0 and self._work():
            now = self._clock()
            self._saved -= now - moved
            moved = now

    def _work(self) -> bool:
        """Does the most urgent small piece of work; False where there is none."""
        windows = [window for window in self._open_windows() if not window.sharp]
        if windows:
            max(windows, key=lambda window: window.moving).paint()
            return True
        return bool(self._windows) and self._cameras.load_next()

    def _open_windows(self) -> list[Window]:
        with self._lock:
            return [] if self._shown.value == MESH else list(self._windows.values())

    def _welcome(self, client: viser.ClientHandle) -> None:
        window = Window(self._painter, lambda picture: self._send(client, picture, window.moving))
        with self._lock:
            self._windows[client.client_id] = window
        client.camera.on_update(lambda camera: self._look(client))
        self._look(client)

    def _forget(self, client: viser.ClientHandle) -> None:
        with self._lock:
            self._windows.pop(client.client_id, None)

    def _look(self, client: viser.ClientHandle) -> None:
        with self._lock:
            window = self._windows.get(client.client_id)
        quantity = self._shown.value
        if window is not None and quantity != MESH and client.camera.image_width > 0:
            window.look(view_of(client.camera), quantity, self._crop.box)
            self._wake.set()

    def _look_again(self) -> None:
        drawn = self._shown.value == MESH
        if self._mesh is not None:
            self._mesh.visible = drawn
        for client in self._server.get_clients().values():
            if drawn:
                client.scene.set_background_image(None)
            self._look(client)

    def _send(self, client: viser.ClientHandle, picture: Picture, moving: bool) -> None:
        if self._shown.value == MESH:
            return
        quality = _ROUGH_QUALITY if moving else _SHARP_QUALITY
        client.scene.set_background_image(
            picture.colors(), format="jpeg", jpeg_quality=quality, depth=picture.hiding_depth()
        )


def _exported_mesh(server: viser.ViserServer, scene: Scene, folder: RunFolder) -> viser.GlbHandle | None:
    """The mesh that the run exported last, hidden; None where there is none that can be read."""
    meshes = [path for path in folder.exports.glob("*") if path.suffix.lower() in MESH_FORMATS]
    readable = [path for path in meshes if path.suffix.lower() != ".html"]
    if not readable:
        return None
    newest = max(readable, key=lambda path: path.stat().st_mtime)
    try:
        mesh = read_mesh(newest)
        placement = folder.read_placement(newest.name)
    except DataError as error:
        _logger.warning("%s The viewer shows no mesh.", error)
        return None
    back = scene.transform.matrix
    if placement is not None:
        back = torch.linalg.inv(torch.tensor(placement, dtype=torch.float64))
    return add_mesh(server, transformed(mesh, back), visible=False)


def _stand_at_a_camera(server: viser.ViserServer, scene: Scene) -> None:
    """Where photos saw most, and just before that camera's picture; behind the cameras nothing is known but fog."""
    cameras = (scene.cameras[scene.train_indices] if len(scene.train_indices) else scene.cameras).to("cpu")
    pose = cameras.camera_to_world[telling_views(cameras)[0]]
    eye, forward = pose[:, 3], pose[:, 2]
    before = 2 * frustum_size(scene)
    # the point of the axis that is nearest to the middle of the scene: what one turns about
    middle = eye + max(float(-eye @ forward), 2 * before) * forward
    server.initial_camera.position = tuple((eye + before * forward).tolist())
    server.initial_camera.look_at = tuple(middle.tolist())
    server.initial_camera.fov = typical_vertical_fov(scene)
