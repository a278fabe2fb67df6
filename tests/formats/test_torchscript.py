"""Counting the calls in a lite-interpreter file's bytecode, and that reading it runs nothing."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.torchscript import _Bytecode, count_calls, takes_bytes


class Calls(nn.Module):
    """Three multiplications and a GELU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(x * x * x * x)


class CastsFirst(nn.Module):
    """Bytes to floats, and then work."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(torch.float32) * 2


class CastsLater(nn.Module):
    """Work in the type that comes, and then a cast."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).to(torch.float32)


def written(module: nn.Module, example: torch.Tensor, path: Path) -> Path:
    from export.torchscript import freeze, trace
    from export.torchscript.write import save_for_lite_interpreter, without_positions

    path.write_bytes(without_positions(save_for_lite_interpreter(freeze(trace(module.eval(), example)))))
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("module", "expected"), [(CastsFirst(), True), (CastsLater(), False), (Calls(), False)])
def test_a_file_takes_bytes_when_it_casts_first(tmp_path: Path, module: nn.Module, expected: bool) -> None:
    example = torch.zeros(1, 3, 8, 8, dtype=torch.float32 if isinstance(module, Calls) else torch.uint8)
    assert takes_bytes(written(module, example, tmp_path / "model.ptl")) is expected


@pytest.mark.filterwarnings("ignore")
def test_calls_in_bytecode_are_counted(tmp_path: Path) -> None:
    path = written(Calls(), torch.zeros(1, 3, 8, 8), tmp_path / "model.ptl")
    assert count_calls(path) == {"aten::gelu": 1, "aten::mul.Tensor": 3}
    with pytest.raises(RunError, match="no bytecode of 'backward' can be read"):
        count_calls(path, "backward")


class Evil:
    """Unpickled in the usual way, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_nothing_in_bytecode_is_executed(tmp_path: Path) -> None:
    data = pickle.dumps((8, Evil(tmp_path / "made"), "text"))
    assert _Bytecode(io.BytesIO(data)).load() == (8, None, "text")
    assert not (tmp_path / "made").exists()
    pickle.loads(data)
    assert (tmp_path / "made").exists(), "the negative control"
