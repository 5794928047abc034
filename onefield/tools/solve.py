"""``onefield solve``: differential equations by fields, beside their solutions in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onefield.tools.output import say, show

# Solutions are asked at some sixty places a side, which is small for a picture.
_ENLARGED = 4


def run_command(
    problem: Annotated[str, tyro.conf.Positional] = "advection",
    /,
    output: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Solves a differential equation by a field, compares it with the solution that is known, and draws both.

    Problems: eikonal (signed distance from a circle), helmholtz (a plane wave from its values on walls), point-source
    (waves that leave through matched layers), wave (a pulse that parts), and, step by step in time, advection (a pulse
    carried along, beside a grid of as many numbers), fluid (a Taylor-Green vortex) and elasticity (a square that
    swings). Equations of one's own are put together in Python, of onefield.training.equations.

    Args:
        problem: one of these names.
        output: folder to write the picture to; solutions/NAME by default.
        seed: of all random numbers.
        json: print the result as JSON.
    """
    import time

    import imageio.v3 as imageio

    from onefield.files import make_folder, require_place, write_atomically
    from onefield.training.equations import study_named

    study = study_named(problem)
    folder = require_place(Path("solutions") / problem if output is None else output)
    say(f"{study.name}: {study.meaning}")
    started = time.perf_counter()
    solved = study.run(seed, say)
    make_folder(folder)
    levels = (solved.picture * 255).round().byte().numpy().repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    write_atomically(folder / "solution.png", imageio.imwrite("<bytes>", levels, extension=".png"))
    figures = solved.metrics | {"seconds": time.perf_counter() - started}
    listed = ", ".join(f"{name} {value:.3g}" for name, value in figures.items())
    lines = [listed, f"wrote {folder / 'solution.png'} (the field on the left, the truth on the right)"]
    show({"problem": problem, "folder": str(folder), **figures}, json, lines)
