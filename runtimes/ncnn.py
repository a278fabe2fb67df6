"""ncnn on the CPU, in a child process: what it does not like it answers with a status nobody must overlook, or with a crash.

A model from anywhere is counted before ncnn sees it (`edgevit_deploy.ncnn_file`). What is left is a model whose layers do not
fit each other: ncnn does not check shapes, and the child process contains the crash.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.ncnn_file import BIN_NAME, ENDS, INPUT_BLOB, OUTPUT_BLOB, PARAM_NAME, read_ncnn_model
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, Session
from runtimes.child import ChildSession

if TYPE_CHECKING:
    import ncnn


class NcnnNetSession(Session):
    """One model folder in this process; `NcnnSession` puts it into a child.

    A float32 model is computed in float32: every option that would store or add in 16 bits, on by default, is off. A float16
    model has its activations stored in half precision where the CPU can, and its sums in float32.
    """

    name: ClassVar[str] = "ncnn (CPU)"

    _net: "ncnn.Net | None" = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether ncnn is installed."""
        return requires("ncnn", extra="ncnn")

    def _load(self) -> None:
        import ncnn

        model = read_ncnn_model(self.path)
        if model.ends() != ENDS:
            raise RunError(f"it has the inputs and outputs {model.ends()}, expected {ENDS}")
        if any(spec.shape[0] != 1 for spec in (*self.inputs, *self.outputs)):
            raise RunError("ncnn has no batch axis: every shape must start with 1")
        net = ncnn.Net()
        half = "float16" in model.tagged
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = half
        net.opt.use_fp16_arithmetic = net.opt.use_bf16_packed = net.opt.use_bf16_storage = False
        net.opt.use_vulkan_compute = False
        if self.threads is not None:
            net.opt.num_threads = self.threads
        for what, load, file in (("load_param", net.load_param, PARAM_NAME), ("load_model", net.load_model, BIN_NAME)):
            if status := load(str(self.path / file)):
                raise RunError(f"{what} answered {status} for {file}; copy or convert it again")
        self._net = net

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        import ncnn

        assert self._net is not None
        image = np.ascontiguousarray(feeds[self.inputs[0].name][0])  # ncnn borrows it
        extractor = self._net.create_extractor()
        if status := extractor.input(INPUT_BLOB, ncnn.Mat(image)):
            raise RunError(f"ncnn answered {status} to its input")
        status, output = extractor.extract(OUTPUT_BLOB)
        if status:
            raise RunError(f"ncnn answered {status} when it was run")
        return {self.outputs[0].name: np.array(output)[None]}

    def _unload(self) -> None:
        self._net = None


class NcnnSession(ChildSession):
    """One model folder in ncnn in a child process; `threads` sets ncnn's threads there."""

    name: ClassVar[str] = "ncnn (CPU)"
    session: ClassVar[str] = "runtimes.ncnn:NcnnNetSession"

    @classmethod
    def probe(cls) -> Availability:
        """Say whether ncnn is installed."""
        return NcnnNetSession.probe()
