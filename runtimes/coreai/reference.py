"""Core AI reference evaluation: the program of a saved asset, evaluated operator by operator in PyTorch on any platform.

This is never Core AI: no compiler and no kernel of Apple's takes part. The saved asset is read back through the library's own
loader, which verifies the program; the graphs that it invokes are expanded, and each that is declared to be a composite must
compute what it is declared to be. Arithmetic is float32, and every result is rounded to the type that the program declares.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from edgevit_deploy.dataflow import Program, threads
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreai import available, load_program
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, Session
from runtimes.coreai.evaluation.program import compile_program


class CoreAIReferenceSession(Session):
    """Evaluates a saved .aimodel; right numbers, no device's own arithmetic, no claim about latency."""

    name: ClassVar[str] = "Core AI reference evaluation"
    packages: ClassVar[tuple[str, ...]] = ("coreai",)
    extra: ClassVar[str | None] = "coreai"
    executes_target: ClassVar[bool] = False

    _program: Program | None = None
    _outputs: tuple[str, ...] = ()

    @classmethod
    def probe(cls) -> Availability:
        """Say whether the library that reads the asset is there, and can be."""
        return available(*cls.packages, extra=cls.extra)

    def _load(self) -> None:
        saved = load_program(self.path)
        found = {name: value.dtype for name, value in zip(saved.main.input_names, saved.main.inputs, strict=True)}
        expected = {spec.name: spec.dtype for spec in self.inputs}
        if found != expected:
            raise RunError(f"{self.path.name} takes {found}, its manifest says {expected}; convert again")
        self._program, self._outputs = compile_program(saved), saved.main.output_names

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        assert self._program is not None
        with threads(self.threads):
            values = self._program.evaluate({name: torch.tensor(array) for name, array in feeds.items()})
        computed = [values[name] for name in self._program.outputs]
        named = zip(self._outputs, computed, strict=True)
        return {name: value.numpy() for name, value in named if isinstance(value, Tensor)}

    def _unload(self) -> None:
        self._program, self._outputs = None, ()
