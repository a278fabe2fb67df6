"""Runtimes with known latencies, memory and moods.

The processes that measure memory import this module, so it imports no torch.
"""

import sys
import time
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, Session
from edgevit_deploy.spec import TensorSpec

INPUTS = (TensorSpec(name="input", shape=(1, 3, 32, 32), dtype="float32"),)
OUTPUTS = (TensorSpec(name="logits", shape=(1, 1), dtype="float32"),)
FEEDS = {"input": np.zeros((1, 3, 32, 32), np.float32)}
BIG_BYTES = 200_000_000


class SpinSession(Session):
    """A runtime whose every run keeps the CPU busy for as many microseconds as its file says."""

    name = "spin"
    events: ClassVar[list[tuple[str, str, int]]] = []

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=True, detail="always there")

    def _load(self) -> None:
        text = self.path.read_text()
        if text == "broken":
            raise RunError("broken file")
        self.seconds = int(text) / 1e6
        self.events.append(("open", self.path.name, id(self)))

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        self.events.append(("run", self.path.name, id(self)))
        return {"logits": np.zeros((1, 1), np.float32)}

    def _unload(self) -> None:
        self.events.append(("close", self.path.name, id(self)))


class ClockSession(SpinSession):
    """Takes its time on a clock of its own, which nothing else on the machine moves: put `read` where the time is read."""

    now_ns: ClassVar[int] = 0

    @classmethod
    def read(cls) -> int:
        return cls.now_ns

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        type(self).now_ns += round(self.seconds * 1e9)
        return {"logits": np.zeros((1, 1), np.float32)}


class HungrySession(SpinSession):
    """Takes BIG_BYTES when it loads."""

    def _load(self) -> None:
        self.memory = np.ones(BIG_BYTES, np.uint8)
        super()._load()


class MoodySession(SpinSession):
    """Is three times as slow in every second session."""

    loads: ClassVar[int] = 0

    def _load(self) -> None:
        super()._load()
        type(self).loads += 1
        self.seconds *= 1 if type(self).loads % 2 else 3


class ChildSession(SpinSession):
    """Says that its model runs in a process of its own, which has spent 2 ms more whenever it is asked."""

    spent_ns = 0

    def peak_memory_bytes(self) -> int:
        return 12345

    def cpu_time_ns(self) -> int:
        self.spent_ns += 2_000_000
        return self.spent_ns


class DyingSession(SpinSession):
    """Kills its process when it is not the one that tests run in."""

    def _load(self) -> None:
        if "pytest" not in sys.modules:
            sys.exit(1)
        super()._load()
