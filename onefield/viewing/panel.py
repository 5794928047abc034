"""The page's controls: what is shown, the crop box, the camera path, training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onefield.data.crop import read_crop, write_crop
from onefield.data.paths import poses_between, write_path_json
from onefield.data.scene import Scene
from onefield.errors import OnefieldError
from onefield.files import explain_write_errors
from onefield.training.run_folder import RunFolder
from onefield.types import Bounds
from onefield.viewing.objects import draw_box, draw_path, pose_of
from onefield.viewing.pictures import View

if TYPE_CHECKING:
    import viser

# Of the sliders, as a share of the region of interest.
_CROP_STEP = 0.01
# What `onefield render` makes of a path's pictures by default.
_FRAMES_PER_SECOND = 24
_LONGEST_PATH, _USUAL_PATH = 120, 6
# Long enough to read a path's name.
_NOTICE_SECONDS = 6.0


class CropControls:
    """A box, and a button that keeps it in the run's folder for ``onefield export``."""

    def __init__(self, server: viser.ViserServer, scene: Scene, folder: RunFolder, changed: Callable[[], None]) -> None:
        """Starts with the run's box where it has one.

        Raises:
            DataError: the run's crop.json is broken.
        """
        self._server, self._scene, self._folder = server, scene, folder
        whole = scene.bounds
        kept = read_crop(folder.crop, scene.transform) if folder.crop.exists() else None
        first = whole if kept is None else kept
        with server.gui.add_folder("Crop", expand_by_default=kept is not None):
            self._active = server.gui.add_checkbox("crop", kept is not None)
            self._sliders = [
                server.gui.add_multi_slider(
                    name,
                    min=low,
                    max=high,
                    step=_CROP_STEP,
                    min_range=_CROP_STEP,
                    initial_value=(max(low, first.minimum[axis]), min(high, first.maximum[axis])),
                )
                for axis, (name, low, high) in enumerate(zip("xyz", whole.minimum, whole.maximum, strict=True))
            ]
            save = server.gui.add_button("Save crop", hint="export cuts the mesh to this box; without a box, to none")
        for control in (self._active, *self._sliders):
            control.on_update(lambda event: self._redraw(changed))
        save.on_click(lambda event: tell(event.client, self._save))
        self._redraw(changed)

    @property
    def box(self) -> Bounds | None:
        """In the scene's frame; None where nothing is cut."""
        return self._edges() if self._active.value else None

    def _edges(self) -> Bounds:
        lows, highs = zip(*(slider.value for slider in self._sliders), strict=True)
        return Bounds(tuple(map(float, lows)), tuple(map(float, highs)))

    def _redraw(self, changed: Callable[[], None]) -> None:
        draw_box(self._server, self._edges(), self._active.value)
        changed()

    def _save(self) -> str:
        box = self.box
        if box is None:
            with explain_write_errors(self._folder.crop):
                self._folder.crop.unlink(missing_ok=True)
            return "The crop is off; export writes everything."
        write_crop(self._folder.crop, box, self._scene.transform)
        return f"Saved in {self._folder.crop}; export cuts the mesh to it."


class PathControls:
    """Views put together to a camera path, and a button that saves it for ``onefield render --path``."""

    def __init__(self, server: viser.ViserServer, scene: Scene, folder: RunFolder) -> None:
        """Starts without views."""
        self._server, self._scene, self._folder = server, scene, folder
        self._keys: list[View] = []
        with server.gui.add_folder("Camera path", expand_by_default=False):
            add = server.gui.add_button("Add view", hint="the view as it is now")
            remove = server.gui.add_button("Remove last view")
            self._seconds = server.gui.add_number("seconds", _USUAL_PATH, min=1, max=_LONGEST_PATH, step=1)
            save = server.gui.add_button("Save path")
            self._note = server.gui.add_markdown("no views yet")
        add.on_click(lambda event: tell(event.client, lambda: self._add(view_of(event.client.camera))))
        remove.on_click(lambda event: tell(event.client, self._remove))
        save.on_click(lambda event: tell(event.client, self._save))

    def _add(self, view: View) -> str:
        self._keys.append(view)
        return self._redraw()

    def _remove(self) -> str:
        self._keys = self._keys[:-1]
        return self._redraw()

    def _redraw(self) -> str:
        if self._keys:
            draw_path(self._server, self._keys, self._poses())
        else:
            self._server.scene.remove_by_name("/path")
        words = "no views yet" if not self._keys else f"{len(self._keys)} views"
        self._note.content = words
        return words

    def _poses(self) -> np.ndarray:
        frames = max(1, round(self._seconds.value * _FRAMES_PER_SECOND))
        return poses_between(np.stack([view.pose for view in self._keys]), frames)

    def _save(self) -> str:
        if not self._keys:
            return "A path needs at least one view; add one first."
        path = _free(self._folder.path / "path.json")
        write_path_json(path, self._scene, self._poses(), self._keys[0].vertical_fov)
        command = f"onefield render {self._folder.path} --path {path}"
        self._note.content = f"saved; render it with\n\n`{command}`"
        return f"Saved in {path}."


class TrainingControls:
    """The step, the held-out score and what is being done, and a button that pauses."""

    def __init__(self, server: viser.ViserServer, training: bool, changed: Callable[[], None]) -> None:
        """Shows the button only where something is trained."""
        self.paused = False
        self._changed = changed
        self._figures = ""
        self._state = server.gui.add_markdown("")
        self._button = server.gui.add_button("Pause training", visible=training)
        self._button.on_click(lambda event: self._toggle())

    def show(self, step: int, psnr: float | None) -> None:
        """Writes the step and the held-out PSNR in dB."""
        score = "not scored yet" if psnr is None else f"{psnr:.2f} dB held-out PSNR"
        self._figures = f"step {step:,} · {score}"
        self._state.content = self._figures + (" · paused" if self.paused else "")

    def finish(self, doing: str) -> None:
        """Writes what is done after training, which can't be paused."""
        self._button.visible = False
        self._state.content = " · ".join(part for part in (self._figures, doing) if part)

    def _toggle(self) -> None:
        self.paused = not self.paused
        self._button.label = "Resume training" if self.paused else "Pause training"
        self._changed()


def view_of(camera: viser.CameraHandle) -> View:
    """What a browser's camera sees now."""
    return View(pose_of(camera.wxyz, camera.position), camera.fov, camera.image_width, camera.image_height)


def tell(client: viser.ClientHandle | None, action: Callable[[], str]) -> None:
    """Does something that a button asked for and tells its browser how it went."""
    try:
        title, words = "Done", action()
    except OnefieldError as error:
        title, words = "Not done", str(error)
    if client is not None:
        client.add_notification(title, words, auto_close_seconds=_NOTICE_SECONDS)


def _free(path: Path) -> Path:
    """The path, or the first with a number that is not taken: a saved path is never written over."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return candidate
