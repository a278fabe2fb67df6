"""Small ExecuTorch programs for tests: the small network, which takes seconds to lower, and one convolution, which does not."""

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import torch
from torch import nn

from edgevit_deploy.formats.executorch import HEADER, HEADER_MAGIC, MAGIC
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.spec import TensorSpec
from export.executorch import ExecuTorchExporter, ExecuTorchOptions, lower
from tests.helpers.flat_tables import refer, table, tables, text
from tests.helpers.targets import SmallTarget

SMALL: SmallTarget[ExecuTorchOptions] = SmallTarget(
    exporter=ExecuTorchExporter(), defaults={"graph": "deploy", "form": THIS_HOST.find_exporter("executorch").form}
)


class OneConvolution(nn.Module):
    """A 1x1 convolution of 3 channels into 2, and a LayerNorm over columns, which XNNPACK does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(6).reshape(2, 3, 1, 1))
            self.conv.bias.copy_(torch.tensor([6.0, 7.0]))
        self.norm = nn.LayerNorm(4)
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


INPUTS = (TensorSpec(name="x", shape=(1, 3, 4, 4), dtype="float32"),)
OUTPUTS = (TensorSpec(name="y", shape=(1, 2, 4, 4), dtype="float32"),)


def one_convolution(x: np.ndarray) -> np.ndarray:
    """What `OneConvolution` computes, in float64."""
    weight, bias = np.arange(6, dtype=np.float64).reshape(2, 3), np.array([6.0, 7.0])
    y = np.einsum("oc,bchw->bohw", weight, x) + bias[None, :, None, None]
    return (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)


def write_one_convolution(folder: Path) -> Path:
    path = folder / "model.pte"
    path.write_bytes(lower(OneConvolution(), torch.zeros(1, 3, 4, 4)).content)
    return path


def program_bytes(
    *, calls: Sequence[int] = (0,), operator: str = "aten::mul", operators: int = 1, method: str = "forward"
) -> bytes:
    """A `.pte` without data: one chain that calls operators by their place in a list of equal ones, which share their bytes."""
    builder = flatbuffers.Builder(1024)
    known = table(builder, {0: text(builder, operator), 1: text(builder, "out")})
    entered = [table(builder, {0: lambda b, field, call=call: b.PrependInt32Slot(field, call, 0)}) for call in calls]
    steps = [table(builder, {0: lambda b, field: b.PrependUint8Slot(field, 1, 0), 1: refer(call)}) for call in entered]
    chain = table(builder, {2: tables(builder, steps)})
    fields = {0: text(builder, "forward"), 5: tables(builder, [chain]), 6: tables(builder, [known] * operators)}
    plan = table(builder, fields)
    builder.Finish(table(builder, {1: tables(builder, [plan])}))
    content = bytes(builder.Output())
    # The extended header lies between the position of the root and everything else, which `Finish` knows nothing of.
    size = HEADER.size - 4
    root = int.from_bytes(content[:4], "little") + size
    return HEADER.pack(root, MAGIC, HEADER_MAGIC, size - 4, len(content) + size, 0, 0) + content[4:]


def etdump(runs: Sequence[Sequence[tuple[str, str, int]]], name: str = "Execute") -> bytes:
    """A profile: for each run its operators, each with its name, that inside of a delegate, and its nanoseconds."""
    builder = flatbuffers.Builder(1024)

    def event(outer: str, inside: str, duration: int) -> int:
        fields = {0: text(builder, outer), 4: text(builder, inside)}
        fields |= {
            6: lambda b, field: b.PrependUint64Slot(field, 1000, 0),
            7: lambda b, field: b.PrependUint64Slot(field, 1000 + duration, 0),
        }
        return table(builder, {0: refer(table(builder, fields))})

    written = [table(builder, {0: text(builder, name), 3: tables(builder, [event(*op) for op in run])}) for run in runs]
    builder.Finish(table(builder, {1: tables(builder, written)}), file_identifier=b"ED00")
    content = bytes(builder.Output())
    return len(content).to_bytes(4, "little") + content
