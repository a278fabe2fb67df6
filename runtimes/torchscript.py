"""PyTorch's lite interpreter: what runs `.ptl` files inside PyTorch Mobile, here on the host's CPU, in a child process.

A `.ptl` from anywhere: its archive, versions and operators are checked before PyTorch loads it, and a file with any operator
that an EdgeViT does not need (those that write files among them) is refused. PyTorch's reader builds tensors and containers
and can call no Python. What is left is a file made to exploit a memory error in PyTorch's native code: the child process
contains a crash, not such an attack.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.torchscript import OPERATORS, read_lite_file, takes_bytes
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, OpTime, Session, nameless_ops

TRACED_AS = {kind: frozenset({kind}) for kind in (operator.partition(".")[0] for operator in OPERATORS)}
"""The file is written from a trace, operator by operator."""


class TorchLiteSession(Session):
    """One `.ptl` file; `threads` sets PyTorch's intra-op threads, which are the whole process's."""

    name: ClassVar[str] = "PyTorch lite interpreter"
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    traced_as: ClassVar[Mapping[str, frozenset[str]]] = TRACED_AS

    _program: Any = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether PyTorch is installed."""
        return requires("torch")

    def _load(self) -> None:
        import torch
        from torch.jit import mobile

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if objections := read_lite_file(self.path).objections():
            raise RunError(f"refused before loading it: {'; '.join(objections)}")
        taken = "uint8" if takes_bytes(self.path) else "float32"
        if others := [spec.dtype for spec in self.inputs if spec.dtype != taken]:
            raise RunError(f"it takes {taken}, the manifest says {', '.join(others)}; convert again")
        try:
            self._program = mobile._load_for_lite_interpreter(str(self.path))  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise RunError(first_line(error)) from error

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        import torch

        with torch.inference_mode():
            try:
                outputs = self._program(*(torch.from_numpy(feeds[spec.name]) for spec in self.inputs))
            except RuntimeError as error:
                raise RunError(first_line(error)) from error
        found = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
        tensors = isinstance(found, tuple) and all(isinstance(output, torch.Tensor) for output in found)
        if not tensors or len(found) != len(self.outputs):
            what = f"tensors: {len(found)}" if tensors else type(outputs).__name__
            raise RunError(f"it returned {what}, expected tensors: {len(self.outputs)}")
        return {spec.name: output.numpy() for spec, output in zip(self.outputs, found, strict=True)}

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...]:
        """Run under PyTorch's profiler; the operators that the interpreter called itself, in the order of execution."""
        import torch

        self._check_feeds(feeds)
        images = [torch.from_numpy(feeds[spec.name]) for spec in self.inputs]
        self._run(feeds)
        profiled = []
        for _ in range(runs):
            with torch.inference_mode(), torch.autograd.profiler.profile() as profile:
                self._program(*images)
            profiled.append([(e.name, e.cpu_time_total / 1000) for e in profile.function_events if e.cpu_parent is None])
        return nameless_ops(profiled)

    def _unload(self) -> None:
        self._program = None
