"""``onefield render``: pictures and a video along a camera path."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro
from jaxtyping import Float
from torch import Tensor

from onefield.cameras import Cameras
from onefield.configs.memory import require_rendering_memory
from onefield.configs.runs import Run, open_run
from onefield.data.images import write_image
from onefield.data.paths import orbit_path, path_from_json, spiral_path, suggested_path, views_path
from onefield.data.video import write_video
from onefield.errors import UsageError, nearest_name
from onefield.files import make_folder
from onefield.renderers.renderer import Renderer
from onefield.renderers.sphere_tracing import Light, SphereTracingRenderer
from onefield.reports.figures import duration
from onefield.tools.output import say, show
from onefield.training.method import Method

PATHS = ("orbit", "spiral", "views")
SHADINGS = ("field", "lit", "clay")
# Grey as of unglazed clay, sRGB.
_CLAY = (0.75, 0.75, 0.75)


def run_command(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    path: str = "auto",
    frames: int = 60,
    fps: int = 24,
    width: int | None = None,
    shading: str = "field",
    output: Path | None = None,
    json: bool = False,
) -> None:
    """Renders a run along a camera path to a video and one picture a frame.

    Args:
        run: folder of the run.
        path: orbit, spiral, views (through the training views) or a JSON file; auto takes what suits the scene.
        frames: number of pictures; a JSON file brings its own.
        fps: frames a second of the video.
        width: of the pictures in pixels; that of the photos, but no more than 640 x 360 pixels, by default.
        shading: field shows what was trained; lit the surface alone under a lamp, with shadows; clay the same without
            its colours. The last two need a field of distances (--method sdf).
        output: folder to write to; RUN/render by default.
        json: print the result as JSON.
    """
    opened = open_run(run)
    renderer = shaded(opened.method, shading)
    cameras = sized(camera_path(opened, path, frames), width)
    require_rendering_memory(cameras, "take a smaller --width")
    folder = make_folder(opened.folder.path / "render" if output is None else output)
    video = folder / "video.mp4"
    write_video(video, rendered_frames(opened, renderer, cameras, folder), fps)
    show(
        {"video": str(video), "frames": len(cameras), "folder": str(folder)},
        json,
        [f"{len(cameras)} pictures and {video}"],
    )


def shaded(method: Method, shading: str) -> Renderer:
    """The renderer that shows a trained field as one of `SHADINGS` says.

    Raises:
        UsageError: no such shading, or the field has no surface to be lit.
    """
    if shading not in SHADINGS:
        raise UsageError(f"Unknown shading '{shading}': {nearest_name(shading, SHADINGS)}.")
    if shading == "field":
        return method.renderer
    paint = _CLAY if shading == "clay" else None
    renderer = SphereTracingRenderer(method.renderer.background, light=Light(), paint=paint)
    renderer.check(method.field)
    return renderer


def rendered_frames(
    opened: Run, renderer: Renderer, cameras: Cameras, folder: Path
) -> Iterator[Float[Tensor, "H W 3"]]:
    """The pictures along a path, one at a time, each written to the folder as ``0000.png``, ``0001.png``, ..."""
    began = time.monotonic()
    for index in range(len(cameras)):
        image = renderer.render_image(
            opened.method.field, cameras, index, limits=lambda rays: opened.scene.limited(rays, cameras)
        )
        rendered = image.color.clamp(0, 1)
        write_image(folder / f"{index:04d}.png", rendered)
        left = (time.monotonic() - began) / (index + 1) * (len(cameras) - index - 1)
        say(f"frame {index + 1} of {len(cameras)}  {duration(left)} left")
        yield rendered


def camera_path(opened: Run, path: str, frames: int) -> Cameras:
    """The cameras of a named path, or of a JSON file.

    Raises:
        UsageError: neither a known name nor a file.
    """
    scene = opened.scene
    if path == "auto":
        path = suggested_path(scene)
    if path == "orbit":
        return orbit_path(scene, frames)
    if path == "spiral":
        return spiral_path(scene, frames)
    if path == "views":
        return views_path(scene, frames)
    if Path(path).suffix == ".json" or Path(path).exists():
        return path_from_json(Path(path), scene)
    raise UsageError(f"Unknown path '{path}': {nearest_name(path, ('auto', *PATHS))}, or a JSON file.")


# Enough to judge by, and rendered within minutes, whichever way the photos stand.
DEFAULT_MOST_PIXELS = 640 * 360


def sized(cameras: Cameras, width: int | None) -> Cameras:
    """The same cameras with pictures of a width in pixels (even, as video codecs want it)."""
    current, pixels = int(cameras.width[0]), int(cameras.width[0] * cameras.height[0])
    wanted = round(current * min(1.0, math.sqrt(DEFAULT_MOST_PIXELS / pixels))) if width is None else width
    if wanted < 2:
        raise UsageError(f"--width must be at least 2 pixels, got {wanted}.")
    factor = wanted / current
    even = [2 * max(1, round(int(size) * factor / 2)) for size in (cameras.width[0], cameras.height[0])]
    return cameras.resized(even[0], even[1])
