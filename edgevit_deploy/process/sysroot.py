"""A sysroot: a folder in which this machine runs programs of an ARM64 one. `.ci/install-arm64` makes it.

It holds an emulator, and for it a Python with the runtimes and the C++ sample. The child processes of `worker` run in that Python
as they do in this one: by the same messages, each fault one line. Instructions are emulated: the kernels that run are those of an
ARM64 CPU and their results are its results, while the time that they take says nothing.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.errors import MissingError
from edgevit_deploy.process.child import Interpreter

PACKAGES = ("flatbuffers", "msgspec", "numpy")
"""Distributions that the worker itself imports, and the formats that it reads."""

SCRIPT = ".ci/install-arm64"
EMULATOR, PYTHON, SITE, SAMPLES = "host/qemu-aarch64-static", "usr/bin/python3", "site", "samples"

OURS = Path(__file__).parents[2]
"""Where our own modules are, which need no other build than this machine's."""

PROCESSOR = "cortex-a76"
"""Not the emulator's own default, which has every extension there is: kernels for SVE and SME take 20 times as long in it."""

UNDER_EMULATION = "ARM64 kernels under emulation; no latency"


def is_arm64() -> bool:
    """Say whether this machine is an ARM64 one itself."""
    return platform.machine().lower() in ("aarch64", "arm64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysroot:
    """A sysroot that is complete, but for the runtimes, which it may have or not."""

    folder: Path

    @property
    def interpreter(self) -> Interpreter:
        """Its Python, which imports our own modules and what is in the sysroot, and nothing that is installed here."""
        home = ("PYTHONHOME", str(self.folder / "usr"))
        return Interpreter(command=self.command(PYTHON), importable=(self.folder / SITE, OURS), variables=(home,))

    def sample(self, target: str) -> tuple[str, ...] | None:
        """Return the command that runs the C++ sample built for a target's runtime; None where it was not built."""
        program = f"{SAMPLES}/{target}"
        return self.command(program) if os.access(self.folder / program, os.X_OK) else None

    def command(self, program: str) -> tuple[str, ...]:
        """Return the command that runs a program of the sysroot."""
        return (str(self.folder / EMULATOR), "-cpu", PROCESSOR, "-L", str(self.folder), str(self.folder / program))

    def without(self, packages: Sequence[str]) -> list[str]:
        """Return those of some import names that its Python cannot import."""
        site = self.folder / SITE
        return [name for name in packages if not ((site / name).is_dir() or (site / f"{name}.py").is_file())]


def open_sysroot(folder: Path) -> Sysroot:
    """Return a folder as a sysroot.

    Raises:
        MissingError: something that every sysroot has is not there; the message has the command that makes one.
    """
    for part in (EMULATOR, PYTHON, SITE):
        if not os.access(folder / part, os.X_OK):
            raise MissingError(f"--on-arm64 {folder}: {part} is not there; make a sysroot with {SCRIPT} {folder}")
    return Sysroot(folder=folder.absolute())
