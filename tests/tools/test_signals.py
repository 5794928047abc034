"""Signals that end a training: the first in good order, the second at once."""

from __future__ import annotations

import io
import os
import signal
import sys

import pytest

from onefield.tools.signals import StopSignals


class Ended(Exception):
    pass


class Terminal(io.StringIO):
    """What is said stays here; what is written past it goes to a pipe."""

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self.pipe = pipe

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.pipe


def test_the_second_signal_ends_at_once_and_gives_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise Ended(code)

    reader, writer = os.pipe()
    former = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", Terminal(writer))
        patched.setattr(os, "_exit", end)
        with StopSignals() as signals:
            assert not signals.stop_asked()
            signal.raise_signal(signal.SIGINT)
            assert signals.stop_asked()
            with pytest.raises(Ended, match="130"):
                signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is former
    os.close(writer)
    assert os.read(reader, 1000) == b"\x1b[?25h"
    os.close(reader)
