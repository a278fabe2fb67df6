"""ExecuTorch on the CPU, with XNNPACK, in a child process, which a bad file may crash.

A `.pte` from anywhere is read first (`formats.executorch`): whole, one method, and no delegate but XNNPACK's, since others
load libraries and drivers. Its kernels only compute. What is left is a file made to exploit a memory error in native code: the
child process contains a crash, not such an attack.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.executorch import METHOD, read_pte_file
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, OpTime, Session, nameless_ops
from runtimes.executorch.profile import TRACED_AS, read_etdump

SCALAR_TYPES = {0: "uint8", 6: "float32"}
"""PyTorch's numbers of the types that our files take and return (c10/core/ScalarType.h)."""


class ExecuTorchSession(Session):
    """One `.pte` file; `threads` sets the thread pool, which is the whole process's."""

    name: ClassVar[str] = "ExecuTorch XNNPACK (CPU)"
    packages: ClassVar[tuple[str, ...]] = ("executorch",)
    extra: ClassVar[str | None] = "executorch"
    traced_as: ClassVar[Mapping[str, frozenset[str]]] = TRACED_AS

    _method: Any = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether ExecuTorch is installed."""
        return requires("executorch", extra="executorch")

    def _load(self) -> None:
        if objections := read_pte_file(self.path).objections():
            raise RunError(f"refused before loading it: {'; '.join(objections)}")
        runtime = native_runtime()
        if self.threads is not None:
            set_threads(self.threads)
        try:
            program = runtime._load_program(
                str(self.path),
                enable_etdump=False,
                debug_buffer_size=0,
                program_verification=runtime.Verification.InternalConsistency,
            )
            metadata = program.method_meta(METHOD)
            inputs = [_described(metadata.input_tensor_meta(index)) for index in range(metadata.num_inputs())]
            outputs = [_described(metadata.output_tensor_meta(index)) for index in range(metadata.num_outputs())]
            expected = [[f"{spec.dtype} {spec.shape}" for spec in specs] for specs in (self.inputs, self.outputs)]
            if [inputs, outputs] != expected:
                raise RunError(f"it takes {inputs} and returns {outputs}, expected {expected[0]} and {expected[1]}")
            self._method = program.load_method(METHOD)
        except RuntimeError as error:
            raise RunError(f"ExecuTorch does not load it ({first_line(error)}); copy or convert it again") from error

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        import torch

        try:
            outputs = self._method([torch.from_numpy(feeds[spec.name]) for spec in self.inputs])
        except RuntimeError as error:
            raise RunError(first_line(error)) from error
        return {spec.name: output.numpy() for spec, output in zip(self.outputs, outputs, strict=True)}

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...]:
        """Load the file a second time, with ExecuTorch's event tracer; its operators, those inside of XNNPACK among them."""
        import torch

        self._check_feeds(feeds)
        images = [torch.from_numpy(feeds[spec.name]) for spec in self.inputs]
        traced = native_runtime()._load_for_executorch(str(self.path), enable_etdump=True)
        for _ in range(1 + runs):
            traced.run_method(METHOD, images)
        with TemporaryDirectory() as folder:
            dump = Path(folder) / "profile.etdump"
            traced.write_etdump_result_to_file(str(dump), str(Path(folder) / "unused"))
            return nameless_ops(read_etdump(dump.read_bytes())[1:])

    def _unload(self) -> None:
        self._method = None


def _described(tensor: Any) -> str:
    """Return type and shape of a tensor of a method."""
    return f"{SCALAR_TYPES.get(tensor.dtype(), f'type {tensor.dtype()}')} {tuple(tensor.sizes())}"


def native_runtime() -> Any:
    """Return what `executorch.runtime` calls; importing that one would import the converter too: seconds, and memory."""
    import torch  # noqa: F401 - brings the libraries that the next line needs
    from executorch.extension.pybindings import _C

    return _C


def set_threads(threads: int) -> None:
    """Give ExecuTorch's thread pool, which XNNPACK shares, that many threads; call it before a method is loaded.

    Raises:
        RunError: the pool has another number of threads afterwards.
    """
    runtime = native_runtime()
    runtime._unsafe_reset_threadpool(threads)  # unsafe while a program runs; none is loaded yet
    if (found := runtime._threadpool_get_thread_count()) != threads:
        raise RunError(f"ExecuTorch has {found} threads, {threads} were asked for")
