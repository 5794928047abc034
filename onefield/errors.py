"""Errors that a user can act on: each carries the exit code that the command line returns.

Every message is one sentence that names what is wrong, the value found, and the cure.
"""


class OnefieldError(Exception):
    """Base of every error that Onefield raises on purpose."""

    exit_code = 1


class UsageError(OnefieldError):
    """The call or command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class DataError(OnefieldError):
    """A file or an array that was given is broken, missing or meaningless."""

    exit_code = 3


class ResourceError(OnefieldError):
    """Memory, disk or another resource of the machine does not suffice."""

    exit_code = 4


class DivergedError(OnefieldError):
    """Training produced values that are not finite, again and again."""

    exit_code = 5


class InterruptedRun(OnefieldError):
    """A signal asked the run to stop; its state was saved."""

    exit_code = 130


def first_line(error: Exception) -> str:
    """What an error of another library says first, without a full stop, to stand within a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def nearest_name(name: str, valid: list[str] | tuple[str, ...] | frozenset[str]) -> str:
    """Ends a sentence about an unknown name: the nearest valid one and the whole list.

    Returns for instance ``"did you mean 'ngp'? Valid are dense, nerf, ngp, sdf"``.
    """
    import difflib

    listed = ", ".join(sorted(valid))
    close = difflib.get_close_matches(name, list(valid), n=1)
    return f"did you mean '{close[0]}'? Valid are {listed}" if close else f"valid are {listed}"
