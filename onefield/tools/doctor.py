"""``onefield doctor``: is the installation sound, and what does it use."""

from __future__ import annotations

from onefield.errors import OnefieldError
from onefield.tools.output import show


class UnsoundInstallation(OnefieldError):
    """Something that every command needs does not work."""


def run_command(json: bool = False) -> None:
    """Checks compiled kernels, memory, caches and accelerators, and says why something is off.

    Args:
        json: print the result as JSON.
    """
    from onefield.kernels.system import describe_system
    from onefield.tools.selftest import failing_kernels

    system = describe_system()
    failures = failing_kernels()
    verdict = "; ".join(failures) if failures else "all agree with their references"
    lines = [*system.lines(), f"kernels: {verdict}"]
    show(system.as_json() | {"failing_kernels": failures}, json, lines)
    if failures:
        raise UnsoundInstallation(
            f"{len(failures)} kernels differ from their references; reinstall with 'pip install --force-reinstall "
            "numba torch', and report it if that does not help."
        )
