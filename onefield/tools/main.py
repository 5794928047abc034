"""The command line's door: finds the command, parses its options, turns errors into one sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "demo": "train a small scene of Onefield's own, evaluate it, export its mesh",
    "process": "find the camera poses of plain photos or a video",
    "train": "train a scene from photos, with known cameras or without",
    "evaluate": "score a run on views that it was not trained on",
    "render": "render a run along a camera path to a video and pictures",
    "compare": "put several runs on one page",
    "view": "look at a run or a mesh in the browser",
    "export": "export a run's surface as a mesh file",
    "edit": "merge, cut, clean and move files of Gaussians",
    "stitch": "join two files of Gaussians, with colours that go on across the seam",
    "fit": "fit an image, sound, video, volume, shape, points or slices; or learn from meshes to complete points",
    "compress": "write a fitted signal as a small file that decodes from its beginning on",
    "decompress": "decode such a file, or the beginning of one, to the signal",
    "learn": "learn from signals a start for fits or one decoder, from fields how to generate or judge them",
    "generate": "draw new fields like those of a dataset",
    "predict": "tell what fields are, and how good, by their weights alone",
    "evolve": "move, smooth or morph a shape, as a row of meshes",
    "solve": "solve a differential equation by a field, beside its known solution",
    "inspect": "say what a folder or file is, and whether it is sound",
    "doctor": "check the installation and say what is used and why",
    "bench": "time the kernels on this machine, or compare fields on signals",
}

INTERRUPTED = 130
OUT_OF_MEMORY = 4
USAGE = 2


def help_text() -> str:
    """The overview that ``onefield --help`` prints."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {meaning}" for name, meaning in COMMANDS.items())
    return (
        "usage: onefield COMMAND [OPTIONS]\n\n"
        "Neural fields and 3D reconstruction behind one interface.\n\n"
        f"commands:\n{listed}\n\n"
        "'onefield COMMAND --help' lists a command's options; all of them have defaults.\n"
        "Results go to stdout, talk to stderr; --json makes results readable by machines.\n"
        "exit codes: 0 ok, 2 usage, 3 bad data, 4 resources, 5 diverged, 130 interrupted"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    try:
        code = _answered(list(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:
        code = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            # the reader has left, and Python would complain when it ends about what it still holds back
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _answered(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("onefield"))
        return 0
    from onefield.errors import OnefieldError, nearest_name

    name, *rest = arguments
    if name not in COMMANDS:
        print(f"onefield: unknown command '{name}': {nearest_name(name, tuple(COMMANDS))}.", file=sys.stderr)
        return USAGE
    try:
        return _run(name, rest)
    except OnefieldError as error:
        print(f"onefield {name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"onefield {name}: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        # PyTorch says it in words alone
        if isinstance(error, RuntimeError) and not ("memory" in str(error) and "alloc" in str(error)):
            raise
        print(
            f"onefield {name}: the machine's memory does not suffice; take smaller images (--downscale 2) or a lower "
            "resolution.",
            file=sys.stderr,
        )
        return OUT_OF_MEMORY


def _wait_briefly() -> None:
    """Has idle threads spin for a moment between kernels, then sleep.

    A step is hundreds of short parallel parts: waking a thread for each takes as long as the part itself, and threads
    that spin on and on take a shared machine from others. OpenMP reads this when it is loaded, so it stands before the
    first heavy import; who has set it is obeyed.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        # about 25 microseconds, which GNU's OpenMP obeys before the policy; ten times as long is a little faster alone,
        # but beside another training three times slower
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def _run(name: str, arguments: list[str]) -> int:
    import logging

    _wait_briefly()
    import tyro

    from onefield.tools.output import WarningLines

    logging.getLogger("onefield").addHandler(WarningLines(logging.WARNING))
    command = importlib.import_module(f"onefield.tools.{name}").run_command
    # help names arguments as the text does: SCENE instead of PATH, and no "{None}|PATH"
    named = (tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
    try:
        tyro.cli(command, prog=f"onefield {name}", args=gathered(arguments, "--set"), config=named)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE if stop.code else 0
    return 0


def gathered(arguments: Sequence[str], option: str) -> list[str]:
    """The arguments with all values of a repeated option behind its first mention, so that none is lost."""
    others: list[str] = []
    values: list[str] = []
    taking = False
    for argument in arguments:
        if argument == option or argument.startswith(f"{option}="):
            taking = argument == option
            values += [] if taking else [argument[len(option) + 1 :]]
        elif taking and not argument.startswith("-"):
            values.append(argument)
        else:
            taking = False
            others.append(argument)
    return others if len(others) == len(arguments) else [*others, option, *values]


if __name__ == "__main__":
    sys.exit(main())
