"""Sessions and an exporter that misbehave in a child process, one way each."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError, RunError, UsageError
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import Precision
from edgevit_deploy.spec.description import Description, Normalisation
from tests.helpers.fakes import FakeExporter, FakeOptions


class Doubles(Session):
    """Well behaved but talkative: returns twice its input; input -1 is an error of its own."""

    name = "doubles"

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=True, detail="numpy")

    def _load(self) -> None:
        print("noise on stdout")
        os.write(1, b"\x00\xff raw noise\n")

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        print("more noise", flush=True)
        if (feeds["x"] == -1).all():
            raise RunError("it does not like -1")
        if (feeds["x"] == -2).all():
            raise ZeroDivisionError("by\nzero")
        return {"y": feeds["x"] * 2}

    def _unload(self) -> None:
        pass

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...]:
        return (OpTime(name="node", kind="Double", time_ms=float(feeds["x"].size * runs)),)


class SpeaksForItself(Doubles):
    """Says something else than the base class of everything that a class can say; returns its process's id."""

    name = "speaks for itself"
    executes_target = False
    traced_as: ClassVar[Mapping[str, frozenset[str]]] = {"Double": frozenset({"aten::mul"})}
    own_fact = 7

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=False, detail=cls.name, fix="speak")

    @classmethod
    def executes(cls, precision: Precision) -> bool:
        return precision == "fp32"

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"y": np.full_like(feeds["x"], os.getpid())}


class CrashesOnLoad(Doubles):
    def _load(self) -> None:
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)


class RefusesToLoad(Doubles):
    def _load(self) -> None:
        raise RunError("not such a file")


class ExitsOnLoad(Doubles):
    def _load(self) -> None:
        os._exit(7)


class CrashesOnRun(Doubles):
    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        os.kill(os.getpid(), signal.SIGABRT)
        return {}


class Hangs(Doubles):
    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        time.sleep(600)
        return {}


class WrongShape(Doubles):
    def _checked_output(self, spec: object, outputs: Mapping[str, Array]) -> Array:
        return np.zeros((1, 7), np.float32)


class WrongName(Doubles):
    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {"z": feeds["x"]}


class SpeaksOutOfTurn(Doubles):
    """Writes into the pipe of the replies itself, as a corrupted library might."""

    said: ClassVar[bytes] = (1 << 31).to_bytes(4, "little") + b"{" * 100

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, self.said)
            except OSError:
                continue
        return {"y": feeds["x"]}


class SpeaksTooDeep(SpeaksOutOfTurn):
    """Sends JSON of the right length with more levels than a parser takes."""

    said: ClassVar[bytes] = (10_000).to_bytes(4, "little") + b'{"new":' + b"[" * 9_993


class SpeaksNoUtf8(SpeaksOutOfTurn):
    """Sends a text that is none."""

    said: ClassVar[bytes] = (13).to_bytes(4, "little") + b'{"error":"\xff"}'


class HangsWithGrandchild(Doubles):
    """Starts a program of its own, tells its id in a file, and never answers."""

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        program = subprocess.Popen(["sleep", "600"])
        Path(os.environ["GRANDCHILD"]).write_text(str(program.pid))
        time.sleep(600)
        return feeds


class TakesMemory(Doubles):
    """Allocates as many GiB as its input says, and fills them."""

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        taken = np.ones(int(feeds["x"].flat[0] * 2**30), np.uint8)
        return {"y": np.full_like(feeds["x"], taken[-1])}


def _fail(error: Exception) -> None:
    raise error


FAULTS: dict[str, Callable[[], object]] = {
    "abort": os.abort,
    "segmentation": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(3),
    "usage": lambda: _fail(UsageError("use another flag")),
    "export": lambda: _fail(ExportError("it cannot be converted")),
    "defect": lambda: 1 // 0,
    "memory": lambda: _fail(MemoryError()),
    "disk": lambda: _fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
}


READ_FAULTS = {**FAULTS, "run": lambda: _fail(RunError("it cannot be read; convert again"))}


class FaultyExporter(FakeExporter):
    """Does what its flag says, else what the fake one does; tells its process's id."""

    def export(self, module: torch.nn.Module, plan: ExportPlan[FakeOptions], folder: Path) -> Artifact:
        FAULTS.get(plan.options.fault, int)()
        artifact = super().export(module, plan, folder)
        return replace(artifact, facts={**artifact.facts, "pid": os.getpid()})


class DescribingExporter(FakeExporter):
    """Reads as its file is called: a fault of that name, else as the fake one, with a description that has its process's id."""

    def stored(self, artifact: Artifact) -> Stored:
        READ_FAULTS.get(artifact.path.stem, int)()
        return super().stored(artifact)

    def description(self, artifact: Artifact) -> Description:
        READ_FAULTS.get(artifact.path.stem, int)()
        mean = float("nan") if artifact.path.stem == "nan" else 0.5
        return Description(labels=(str(os.getpid()), "zebra"), normalisation=Normalisation(mean=(mean, 0, 0), std=(1, 1, 1)))


class AbortingReader(FakeExporter):
    """Ends its process by whatever it reads, as a native library may by a hostile file."""

    def stored(self, artifact: Artifact) -> Stored:
        os.abort()


class AbortingDescriber(FakeExporter):
    """Ends its process at the description."""

    def description(self, artifact: Artifact) -> Description:
        os.abort()
