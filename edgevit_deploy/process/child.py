"""Child processes: a fresh interpreter that finds our modules, and how a child ended, told in one line.

`run_once` is for work that native code may crash, or whose library prints as it likes: one command, one end. Sessions, which are
asked many times, are in `session_child`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.outside.text import one_line

IN_A_WORKER = "EDGEVIT_DEPLOY_WORKER"


class ChildFailure(Exception):  # noqa: N818 - a reason, not an error: whoever started the child says what it was for
    """Why a child did not do what it was asked, as the end of a sentence that begins with its name."""


class NotStarted(ChildFailure):
    """There is no such program, or it may not be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended: its status, negative for a signal as in `subprocess`, and everything that it printed."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def how(self) -> str:
        """The end of a sentence that begins with the child's name, with the last line of its stderr."""
        return how_it_ended(self.status, self.stderr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that is not this one, for a child: how it is started, what it can import, and what else it finds set."""

    command: tuple[str, ...]
    importable: tuple[Path, ...]
    variables: tuple[tuple[str, str], ...] = ()


def python(code: str, *arguments: str, interpreter: Interpreter | None = None) -> list[str]:
    """Return the command that runs code in a fresh interpreter: this one, unless another is given."""
    return [*(interpreter.command if interpreter else (sys.executable,)), "-P", "-c", code, *arguments]


def python_module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in a fresh interpreter."""
    return [sys.executable, "-P", "-m", name, *arguments]


def environment(interpreter: Interpreter | None = None) -> dict[str, str]:
    """Return this process's environment, with all that it can import made importable in a child, or all that another one can."""
    importable, variables = (interpreter.importable, interpreter.variables) if interpreter else (sys.path, ())
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in importable)
    return {**os.environ, **dict(variables), IN_A_WORKER: "1", "PYTHONPATH": path}


def in_a_worker() -> bool:
    """Say whether this process is a worker itself: what it starts then stays in its group, and ends with it."""
    return IN_A_WORKER in os.environ


def run_once(command: Sequence[str], *, timeout_s: float, folder: Path | None = None) -> Ended:
    """Run a command to its end, without input; Ctrl-C in a terminal reaches only this process, which then ends the child.

    Args:
        command: a program and its arguments.
        timeout_s: after that it is killed.
        folder: where it runs; None for here.

    Raises:
        NotStarted: with the system's reason.
        ChildFailure: it took too long.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=not in_a_worker(),
        )
    except OSError as error:
        raise NotStarted(f"cannot be started ({error.strerror})") from error
    with process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise ChildFailure(f"did not end within {timeout_s:g} s") from None
        finally:
            end_group(process)
    return Ended(status=process.returncode, stdout=stdout, stderr=stderr)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that has not ended, and whatever it has started where it leads a group of its own."""
    if process.poll() is not None:
        return
    with suppress(OSError):
        if hasattr(os, "killpg") and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def how_it_ended(status: int, said: bytes = b"") -> str:
    """Return the status or the signal of a child, and the last line of what it said, as the end of a sentence about it."""
    words = last_line(said)
    words = f": {words}" if words else ""
    if status >= 0:
        return f"ended with status {status}{words}"
    name = signal.Signals(-status).name
    hint = ", perhaps because memory ran out" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}{words}"


def last_line(said: bytes) -> str:
    """Return the last line of what a child said, fit for a terminal; empty if it said nothing."""
    lines = said.decode(errors="replace").strip().splitlines()
    return one_line(lines[-1]) if lines else ""
