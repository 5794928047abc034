"""What this machine has: processor, memory, compiled-kernel cache and accelerators, each probed without harm."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import pkgutil
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

_CACHE_VARIABLE = "NUMBA_CACHE_DIR"
_LAYERS = ("omp", "tbb", "workqueue")  # in order of how well they share cores with PyTorch's pool
_LAYER_NAMES = {"omp": "OpenMP", "tbb": "TBB", "workqueue": "workqueue"}
_COMPILERS = ("gcc", "clang", "cc", "cl")
_logger = logging.getLogger("onefield.kernels")


@dataclass(frozen=True)
class Accelerator:
    """Something that makes kernels faster where it is there.

    Attributes:
        name: as its users call it.
        available: whether it can be used here and now.
        detail: what was found, or one sentence on why it is off and how to get it.
    """

    name: str
    available: bool
    detail: str


@dataclass(frozen=True)
class OperationStatus:
    """An operation of ``onefield.kernels``: the devices it has kernels for, and why references ran instead so far."""

    name: str
    devices: tuple[str, ...]
    fallbacks: tuple[str, ...]


@dataclass(frozen=True)
class SystemReport:
    """The machine as `describe_system` found it; memory in bytes.

    Attributes:
        threading_layer: what runs parallel CPU kernels (OpenMP shares cores with PyTorch best).
        cache_folder: where compiled CPU kernels are kept, and whether this user may write there.
    """

    platform: str
    python: str
    torch: str
    numpy: str
    numba: str
    threading_layer: str
    cores: int
    memory_total: int
    memory_available: int
    cache_folder: Path
    cache_writable: bool
    accelerators: tuple[Accelerator, ...]
    operations: tuple[OperationStatus, ...]

    def as_json(self) -> dict[str, object]:
        """The report as plain data."""
        return {**asdict(self), "cache_folder": str(self.cache_folder)}

    def lines(self) -> list[str]:
        """The report for people, a fact a line."""
        state = "" if self.cache_writable else " (can't be written)"
        facts = [
            f"platform: {self.platform}",
            f"python {self.python}, torch {self.torch}, numpy {self.numpy}, numba {self.numba}",
            f"cores: {self.cores}, CPU kernels in parallel by {self.threading_layer}",
            f"memory: {_gigabytes(self.memory_available)} of {_gigabytes(self.memory_total)} available",
            f"compiled kernels: {self.cache_folder}{state}",
        ]
        facts += [f"{a.name}: {'' if a.available else 'off: '}{a.detail}" for a in self.accelerators]
        for operation in self.operations:
            missing = "" if operation.devices else "reference only"
            causes = "; ".join(operation.fallbacks)
            ran = f" (the reference ran: {causes})" if causes else ""
            facts.append(f"kernel {operation.name}: {', '.join(operation.devices)}{missing}{ran}")
        return facts


def describe_system() -> SystemReport:
    """Probes the machine; a probe that fails is reported as off, never raised."""
    import numba
    import numpy
    import torch

    cache_folder = configure_cache()
    return SystemReport(
        platform=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=numpy.__version__,
        numba=numba.__version__,
        threading_layer=_threading_layer(),
        cores=cores_available(),
        memory_total=memory_total(),
        memory_available=memory_available(),
        cache_folder=cache_folder,
        cache_writable=_is_writable(cache_folder),
        accelerators=_probe_accelerators(),
        operations=describe_operations(),
    )


def describe_operations() -> tuple[OperationStatus, ...]:
    """Every operation, by name; imports all modules of ``onefield.kernels`` but none of their kernels."""
    import onefield.kernels
    from onefield.kernels.dispatch import Operation

    found = {}
    for module in pkgutil.iter_modules(onefield.kernels.__path__):
        if module.ispkg:
            continue
        for value in vars(importlib.import_module(f"onefield.kernels.{module.name}")).values():
            if isinstance(value, Operation):
                devices = tuple(name for name, target in (("cpu", value.cpu), ("cuda", value.cuda)) if target)
                found[value.name] = OperationStatus(value.name, devices, tuple(value.fallbacks))
    return tuple(found[name] for name in sorted(found))


def cores_available() -> int:
    """Processor cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux tells
        return os.cpu_count() or 1


def configure_cache() -> Path:
    """Decides where compiled CPU kernels are kept, before the compiler is imported, and returns the folder.

    A folder that the user named in ``NUMBA_CACHE_DIR`` wins; then ``__pycache__`` inside the package; where that can't
    be written, the user's cache folder, keyed by version and processor; at last a temporary folder of this process.
    """
    named = os.environ.get(_CACHE_VARIABLE)
    if named and _is_writable(Path(named)):
        return Path(named)
    beside = Path(__file__).parent / "cpu" / "__pycache__"
    if _is_writable(beside):
        if named:
            _set_cache_folder("")
        return beside
    folder = user_cache_folder()
    if not _is_writable(folder):
        folder = Path(tempfile.mkdtemp(prefix="onefield-kernels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _logger.warning("No cache folder can be written, so CPU kernels are compiled anew in every run.")
    _set_cache_folder(str(folder))
    return folder


def compiled_kernels_cached() -> bool:
    """Whether an earlier run has left compiled CPU kernels, so that the first step does not wait for the compiler."""
    return any(configure_cache().rglob("*.nbc"))


def prefer_openmp() -> None:
    """Has parallel CPU kernels run on OpenMP threads also where TBB is installed, unless the user chose otherwise.

    TBB's threads also make every fork of the process wait, now and then for minutes.
    """
    named = os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", " ".join(_LAYERS))
    compiler = sys.modules.get("numba")
    if compiler is not None:  # imported before, it has read its settings already
        compiler.config.THREADING_LAYER_PRIORITY = named.split()


def user_cache_folder() -> Path:
    """The user's folder for compiled kernels of these versions and this processor; not made yet."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    versions = "-".join(f"{name}{_version(name)}" for name in ("onefield", "numba"))
    return base / "onefield" / f"{versions}-{sys.implementation.cache_tag}-{platform.machine() or 'unknown'}"


def memory_total(root: Path = Path("/")) -> int:
    """Bytes of memory that this process could ever use: the machine's, or its container's if that is less."""
    total = _meminfo(root).get("MemTotal", _physical_memory())
    return min([total, *(limit for limit, _ in _container_limits(root))])


def memory_available(root: Path = Path("/")) -> int:
    """Bytes of memory that can be taken now without swapping or being killed.

    Args:
        root: where ``proc`` and ``sys`` are mounted; elsewhere than on Linux half of the memory is assumed free.
    """
    free = _meminfo(root).get("MemAvailable", _physical_memory() // 2)
    limits = [limit - used for limit, used in _container_limits(root)]
    return max(0, min([free, *limits, *_process_limits(root)]))


def _gigabytes(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-unknown"


def _set_cache_folder(folder: str) -> None:
    os.environ[_CACHE_VARIABLE] = folder
    if "numba" in sys.modules:  # it has read the variable already
        import numba

        numba.config.CACHE_DIR = folder


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _threading_layer() -> str:
    import numba

    prefer_openmp()
    try:
        return _LAYER_NAMES.get(numba.threading_layer(), numba.threading_layer())
    except ValueError:  # nothing ran in parallel yet
        pass
    modules = {"omp": "omppool", "tbb": "tbbpool", "workqueue": "workqueue"}
    for layer in numba.config.THREADING_LAYER_PRIORITY:
        try:
            importlib.import_module(f"numba.np.ufunc.{modules[layer]}")
        except (ImportError, OSError, KeyError):
            continue
        return _LAYER_NAMES[layer]
    return "none: CPU kernels run on one thread"


def _meminfo(root: Path) -> dict[str, int]:
    try:
        lines = (root / "proc" / "meminfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":") for line in lines if line.startswith(("MemTotal:", "MemAvailable:")))
    return {name: int(rest.split()[0]) * 1024 for name, rest in pairs}


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _windows_memory()


def _windows_memory() -> int:
    import ctypes

    kilobytes = ctypes.c_ulonglong(0)
    with contextlib.suppress(AttributeError, OSError):
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
    assumed = 4 * 1024**3  # the least that the engine is meant for
    return kilobytes.value * 1024 or assumed


def _container_limits(root: Path) -> list[tuple[int, int]]:
    """(limit, use) in bytes of each control group, first and second version, that holds this process."""
    try:
        memberships = (root / "proc" / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    mount = root / "sys" / "fs" / "cgroup"
    limits = []
    for line in memberships:
        number, _, path = line.partition(":")
        controllers, _, path = path.partition(":")
        if "memory" in controllers.split(","):
            names, top = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"), mount / "memory"
        elif number == "0":
            names, top = ("memory.max", "memory.current", "inactive_file"), mount
        else:
            continue
        inner = Path(path.lstrip("/"))
        for folder in dict.fromkeys([top / inner, *(top / parent for parent in inner.parents), top]):
            limits += _limit_of(folder, *names)
    return limits


def _process_limits(root: Path) -> list[int]:
    """Bytes that this process may still take where ``ulimit`` bounds its addresses or its data."""
    try:
        import resource

        pages = [int(number) for number in (root / "proc" / "self" / "statm").read_text().split()]
    except (ImportError, OSError, ValueError):  # no such limits, or nobody says what is in use
        return []
    size = os.sysconf("SC_PAGE_SIZE")
    # size and data of proc(5)
    used = {resource.RLIMIT_AS: pages[0] * size, resource.RLIMIT_DATA: pages[5] * size}
    limits = {kind: resource.getrlimit(kind)[0] for kind in used}
    return [limit - used[kind] for kind, limit in limits.items() if limit != resource.RLIM_INFINITY]


def _limit_of(folder: Path, limit_name: str, use_name: str, reclaimable_name: str) -> list[tuple[int, int]]:
    try:
        limit = (folder / limit_name).read_text().strip()
        used = int((folder / use_name).read_text())
        statistics = (folder / "memory.stat").read_text().split()
    except (OSError, ValueError):
        return []
    if not limit.isdecimal():  # "max"
        return []
    numbers = dict(zip(statistics[::2], statistics[1::2], strict=False))
    return [(int(limit), max(0, used - int(numbers.get(reclaimable_name, 0))))]


def _probe_accelerators() -> tuple[Accelerator, ...]:
    device = _probe_device()
    return (
        device,
        _probe_triton(device),
        _probe_compiler(),
        _probe_package("tiny-cuda-nn", "tinycudann", "build it from its repository", device),
        _probe_package("nerfacc", "nerfacc", 'pip install "onefield[cuda]"', device),
        _probe_package("gsplat", "gsplat", 'pip install "onefield[cuda]"', device),
    )


def _probe_device() -> Accelerator:
    import torch

    name = "CUDA device"
    if torch.version.cuda is None:
        return Accelerator(name, False, "This build of PyTorch is for CPUs only; install one with CUDA for a card.")
    try:
        if not torch.cuda.is_available():
            return Accelerator(name, False, "PyTorch finds no NVIDIA card or driver here.")
        properties = torch.cuda.get_device_properties(0)
    except Exception as error:  # a broken driver raises whatever it likes
        return Accelerator(name, False, f"PyTorch could not ask the driver: {error}")
    more = torch.cuda.device_count() - 1
    others = f" and {more} more" if more else ""
    return Accelerator(name, True, f"{properties.name}, {properties.total_memory / 1024**3:.0f} GiB{others}")


def _probe_triton(device: Accelerator) -> Accelerator:
    if importlib.util.find_spec("triton") is None:
        return Accelerator("Triton", False, "Triton is not installed; it comes with PyTorch builds for CUDA.")
    if not device.available:
        return Accelerator("Triton", False, f"Triton {_version('triton')} is installed, but there is no CUDA device.")
    return Accelerator("Triton", True, _version("triton"))


def _probe_compiler() -> Accelerator:
    named = os.environ.get("CC")
    for candidate in (*([named] if named else []), *_COMPILERS):
        found = shutil.which(candidate)
        if found:
            return Accelerator("C compiler", True, found)
    reason = "No C compiler was found; Triton needs one on a card (install gcc or clang), CPU kernels need none."
    return Accelerator("C compiler", False, reason)


def _probe_package(name: str, module: str, how: str, device: Accelerator) -> Accelerator:
    if importlib.util.find_spec(module) is None:
        return Accelerator(name, False, f"not installed, which only comparisons in benchmarks need; to have it: {how}.")
    if not device.available:
        return Accelerator(name, False, f"{name} is installed, but there is no CUDA device.")
    try:
        importlib.import_module(module)
    except Exception as error:  # native extensions fail in their own ways
        return Accelerator(name, False, f"{name} is installed but does not load: {error}")
    return Accelerator(name, True, f"version {_version(name)}, for comparisons; Onefield runs its own kernels")
