"""The two TensorRT libraries behind one thin shim: what they are called, how they report, what their plans look like.

TensorRT (10 and 11) and TensorRT-RTX (1.x) share one Python API family; the names that differ are met here.
"""

import functools
import importlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from edgevit_deploy.registry import install_command

Flavor = Literal["tensorrt", "tensorrt-rtx"]

MAX_MESSAGES = 200_000
"""Several builds of EdgeViT-S (tens of thousands of lines each); a long-running session must not grow for ever."""

OLDEST_TENSORRT = 10
"""TensorRT 8 and 9 have another API (precision as builder flags), which this project does not support."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """One TensorRT: its name for people, its import name and the command that installs it."""

    flavor: Flavor
    title: str
    module: str
    install: str

    def load(self) -> ModuleType:
        """Import the library; only where `probe.capability` has said that this is safe."""
        return importlib.import_module(self.module)


LIBRARIES: dict[Flavor, Library] = {
    "tensorrt": Library(
        flavor="tensorrt",
        title="TensorRT",
        module="tensorrt",
        install=f"{install_command('tensorrt')} (its libraries come from NVIDIA's own package index)",
    ),
    "tensorrt-rtx": Library(
        flavor="tensorrt-rtx",
        title="TensorRT-RTX",
        module="tensorrt_rtx",
        install=install_command("tensorrt-rtx"),
    ),
}
"""In order of preference: the full TensorRT where it works, else TensorRT-RTX."""


class MessageLog:
    """What a TensorRT library said since `start`: (severity, text) pairs, and the native logger that fills them."""

    def __init__(self, trt: ModuleType) -> None:
        self.messages: deque[tuple[str, str]] = deque(maxlen=MAX_MESSAGES)
        self.native = _native_logger(trt, self.messages)

    def start(self) -> None:
        """Forget what was said before."""
        self.messages.clear()

    def errors(self) -> str:
        """Return the last three errors on one line."""
        errors = [" ".join(text.split()) for severity, text in self.messages if severity.endswith("ERROR")]
        return "; ".join(errors[-3:]) or "the library gave no reason"


@functools.cache
def message_log(trt: ModuleType) -> MessageLog:
    """Return the log of a library, the same one each time.

    A process has one TensorRT logger: every later one is ignored with a warning, and what it should have received goes to
    the first (seen in TensorRT-RTX 1.7.1).
    """
    return MessageLog(trt)


def _native_logger(trt: ModuleType, messages: deque[tuple[str, str]]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]  # the base class exists once the library is loaded
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            messages.append((severity.name, msg))

    return Logger()


def create_network(trt: ModuleType, builder: Any) -> Any:
    """Create a strongly typed network: precisions are those of the ONNX file.

    TensorRT 10 needs the flag; 11 and RTX are always strongly typed and keep it without effect (10 to 11 migration guide).
    """
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))


PLAN_HEADER_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHeader:
    """What the first bytes of a plan file say: which library wrote it, and its version."""

    flavor: Flavor
    version: str


def read_plan_header(path: Path) -> PlanHeader | None:
    """Read who wrote a plan, without loading it; None when the file is too short to be one.

    The version is in bytes 24 to 27 (NVIDIA/TensorRT#3073; seen in TensorRT-RTX 1.7.1). TensorRT-RTX counts from 1 and its
    plans begin with `vtrt`; whatever else it may be is left to the full TensorRT to judge.
    """
    with path.open("rb") as file:
        header = file.read(PLAN_HEADER_BYTES)
    if len(header) < PLAN_HEADER_BYTES:
        return None
    written_by_rtx = header[:4] == b"vtrt" and header[24] < OLDEST_TENSORRT
    return PlanHeader(
        flavor="tensorrt-rtx" if written_by_rtx else "tensorrt", version=".".join(str(part) for part in header[24:28])
    )
