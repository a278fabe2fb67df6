"""Small ONNX files for tests: conversions, runs on one thread, and the bound that they are held to."""

import collections
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from torch import nn

from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.model.edgevit import to_features, to_tokens
from edgevit_deploy.parity.probes import make_probes
from export.onnx import OnnxExporter, OnnxOptions
from tests.helpers.bounds import bound_of
from tests.helpers.small import SMALL_SIZE, ends
from tests.helpers.targets import SmallTarget

SECOND_SIZE = (96, 160)
ROOT = Path(__file__).parent.parent.parent
SMALL: SmallTarget[OnnxOptions] = SmallTarget(exporter=OnnxExporter())


def make_plan(*, opset: int = 20, simplify: bool = True, **changes: Any) -> ExportPlan[OnnxOptions]:
    return SMALL.plan_of(options=OnnxOptions(opset=opset, simplify=simplify), **changes)


def export(folder: Path, module: nn.Module | None = None, **changes: Any) -> Artifact:
    """Convert for one test, the small network or another module."""
    folder.mkdir(exist_ok=True)
    return SMALL.build(make_plan(**changes), folder, module)


def shared(**changes: Any) -> Artifact:
    """The file of a plan, converted once for all tests: for reading only."""
    plan = make_plan(**changes)
    return SMALL.shared(
        options=plan.options, **{name: value for name, value in changes.items() if name not in ("opset", "simplify")}
    )


def run(model, *feeds):
    """Run a file, or the bytes of one, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"input": images})[0] for images in feeds]


def error_and_bound(artifact, reference, *, batch=1, size=SMALL_SIZE, takes="tensor", precision="fp32"):
    """The largest error over all probes, and what the project allows: k times PyTorch's own error on the same probes."""
    probes = make_probes(size, reference._preprocess, takes, seed=3)
    truth = reference.truth(probes, ends(takes, "logits"), precision)
    starts = range(0, len(probes.inputs), batch)
    rows = [np.arange(start, start + batch) % len(probes.inputs) for start in starts]
    outputs = run(artifact.path, *(probes.inputs[row] for row in rows))
    errors = [np.abs(output - truth.outputs[row]).max() for output, row in zip(outputs, rows, strict=True)]
    return max(errors), bound_of("onnx", precision).k * truth.noise


def operators(artifact):
    return collections.Counter(node.op_type for node in onnx.load(artifact.path).graph.node)


def rewritten(artifact, folder, change):
    model = onnx.load(artifact.path)
    change(model)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def in_a_child(folder: Path, call: str, **environment: str) -> str:
    """Run one call of this module in a new process, in another directory, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", f"from tests.helpers.onnx import export_here\n{call}"]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def export_here(precision: str, **changes: Any) -> None:
    """What `in_a_child` calls: the same network, by seed, into the current directory."""
    export(Path(), precision=precision, **changes)


def baked_forward(self, tokens, height, width):
    """GlobalSparseAttn.forward as converters meet it elsewhere: int() freezes the traced size."""
    if self.sample_rate == 1:
        return self.proj(self.attend(tokens))
    attended = self.attend(to_tokens(self.sampler(to_features(tokens, height, width))))
    spread = self.LocalProp(to_features(attended, int(height / self.sample_rate), int(width / self.sample_rate)))
    return self.proj(self.norm(to_tokens(spread)))
