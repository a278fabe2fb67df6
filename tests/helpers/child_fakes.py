"""Sessions that misbehave in a child process, one way each."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import Precision


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

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, (1 << 31).to_bytes(4, "little") + b"{" * 100)
            except OSError:
                continue
        return {"y": feeds["x"]}
