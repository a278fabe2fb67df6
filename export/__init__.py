"""The targets: one module each, registered here by one line.

This table, and the one in `runtimes`, are all that a new target adds besides modules of its own name. `isolated=True`: a
converter may abort, hang or fill the memory, so the host lets it work in a child process.
"""

from typing import Any

from edgevit_deploy.exporter import Exporter
from edgevit_deploy.registry import Target

LINES: tuple[Target[Exporter[Any]], ...] = (
    Target(
        name="onnx",
        location="export.onnx:OnnxExporter",
        summary="ONNX, for ONNX Runtime on any platform",
        isolated=True,
    ),
    Target(
        name="torchscript",
        location="export.torchscript:TorchScriptExporter",
        summary="TorchScript lite (.ptl), for PyTorch Mobile 1.13",
        isolated=True,
    ),
    Target(
        name="coreml",
        location="export.coreml:CoreMLExporter",
        summary="Core ML ML Program, for iOS and macOS",
        isolated=True,
    ),
    Target(
        name="coreai",
        location="export.coreai:CoreAIExporter",
        summary="Core AI (.aimodel), for iOS 27 and macOS 27",
        isolated=True,
    ),
    Target(
        name="ncnn",
        location="export.ncnn:NcnnExporter",
        summary="ncnn (.param and .bin), for Android, iOS and embedded CPUs",
        isolated=True,
    ),
    Target(
        name="mnn",
        location="export.mnn:MnnExporter",
        summary="MNN (.mnn), for Android, iOS and embedded CPUs",
        isolated=True,
    ),
    Target(
        name="litert",
        location="export.litert:LiteRTExporter",
        summary="LiteRT (.tflite), for Android, iOS and embedded CPUs",
        isolated=True,
    ),
    Target(
        name="executorch",
        location="export.executorch:ExecuTorchExporter",
        summary="ExecuTorch with XNNPACK (.pte), for Android, iOS and Linux",
        isolated=True,
    ),
    Target(
        name="openvino",
        location="export.openvino:OpenVinoExporter",
        summary="OpenVINO IR, for x86 and ARM CPUs",
        isolated=True,
    ),
    Target(
        name="tensorrt",
        location="export.tensorrt:TensorRTExporter",
        summary="TensorRT or TensorRT-RTX engine",
        isolated=True,
    ),
)

TARGETS = {line.name: line for line in LINES}
