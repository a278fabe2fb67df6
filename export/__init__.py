"""The targets: one module each, registered here by one line.

This table is all that a new target adds besides its module and its row in `edgevit_deploy/parity/bounds.py`.
"""

from typing import Any

from edgevit_deploy.exporter import Exporter
from edgevit_deploy.registry import Entry

ENTRIES: tuple[Entry[Exporter[Any]], ...] = (
    Entry(name="onnx", location="export.onnx:OnnxExporter", summary="ONNX, for ONNX Runtime on any platform"),
    Entry(
        name="torchscript",
        location="export.torchscript:TorchScriptExporter",
        summary="TorchScript lite (.ptl), for PyTorch Mobile 1.13",
    ),
    Entry(name="coreml", location="export.coreml:CoreMLExporter", summary="Core ML ML Program, for iOS and macOS"),
    Entry(name="ncnn", location="export.ncnn:NcnnExporter", summary="ncnn (.param and .bin), for Android, iOS and embedded CPUs"),
    Entry(name="litert", location="export.litert:LiteRTExporter", summary="LiteRT (.tflite), for Android, iOS and embedded CPUs"),
    Entry(
        name="executorch",
        location="export.executorch:ExecuTorchExporter",
        summary="ExecuTorch with XNNPACK (.pte), for Android, iOS and Linux",
    ),
    Entry(name="openvino", location="export.openvino:OpenVinoExporter", summary="OpenVINO IR, for x86 and ARM CPUs"),
    Entry(name="tensorrt", location="export.tensorrt:TensorRTExporter", summary="TensorRT or TensorRT-RTX engine"),
)

TARGETS = {entry.name: entry for entry in ENTRIES}
