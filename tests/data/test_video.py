"""Videos: what is written is read back with its frames and colours, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import pytest
import torch

from onefield.data.video import write_video
from onefield.errors import ResourceError, UsageError

COLORS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def _frames() -> list[torch.Tensor]:
    return [torch.tensor(color).expand(32, 48, 3) for color in COLORS]


def test_frames_come_back_in_order(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", _frames(), fps=10)
    read = imageio.imread(tmp_path / "film.mp4")
    assert read.shape == (3, 32, 48, 3)
    assert [int(frame.reshape(-1, 3).mean(0).argmax()) for frame in read] == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_impossible_rates_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1 frame"):
        write_video(tmp_path / "film.mp4", _frames(), fps=0)
    with pytest.raises(ResourceError, match="missing"):
        write_video(tmp_path / "missing" / "film.mp4", _frames(), fps=10)
    with pytest.raises(UsageError, match=r"written as \.mp4"):
        write_video(tmp_path / "film.xyz", _frames(), fps=10)
    with pytest.raises(UsageError, match="no frames"):
        write_video(tmp_path / "film.mp4", [], fps=10)
    with pytest.raises(UsageError, match=r"\(32, 48, 3\) and \(32, 46, 3\)"):
        write_video(tmp_path / "film.mp4", [*_frames(), torch.zeros(32, 46, 3)], fps=10)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_source_leaves_nothing(tmp_path: Path) -> None:
    def frames():
        yield _frames()[0]
        raise RuntimeError("the renderer failed")

    with pytest.raises(RuntimeError, match="renderer failed"):
        write_video(tmp_path / "film.mp4", frames(), fps=10)
    assert list(tmp_path.iterdir()) == []
