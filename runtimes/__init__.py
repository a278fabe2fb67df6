"""The runtimes: one module each, registered here by one line; `reads` names the targets whose files it runs.

Where several read the same target, the first that works on this host runs it.
"""

from typing import TYPE_CHECKING

from edgevit_deploy.registry import Entry

if TYPE_CHECKING:
    from edgevit_deploy.session import Session

ENTRIES: "tuple[Entry[Session], ...]" = (
    Entry(
        name="onnxruntime",
        location="runtimes.onnx:OnnxRuntimeSession",
        summary="ONNX Runtime, CPU",
        reads=("onnx",),
    ),
    Entry(
        name="onnxruntime-cuda",
        location="runtimes.onnx:OnnxRuntimeCudaSession",
        summary="ONNX Runtime, CUDA",
        reads=("onnx",),
    ),
    Entry(
        name="torch-lite",
        location="runtimes.torchscript:TorchLiteSession",
        summary="PyTorch lite interpreter, in a child process",
        reads=("torchscript",),
    ),
    Entry(name="coreml", location="runtimes.coreml:CoreMLSession", summary="Core ML (macOS)", reads=("coreml",)),
    Entry(
        name="mil-reference",
        location="runtimes.coreml.reference:MilReferenceSession",
        summary="MIL reference evaluation of a saved package, on any platform",
        reads=("coreml",),
    ),
    Entry(name="ncnn", location="runtimes.ncnn:NcnnSession", summary="ncnn, CPU, in a child process", reads=("ncnn",)),
    Entry(
        name="litert",
        location="runtimes.litert:LiteRTSession",
        summary="LiteRT, CPU with XNNPACK, in a child process",
        reads=("litert",),
    ),
    Entry(
        name="executorch",
        location="runtimes.executorch:ExecuTorchSession",
        summary="ExecuTorch with XNNPACK, CPU, in a child process",
        reads=("executorch",),
    ),
    Entry(
        name="openvino",
        location="runtimes.openvino:OpenVinoSession",
        summary="OpenVINO, CPU, in a child process",
        reads=("openvino",),
    ),
    Entry(
        name="tensorrt",
        location="runtimes.tensorrt:TensorRTSession",
        summary="TensorRT or TensorRT-RTX on an NVIDIA GPU",
        reads=("tensorrt",),
    ),
)

RUNTIMES = {entry.name: entry for entry in ENTRIES}


def runtimes_for(target: str) -> "tuple[Entry[Session], ...]":
    """Return the registered runtimes that read a target's files, in order of preference."""
    return tuple(entry for entry in ENTRIES if target in entry.reads)
