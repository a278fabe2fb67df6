"""The program: `edgevit-deploy`, `python -m edgevit_deploy` and `convert.py` begin here, before anything is imported."""

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

NO_MEMORY = b"error: memory ran out before anything was begun; lift the memory limit (`ulimit -v`, a container's)\n"
INTERRUPTED = b"error: interrupted; nothing was begun\n"


def main() -> NoReturn:
    """Run the command line and exit; Ctrl-C while modules are imported is one line, too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell has its background jobs ignore Ctrl-C
            signal.signal(number, _leave)
    from edgevit_deploy.errors import DeployError
    from edgevit_deploy.process.supervisor import ends, supervise

    supervise(_clear)

    try:
        from edgevit_deploy.cli import main as command_line
    except DeployError as error:
        ends()
        sys.exit(_refuse(error))
    except MemoryError:
        ends()
        os.write(2, NO_MEMORY)
        os._exit(1)
    command_line()


def _clear(place: "Path") -> None:
    """Remove what a killed run has left beside a bundle's place, as the next run would."""
    from edgevit_deploy.bundle.place import staged_bundle

    with staged_bundle(place):
        pass


def _leave(*_: object) -> NoReturn:
    os.write(2, INTERRUPTED)
    os._exit(130)


def _refuse(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the console could not be imported
    return getattr(error, "exit_code", 1)


if __name__ == "__main__":
    main()
