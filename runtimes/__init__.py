"""The runtimes: one module each, registered here by one line, which names the target whose files it runs.

Where several run the same target, the first that works on this host does. `isolated=True`: native code runs a file from anywhere,
which can crash it, so the host runs it in a child process.
"""

from typing import TYPE_CHECKING

from edgevit_deploy.registry import Runtime

if TYPE_CHECKING:
    from edgevit_deploy.session import Session

LINES: "tuple[Runtime[Session], ...]" = (
    Runtime(
        name="onnxruntime",
        target="onnx",
        location="runtimes.onnx:OnnxRuntimeSession",
        summary="ONNX Runtime, CPU",
        arm64=("ml-dtypes", "onnx", "onnxruntime", "protobuf", "typing-extensions"),
        isolated=True,
    ),
    Runtime(
        name="onnxruntime-cuda",
        target="onnx",
        location="runtimes.onnx:OnnxRuntimeCudaSession",
        summary="ONNX Runtime, CUDA",
        machine="nvidia",
        isolated=True,
    ),
    Runtime(
        name="torch-lite",
        target="torchscript",
        location="runtimes.torchscript:TorchLiteSession",
        summary="PyTorch lite interpreter",
        isolated=True,
    ),
    Runtime(
        name="coreml",
        target="coreml",
        location="runtimes.coreml:CoreMLSession",
        summary="Core ML (macOS)",
        machine="macos",
        isolated=True,
    ),
    Runtime(
        name="mil-reference",
        target="coreml",
        location="runtimes.coreml.reference:MilReferenceSession",
        summary="MIL reference evaluation of a saved package, on any platform",
        isolated=True,
    ),
    Runtime(
        name="coreai-cpu",
        target="coreai",
        location="runtimes.coreai:CoreAICPUSession",
        summary="Core AI (macOS 27), CPU",
        machine="macos",
        isolated=True,
    ),
    Runtime(
        name="coreai-gpu",
        target="coreai",
        location="runtimes.coreai:CoreAIGPUSession",
        summary="Core AI (macOS 27), GPU preferred",
        machine="macos",
        isolated=True,
    ),
    Runtime(
        name="coreai-neural-engine",
        target="coreai",
        location="runtimes.coreai:CoreAINeuralEngineSession",
        summary="Core AI (macOS 27), Neural Engine preferred",
        machine="macos",
        isolated=True,
    ),
    Runtime(
        name="coreai-reference",
        target="coreai",
        location="runtimes.coreai.reference:CoreAIReferenceSession",
        summary="Core AI reference evaluation of a saved asset, on any platform",
        isolated=True,
    ),
    Runtime(
        name="coreai-packaged",
        target="coreai",
        location="runtimes.coreai.packaged:PackagedCoreAISession",
        summary="Core AI runtime of the Python package, CPU, on any platform",
        isolated=True,
    ),
    Runtime(
        name="ncnn",
        target="ncnn",
        location="runtimes.ncnn:NcnnSession",
        summary="ncnn, CPU",
        arm64=("ncnn",),
        isolated=True,
    ),
    Runtime(
        name="mnn",
        target="mnn",
        location="runtimes.mnn:MnnSession",
        summary="MNN, CPU",
        arm64=("mnn",),
        isolated=True,
    ),
    Runtime(
        name="litert",
        target="litert",
        location="runtimes.litert:LiteRTSession",
        summary="LiteRT, CPU with XNNPACK",
        arm64=("ai-edge-litert", "backports.strenum", "tqdm", "typing-extensions"),
        isolated=True,
    ),
    Runtime(
        name="executorch",
        target="executorch",
        location="runtimes.executorch:ExecuTorchSession",
        summary="ExecuTorch with XNNPACK, CPU",
        isolated=True,
    ),
    Runtime(
        name="openvino",
        target="openvino",
        location="runtimes.openvino:OpenVinoSession",
        summary="OpenVINO, CPU",
        arm64=("openvino",),
        isolated=True,
    ),
    Runtime(
        name="tensorrt",
        target="tensorrt",
        location="runtimes.tensorrt:TensorRTSession",
        summary="TensorRT or TensorRT-RTX on an NVIDIA GPU",
        machine="nvidia",
        isolated=True,
    ),
)

RUNTIMES = {line.name: line for line in LINES}


def runtimes_for(target: str) -> "tuple[Runtime[Session], ...]":
    """Return the registered runtimes that run a target's files, in order of preference."""
    return tuple(line for line in RUNTIMES.values() if line.target == target)
