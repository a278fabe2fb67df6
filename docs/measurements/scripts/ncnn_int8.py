"""Whether int8 pays in ncnn: its fp32 file with weights and scales of our own ranges in place of the float ones, run and timed.

Usage: python docs/measurements/scripts/ncnn_int8.py VARIANT BLOCKS

Writes what ncnn2int8 would: int8 weights behind their tag, the bias, the inverse scale of each channel and that of the input.
Random weights, ranges of drawn pictures; signal to noise in dB against float64, and CPU time of one thread in shuffled blocks.
"""

import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import torch
from torch import nn

from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.quantised import QuantisedOperator, emulation, quantised
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.formats.ncnn import BIN_NAME, PARAM_NAME, read_ncnn_model
from edgevit_deploy.formats.ncnn.layers import WEIGHTS, Layer
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.parity.natural import natural_probes
from edgevit_deploy.workbench import open_workbench
from export.ncnn import NcnnExporter
from runtimes.ncnn import _set_storage

FORM = Form(local_prop="upsample", position="kept")
SCHEME = Scheme(activations="s8", symmetric=True)
INT8_TAG = 0x000D4B38
PICTURES, CALLS = 12, 3

CHOICES: dict[str, tuple[str, ...]] = {
    "int8, every operator": ("Convolution", "ConvolutionDepthWise", "Gemm", "InnerProduct"),
    "int8, no depthwise": ("Convolution", "Gemm", "InnerProduct"),
    "int8, convolutions": ("Convolution", "ConvolutionDepthWise", "InnerProduct"),
    "int8, convolutions, no depthwise": ("Convolution", "InnerProduct"),
}


def weights_of(layers: tuple[Layer, ...], content: bytes) -> Iterator[tuple[Layer, list[tuple[bytes, bytes]]]]:
    """Each layer with its weights: tag, content."""
    position = 0
    for layer in layers:
        parts = []
        for count, is_tagged in WEIGHTS[layer.kind](layer) if layer.kind in WEIGHTS else ():
            tag = content[position : position + 4 * is_tagged]
            position += len(tag)
            parts.append((tag, content[position : position + 4 * count]))
            position += 4 * count
        yield layer, parts


def in_integers(source: Path, graph: nn.Module, kinds: tuple[str, ...], folder: Path) -> Path:
    """Write a model with the layers of some kinds in int8; a Gemm with constant weights becomes an InnerProduct."""
    operators = [module for module in graph.modules() if isinstance(module, QuantisedOperator)]
    by_weight = {module.operator.weight.numpy().astype("<f4").tobytes(): module for module in operators}
    layers, content = read_ncnn_model(source).layers, b""
    lines = ["7767517", f"{len(layers)} {sum(len(layer.outputs) for layer in layers)}"]
    for layer, parts in weights_of(layers, (source / BIN_NAME).read_bytes()):
        kind, settings = layer.kind, dict(layer.settings)
        module: Any = by_weight.get(parts[0][1]) if parts and kind in kinds else None
        if module is None:
            content += b"".join(tag + values for tag, values in parts)
        else:
            if kind == "Gemm":
                size = layer.number(8) * layer.number(9)
                kind, settings = "InnerProduct", {0: settings[8], 1: str(len(parts) - 1), 2: str(size)}
            settings[8] = "1" if kind == "ConvolutionDepthWise" else "2"
            integers = module.round_weight.integers(module.operator.weight).numpy().tobytes()
            scales = np.append(module.round_weight.scales.numpy(), np.float32(module.before.grid.scale))
            content += struct.pack("<I", INT8_TAG) + integers + bytes(-len(integers) % 4)
            content += b"".join(values for _, values in parts[1:]) + (1 / scales.astype(np.float64)).astype("<f4").tobytes()
        words = (f"-233{number:02}={value}" if "," in value else f"{number}={value}" for number, value in settings.items())
        ends = (*layer.inputs, *layer.outputs)
        lines.append(" ".join((kind, layer.name, str(len(layer.inputs)), str(len(layer.outputs)), *ends, *words)))
    folder.mkdir()
    (folder / PARAM_NAME).write_text("\n".join(lines) + "\n")
    (folder / BIN_NAME).write_bytes(content)
    return folder


def runner(folder: Path, *, bf16_storage: bool = False) -> Callable[[Any], Any]:
    net = ncnn.Net()
    _set_storage(net, half=False, bf16_storage=bf16_storage)
    net.opt.num_threads = 1
    assert net.load_param(str(folder / PARAM_NAME)) == 0
    assert net.load_model(str(folder / BIN_NAME)) == 0

    def run(image: Any) -> Any:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image))
        status, output = extractor.extract("out0")
        assert status == 0
        return np.array(output)

    return run


def decibels(found: Any, exact: Any) -> float:
    return float(10 * np.log10(np.square(exact).sum() / np.square(found - exact).sum()))


def main(variant: str, blocks: int) -> None:
    model, exporter, rng = load_model(ModelOrigin(model=variant, seed=0)), NcnnExporter(), np.random.default_rng(0)
    images = natural_probes(model.spec.image_size, model.spec.preprocess, "tensor", 0).first(PICTURES).inputs
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_workbench(model, THIS_HOST, calibration=CalibrationChoice(pictures="synthetic")) as bench,
    ):
        plan = exporter.plan(model.spec, form=FORM)
        source = exporter.export(bench.module(plan), plan, Path(scratch)).path
        network = bench.network("deploy", FORM)
        ranges = bench.rounded.source.calibration(FORM, network, lambda _: None).ranges
        graph = quantised(network, SCHEME, ranges)
        runs = {"fp32": runner(source), "fp32, A/A": runner(source), "bf16": runner(source, bf16_storage=True)}
        runs |= {name: runner(in_integers(source, graph, kinds, Path(scratch) / name)) for name, kinds in CHOICES.items()}
        with torch.no_grad():
            exact = model.network.double()(torch.from_numpy(images).double()).numpy()
            emulated = emulation(network, SCHEME, ranges)(torch.from_numpy(images)).numpy()
    print(f"emulation of every operator: {decibels(emulated, exact):.1f} dB")
    times_ms: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(blocks):
        for name in rng.permutation(list(runs)):
            runs[name](images[0])
            for _ in range(CALLS):
                start = time.process_time()
                runs[name](images[0])
                times_ms[name].append(1000 * (time.process_time() - start))
    base = np.median(times_ms["fp32"])
    for name, values in times_ms.items():
        found = np.stack([runs[name](image) for image in images])
        print(
            f"{name:34} {decibels(found, exact):6.1f} dB {np.median(values):6.2f} ms   fp32 / this {base / np.median(values):.2f}"
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
