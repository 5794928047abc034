"""Atomic writing: whatever interrupts it, a reader sees the old content or the new."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from onefield import files
from onefield.errors import ResourceError
from onefield.files import make_folder, require_place, write_atomically


def test_bytes_and_functions_replace_the_content(tmp_path):
    target = tmp_path / "a.bin"
    write_atomically(target, b"one")
    assert target.read_bytes() == b"one"
    write_atomically(target, lambda file: [file.write(bytes([i])) for i in range(5)])
    assert target.read_bytes() == bytes(range(5))
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_midway_keeps_the_former_content(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"former")

    def fail(file):
        file.write(b"half")
        raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        write_atomically(target, fail)
    assert target.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_writer_keeps_the_former_content(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"former")
    program = (
        "import os, signal; from onefield.files import write_atomically\n"
        f"write_atomically({str(target)!r}, lambda f: (f.write(b'x' * 100000), f.flush(), os.kill(os.getpid(), 9)))"
    )
    finished = subprocess.run([sys.executable, "-c", program], check=False)
    assert finished.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"former"


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, r"full .*5 bytes were written"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_what_the_system_refuses_is_said_in_a_sentence(tmp_path, monkeypatch, code, words):
    def refuse(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", refuse)
    target = tmp_path / "picture.png"
    with pytest.raises(ResourceError, match=words) as caught:
        write_atomically(target, b"12345")
    assert str(target) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="file size limits are set by POSIX calls")
def test_a_file_that_outgrows_the_disk_leaves_nothing_behind(tmp_path):
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from onefield.errors import ResourceError
from onefield.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically({str(tmp_path / "big.bin")!r}, bytes(5000))
except ResourceError as error:
    print(error)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "too large" in finished.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ResourceError, match="nowhere does not exist"):
        write_atomically(tmp_path / "nowhere" / "a.bin", b"")


def test_a_folder_cannot_be_made_below_a_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(ResourceError, match="plain"):
        make_folder(tmp_path / "plain" / "below")
    with pytest.raises(ResourceError, match="in the way"):
        make_folder(tmp_path / "plain")
    assert make_folder(tmp_path / "a" / "b").is_dir()


def test_a_place_for_results_is_tried_out_and_left_as_it_was(tmp_path):
    require_place(tmp_path / "a" / "b")
    (tmp_path / "there").mkdir()
    require_place(tmp_path / "there")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match=r"file/c can't be written, because .*file is a file"):
        require_place(tmp_path / "file" / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]
