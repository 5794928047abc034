"""Options of ``onefield bench signals``: fields side by side on signals of a set band, and on files."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from onefield.tools.output import ViewsDisplay, count_of, say, seconds_of, show

# A grid, a hash grid and three networks on pictures of every kind and one solid.
_FIELDS = "hash,dense,siren,wire,fourier"
_SIGNALS = "star,sierpinski,noise,balls,cells,phantom,torus"


@dataclass(frozen=True)
class SignalBench:
    """What ``bench signals`` compares; lists are separated by commas.

    Attributes:
        fields: representations, as onefield fit --field takes them.
        signals: star, sierpinski, phantom, noise, balls, cells (pictures), noise-1d, cells-1d (sounds), noise-3d,
            balls-3d, cells-3d, torus, torus-distance (volumes), and files of pictures, sounds, videos, volumes and
            meshes (as occupancy).
        tasks: fit, super-resolve (from means over 4 samples along each axis), denoise (deviation of a tenth of the
            range), inpaint (half of the samples known) and tomography (60 views; of star, phantom and the like).
        bands: of signals that have one, from 0 (one period) to 1 (all that the samples hold).
        parameters: numbers that a field may have at most, such as 10k,30k,100k.
        learning_rates: factors on the rates of each field's recipe, such as 0.3,1,3; the best is shown.
        seeds: how many of each, over which figures are averaged.
        side: a signal has about this number squared of samples, whatever its axes.
        steps: of each fit; the recipe's by default.
        time: of each fit instead, such as 10s.
        output: folder of the tables and the page. Finished fits are kept there, and a stopped comparison goes on.
        processes: fits at once, each on one thread; one for each core by default.
    """

    fields: str = _FIELDS
    signals: str = _SIGNALS
    tasks: str = "fit"
    bands: str = "0.3,0.6,0.9"
    parameters: str = "10k,30k,100k"
    learning_rates: str = "1"
    seeds: int = 1
    side: int = 128
    steps: int | None = None
    time: str | None = None
    output: Path = Path("bench/signals")
    processes: int | None = None

    def run(self, json: bool) -> None:
        """Compares, and writes and prints what came of it.

        Raises:
            UsageError: a list that can't be read, or a name in it that is not known.
        """
        from onefield.errors import UsageError
        from onefield.reports.signal_report import write_signal_report
        from onefield.training.signal_bench import plan, run_cells, summarised

        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps takes 1 or more, got {self.steps}.")
        sizes = [count_of(text) for text in _listed(self.parameters)]
        if not all(sizes):
            raise UsageError(f"--parameters takes numbers of 1 or more, got '{self.parameters}'.")
        if self.seeds < 1:
            raise UsageError(f"--seeds takes 1 or more, got {self.seeds}.")
        cells = plan(
            _listed(self.signals),
            _listed(self.fields),
            tasks=_listed(self.tasks),
            bands=_numbers(self.bands, "bands"),
            parameters=sizes,
            rates=_numbers(self.learning_rates, "learning-rates"),
            seeds=self.seeds,
            side=self.side,
            steps=self.steps,
            seconds=None if self.time is None else seconds_of(self.time),
        )
        processes = (os.cpu_count() or 1) if self.processes is None else self.processes
        say(f"{len(cells)} fits in all, {processes} at once; those that {self.output} holds are not run again")
        with ViewsDisplay("fits") as display:
            results = run_cells(cells, self.output, processes, display)
        written = write_signal_report(results, self.output, self._command())
        lines = [
            f"{summary.cell.task:<17} {Path(summary.cell.signal).name:<16} "
            f"{'' if summary.cell.band is None else summary.cell.band!s:<5} {summary.cell.parameters:>9,} "
            f"{summary.cell.field:<18} {summary.psnr:7.2f} dB {summary.seconds:7.1f} s"
            for summary in summarised(results)
        ]
        failed = sum(result.psnr is None for result in results.values())
        if failed:
            lines.append(f"{failed} fits have no figure; {written[-1]} says why")
        show(
            {"fits": len(results), "failed": failed, "written": [str(path) for path in written]},
            json,
            [*lines, *(f"wrote {path}" for path in written)],
        )

    def _command(self) -> str:
        """With all that differs from the defaults."""
        words = ["onefield", "bench", "signals"]
        for each in fields(self):
            value = getattr(self, each.name)
            if value != each.default and each.name != "processes":
                words += [f"--{each.name.replace('_', '-')}", str(value)]
        return shlex.join(words)


DEFAULTS = SignalBench()


def _listed(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _numbers(text: str, option: str) -> list[float]:
    from onefield.errors import UsageError

    try:
        return [float(word) for word in _listed(text)]
    except ValueError as error:
        raise UsageError(f"--{option} takes numbers separated by commas, got '{text}'.") from error
