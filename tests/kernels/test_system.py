"""What the machine has, on machines made up in a temporary folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onefield.kernels import system
from onefield.kernels.system import (
    configure_cache,
    describe_operations,
    describe_system,
    memory_available,
    memory_total,
    user_cache_folder,
)

GIGABYTE = 1024**3

ROOT = Path(__file__).resolve().parents[2]


def machine(root, cgroup, limits):
    """A file tree that reads like a Linux machine with 8 GiB of memory, 6 of them free."""
    files = {
        "proc/meminfo": f"MemTotal: {8 * GIGABYTE // 1024} kB\nMemAvailable: {6 * GIGABYTE // 1024} kB\n",
        "proc/self/cgroup": cgroup,
        **limits,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_memory_of_a_free_machine(tmp_path):
    root = machine(tmp_path, "0::/\n", {"sys/fs/cgroup/memory.max": "max\n"})
    assert memory_total(root) == 8 * GIGABYTE
    assert memory_available(root) == 6 * GIGABYTE


@pytest.mark.parametrize("place", ["sys/fs/cgroup", "sys/fs/cgroup/outer", "sys/fs/cgroup/outer/inner"])
def test_a_container_limits_memory_at_any_level(tmp_path, place):
    limits = {
        f"{place}/memory.max": f"{2 * GIGABYTE}\n",
        f"{place}/memory.current": f"{GIGABYTE}\n",
        f"{place}/memory.stat": f"anon 5\ninactive_file {GIGABYTE // 4}\n",
    }
    root = machine(tmp_path, "0::/outer/inner\n", limits)
    assert memory_total(root) == 2 * GIGABYTE
    assert memory_available(root) == GIGABYTE + GIGABYTE // 4


def test_control_groups_of_the_first_version(tmp_path):
    folder = "sys/fs/cgroup/memory/job"
    limits = {
        f"{folder}/memory.limit_in_bytes": f"{GIGABYTE}\n",
        f"{folder}/memory.usage_in_bytes": f"{2 * GIGABYTE}\n",
        f"{folder}/memory.stat": "cache 1\n",
    }
    root = machine(tmp_path, "3:cpu:/job\n4:memory:/job\n", limits)
    assert memory_total(root) == GIGABYTE
    assert memory_available(root) == 0


def test_elsewhere_than_on_linux_half_of_the_memory_is_assumed_free(tmp_path):
    assert memory_total(tmp_path) == system._physical_memory() > 0
    assert memory_available(tmp_path) == memory_total(tmp_path) // 2


def test_cache_prefers_the_named_folder_then_the_package_then_the_user(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "NUMBA_CACHE_DIR", str(tmp_path / "named"))
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(system, "_set_cache_folder", lambda folder: monkeypatch.setenv("NUMBA_CACHE_DIR", folder))
    assert configure_cache() == tmp_path / "named"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert configure_cache() == Path(system.__file__).parent / "cpu" / "__pycache__"

    writable = system._is_writable
    monkeypatch.setattr(system, "_is_writable", lambda folder: "__pycache__" not in str(folder) and writable(folder))
    assert configure_cache() == user_cache_folder()
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(system, "_is_writable", lambda folder: False)
    temporary = configure_cache()
    assert temporary.is_dir()
    assert temporary.parent == Path(system.tempfile.gettempdir())


def test_a_read_only_package_still_caches_its_kernels(tmp_path):
    program = """
from onefield.kernels import system
writable = system._is_writable
system._is_writable = lambda folder: "__pycache__" not in str(folder) and writable(folder)
import onefield.kernels.cpu
import numba
@numba.njit("float64(float64)", cache=True)
def double(x): return 2 * x
print(numba.config.CACHE_DIR, double(2.0))
"""
    (tmp_path / "program.py").write_text(program)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": ""}
    finished = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], env=environment, capture_output=True, text=True, check=True
    )
    assert str(tmp_path / "cache") in finished.stdout
    assert list((tmp_path / "cache").rglob("*.nbc")), finished.stderr


@pytest.mark.parametrize(("named", "first"), [(None, "omp"), ("workqueue tbb omp", "workqueue")])
def test_kernels_run_on_openmp_also_where_their_compiler_was_imported_before(named, first):
    program = """
import numba
import onefield.kernels.cpu
numba.set_num_threads(1)
print(numba.config.THREADING_LAYER_PRIORITY[0], numba.threading_layer())
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    if named is not None:
        environment["NUMBA_THREADING_LAYER_PRIORITY"] = named
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert finished.stdout.split() == [first, first]


def test_report_names_the_layer_that_kernels_will_run_on():
    program = "from onefield.kernels.system import describe_system; print(describe_system().threading_layer)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert finished.stdout.strip() == "OpenMP"


def test_every_accelerator_that_is_off_says_why():
    report = describe_system()
    assert report.cores >= 1
    assert 0 < report.memory_available <= report.memory_total
    assert report.cache_writable
    assert {"CUDA device", "Triton", "C compiler", "tiny-cuda-nn", "nerfacc", "gsplat"} == {
        a.name for a in report.accelerators
    }
    assert all(a.detail.strip() for a in report.accelerators)
    assert json.loads(json.dumps(report.as_json()))["cores"] == report.cores
    text = "\n".join(report.lines())
    assert all(f"{a.name}: {'' if a.available else 'off: '}{a.detail}" in text for a in report.accelerators)
    assert all(operation.name in text for operation in report.operations)


def test_compiled_kernels_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not system.compiled_kernels_cached()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "kernel.nbc").touch()
    assert system.compiled_kernels_cached()


def test_a_broken_driver_is_reported_and_not_raised(monkeypatch):
    import torch

    def crash():
        raise RuntimeError("driver mismatch")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", crash)
    device = next(a for a in describe_system().accelerators if a.name == "CUDA device")
    assert not device.available
    assert "driver mismatch" in device.detail


def test_operations_are_listed_with_their_devices():
    operations = describe_operations()
    assert operations == tuple(sorted(operations, key=lambda o: o.name))
    assert all(set(o.devices) <= {"cpu", "cuda"} for o in operations)
    assert any("cpu" in o.devices for o in operations)
