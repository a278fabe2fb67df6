"""ncnn on the CPU, in a child process: what it does not like it answers with a status nobody must overlook, or with a crash.

A model from anywhere is counted before ncnn sees it (`edgevit_deploy.formats.ncnn`). What is left is a model whose layers do not
fit each other: ncnn does not check shapes, and the child process contains the crash.
"""

import statistics
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.ncnn import BIN_NAME, INPUT_BLOB, OUTPUT_BLOB, PARAM_NAME, NcnnModel, ends_of, read_ncnn_model
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import Precision

if TYPE_CHECKING:
    import ncnn


AS_STORED = 1
"""Asks ncnn for a blob in the layout and the type that its layer has chosen."""

BF16_BITS = 16

_CONVOLUTION = frozenset({"aten::_convolution"})
_PRODUCT = frozenset({"aten::matmul", "aten::bmm"})
_RESHAPE = frozenset({"aten::reshape", "aten::flatten", "aten::view", "aten::unsqueeze"})

TRACED_AS: dict[str, frozenset[str]] = {
    "BinaryOp": frozenset({"aten::add", "aten::mul", "aten::sub"}),
    "Concat": frozenset({"aten::cat"}),
    "Convolution": _CONVOLUTION,
    "ConvolutionDepthWise": _CONVOLUTION,
    "Deconvolution": _CONVOLUTION,
    "DeconvolutionDepthWise": _CONVOLUTION,
    "GELU": frozenset({"aten::gelu"}),
    "Gemm": frozenset({"aten::linear"}),
    "InnerProduct": frozenset({"aten::linear"}),
    "Interp": frozenset({"aten::upsample_nearest2d"}),
    "LayerNorm": frozenset({"aten::layer_norm"}),
    "MatMul": _PRODUCT,
    "Permute": frozenset({"aten::permute", "aten::transpose"}),
    "PixelShuffle": frozenset({"aten::pixel_shuffle"}),
    "Pooling": frozenset({"aten::max_pool2d", "aten::mean"}),
    "Reduction": frozenset({"aten::mean"}),
    "Reshape": _RESHAPE,
    "Slice": frozenset({"aten::chunk", "aten::slice", "aten::split"}),
    "Softmax": frozenset({"aten::softmax"}),
}
"""pnnx writes its layers in the order of the trace that it was given."""


ONE_CONVOLUTION = f"""7767517
2 2
Input in 0 1 {INPUT_BLOB}
Convolution convolution 1 1 {INPUT_BLOB} {OUTPUT_BLOB} 0=4 1=1 6=16
"""
ITS_WEIGHTS = struct.pack("<I16f", 0, *range(16))
"""The smallest model that shows in what its activations are stored; ncnn reads the weights where they lie."""


class NcnnSession(Session):
    """One model folder; `threads` sets ncnn's threads.

    A float32 model is computed in float32: every option that would store or add in 16 bits, on by default, is off. A float16
    model has its activations stored in half precision where the CPU can, and its sums in float32. A model that asks for storage
    in bfloat16 gets it; where ncnn was built without, it is run in float32, and `substitute` says so.
    """

    name: ClassVar[str] = "ncnn (CPU)"
    packages: ClassVar[tuple[str, ...]] = ("ncnn",)
    extra: ClassVar[str | None] = "ncnn"
    traced_as: ClassVar[Mapping[str, frozenset[str]]] = TRACED_AS
    profiler_note: ClassVar[str] = "ncnn: one layer asked for after the other"

    _net: "ncnn.Net | None" = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether ncnn is installed."""
        return requires("ncnn", extra="ncnn")

    def _load(self) -> None:
        if any(spec.shape[0] != 1 for spec in (*self.inputs, *self.outputs)):
            raise RunError("ncnn has no batch axis: every shape must start with 1")
        if others := [spec.dtype for spec in self.inputs if spec.dtype != "float32"]:  # its layers would read past bytes' end
            raise RunError(f"an ncnn model takes float32, the manifest says {', '.join(others)}; convert again")
        model = self._model()
        self._net, self.substitute = self._read(model), ""
        if model.bf16_storage and not self.executes("bf16"):
            self.substitute = f"this ncnn stores nothing in bfloat16, so {self.path.name} was run in float32"

    @classmethod
    def executes(cls, precision: Precision) -> bool:
        """Say whether this ncnn computes in a precision, by asking one convolution for how it stores what it returns."""
        return precision != "bf16" or _bits_of_activations(bf16_storage=True) == BF16_BITS

    def _model(self) -> NcnnModel:
        """Read the folder without ncnn, which trusts what it finds there."""
        model = read_ncnn_model(self.path)
        if model.ends() != (expected := ends_of(len(self.outputs))):
            raise RunError(f"it has the inputs and outputs {model.ends()}, expected {expected}")
        return model

    def _read(self, model: NcnnModel, allocator: "ncnn.Allocator | None" = None) -> "ncnn.Net":
        """Let ncnn read a model that was counted; what it computes lies with `allocator`, or in memory of its own."""
        import ncnn

        net = ncnn.Net()
        if allocator is not None:
            net.opt.blob_allocator = net.opt.workspace_allocator = allocator
        _set_storage(net, half="float16" in model.tagged, bf16_storage=model.bf16_storage)
        if self.threads is not None:
            net.opt.num_threads = self.threads
        for what, load, file in (("load_param", net.load_param, PARAM_NAME), ("load_model", net.load_model, BIN_NAME)):
            if status := load(str(self.path / file)):
                raise RunError(f"{what} answered {status} for {file}; copy or convert it again")
        return net

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        import ncnn

        assert self._net is not None
        image = np.ascontiguousarray(feeds[self.inputs[0].name][0])  # ncnn borrows it
        extractor = self._net.create_extractor()
        if status := extractor.input(INPUT_BLOB, ncnn.Mat(image)):
            raise RunError(f"ncnn answered {status} to its input")
        _, blobs = ends_of(len(self.outputs))
        outputs = {}
        for spec, blob in zip(self.outputs, blobs, strict=True):  # what one needs of the layers before is computed once
            status, output = extractor.extract(blob)
            if status:
                raise RunError(f"ncnn answered {status} when it was run")
            outputs[spec.name] = np.array(output)[None]
        return outputs

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...]:
        """Compute one layer after the other by asking for what each of them returns; ncnn has no profiler of its own.

        Asked for one blob, ncnn computes what is missing for it, and that is one layer when all before it were asked for. A call
        costs some microseconds, which are in each layer's time. With an allocator of its own, ncnn hands a blob out as it is;
        otherwise it would copy each.
        """
        import ncnn

        self._check_feeds(feeds)
        model = self._model()
        allocator = ncnn.UnlockedPoolAllocator()  # outlives the net and every blob
        net = self._read(model, allocator)
        image = np.ascontiguousarray(feeds[self.inputs[0].name][0])
        layers = [layer for layer in model.layers if layer.kind != "Input"]
        profiled = [_times_ms(net, image, [layer.outputs[0] for layer in layers]) for _ in range(1 + runs)][1:]
        del net
        return tuple(
            OpTime(name="", kind=layer.kind, time_ms=statistics.median(times_ms))
            for layer, times_ms in zip(layers, zip(*profiled, strict=True), strict=True)
        )

    def _unload(self) -> None:
        self._net = None


def _set_storage(net: "ncnn.Net", *, half: bool, bf16_storage: bool) -> None:
    """Say in what a net stores weights and activations; nothing is left to ncnn's defaults, and sums are in float32."""
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = half
    net.opt.use_bf16_storage = bf16_storage
    net.opt.use_fp16_arithmetic = net.opt.use_bf16_packed = net.opt.use_vulkan_compute = False


def _bits_of_activations(*, bf16_storage: bool) -> int:
    """Return in how many bits a convolution of this ncnn stores a number that it returns."""
    import ncnn

    net = ncnn.Net()
    _set_storage(net, half=False, bf16_storage=bf16_storage)
    net.load_param_mem(ONE_CONVOLUTION)
    net.load_model_mem(ITS_WEIGHTS)
    extractor = net.create_extractor()
    extractor.input(INPUT_BLOB, ncnn.Mat(np.ones((4, 4, 4), np.float32)))
    _, output = extractor.extract(OUTPUT_BLOB, AS_STORED)
    return int(output.elembits())


def _times_ms(net: "ncnn.Net", image: Array, blobs: list[str]) -> list[float]:
    """Ask a net for blobs, one after the other, and return how long each took."""
    import ncnn

    extractor = net.create_extractor()
    extractor.input(INPUT_BLOB, ncnn.Mat(image))
    times_ms = []
    for blob in blobs:
        start_ns = time.perf_counter_ns()
        status, _ = extractor.extract(blob, AS_STORED)
        times_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        if status:
            raise RunError(f"ncnn answered {status} when it was asked for {blob}")
    return times_ms
