"""Every error that a user can meet.

DeployError
 +- UsageError    a wrong argument, a wrong combination or bad input       exit 2
 +- MissingError  a library, driver, device or platform is not there       exit 3
 +- BundleError   a bundle is not what its manifest says (hash, contents)  exit 1
 +- ExportError   a converter refused or crashed                           exit 1
 +- RunError      a runtime could not load or run a file                   exit 1

A failed comparison is a result (`ParityReport.ok` is False), not an error; it also ends in exit 1.
"""

import difflib
import re
from collections.abc import Iterable

__all__ = [
    "BundleError",
    "DeployError",
    "ExportError",
    "MissingError",
    "RunError",
    "UsageError",
    "did_you_mean",
    "first_line",
    "system_refusal",
]


NO_MEMORY = re.compile(
    r"not enough memory|can't allocate memory|cannot allocate memory|unable to allocate|bad_alloc|failed to map segment|"
    r"can't start new thread|out of memory",
    re.IGNORECASE,
)
"""How PyTorch, NumPy, the C++ library and the loader say that there is no memory."""


class DeployError(Exception):
    """Base of all errors; its text is one line that says what happened and what to type next."""

    exit_code = 1


class UsageError(DeployError):
    """A wrong argument, an unsupported combination or unreadable input."""

    exit_code = 2


class MissingError(DeployError):
    """A library, driver, device or platform that the request needs is not there."""

    exit_code = 3


class BundleError(DeployError):
    """A bundle's files differ from what its manifest records."""


class ExportError(DeployError):
    """A converter refused the model or crashed."""


class RunError(DeployError):
    """A runtime could not load a file or could not run it."""


def did_you_mean(name: str, known: Iterable[str], few: Iterable[str] | None = None) -> str:
    """Return the end of an error line: the closest known name, or all of them.

    Args:
        name: that is not known.
        known: all names.
        few: which of them to list where none is close; all when None.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names if few is None else sorted(few))}"


def system_refusal(error: BaseException) -> str | None:
    """Return one line for what the system refused: memory, a disk, a pipe, a descriptor; None for any other error.

    Libraries report a lack of memory as errors of several kinds, and also while they are loaded.
    """
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return (
            f"memory ran out ({first_line(error)}); use a smaller --image-size or --batch, lift the memory limit of this process "
            "(`ulimit -v`, a container's), or use a machine with more"
        )
    if isinstance(error, OSError):
        return f"the system refused: {error}; nothing half-written was kept"
    return None


def first_line(error: BaseException) -> str:
    """Return what a foreign exception says first; some go on with a page of stack or of the model's text."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
