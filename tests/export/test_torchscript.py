"""The TorchScript target: what the written file holds, where it runs, and what is refused."""

import importlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.jit import mobile

from edgevit_deploy.errors import ExportError, RunError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.torchscript import NEWEST_BYTECODE, NEWEST_FORMAT, OPERATORS, LiteFile, read_lite_file
from export.torchscript import TorchScriptExporter, TorchScriptOptions, freeze, make_promise, trace
from tests.helpers.small import truth_and_noise
from tests.helpers.targets import NETWORK, images
from tests.helpers.torchscript import SMALL

K = 4
writing = importlib.import_module("export.torchscript.write")  # the package has a function of the same name
HAS_XNNPACK = bool(importlib.import_module("torch.backends.xnnpack").enabled)
ROOT = Path(__file__).parent.parent.parent

BUILD_ELSEWHERE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
for _ in range(3):  # PyTorch counts what a process scripts; the file may not
    torch.jit.script(torch.nn.Linear(2, 2))
from tests.helpers.torchscript import SMALL
SMALL.build(SMALL.plan_of(), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def plain() -> Artifact:
    return SMALL.shared()


@pytest.fixture(scope="module")
def free() -> Artifact:
    return SMALL.shared(dynamic_batch=True, dynamic_size=True)


def run(path: Path, inputs: np.ndarray) -> np.ndarray:
    program = mobile._load_for_lite_interpreter(str(path))
    with torch.inference_mode():
        return program(torch.from_numpy(inputs)).numpy()


def test_the_file_is_for_the_1_13_generation(plain: Artifact) -> None:
    file = read_lite_file(plain.path)
    assert file.objections() == []
    assert plain.facts["bytecode_version"] == file.bytecode_version <= NEWEST_BYTECODE
    assert plain.facts["format_version"] == file.format_version <= NEWEST_FORMAT
    operators = plain.operators
    assert set(operators) < set(file.operators) <= set(OPERATORS), "the others are of the methods for bundled inputs"
    assert (operators["aten::gelu"], operators["aten::softmax.int"], operators["aten::layer_norm"]) == (12, 7, 23)
    assert not any("scaled_dot_product_attention" in name for name in file.operators)
    assert any("deprecated in favour of ExecuTorch" in note for note in plain.notes)
    assert any("optimize_for_mobile was not applied" in note for note in plain.notes)


def test_it_computes_what_float64_does(plain: Artifact) -> None:
    exact, noise = truth_and_noise(NETWORK, images())
    assert np.abs(run(plain.path, images()) - exact).max() <= K * noise


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 64), (2, 96, 160), (5, 32, 64)])
def test_free_axes_work_at_other_batches_and_sizes(free: Artifact, shape: tuple[int, int, int]) -> None:
    exact, noise = truth_and_noise(NETWORK, images(*shape))
    assert np.abs(run(free.path, images(*shape)) - exact).max() <= K * noise
    assert free.inputs[0].shape == ("batch", 3, "height", "width")
    assert any("must be multiples of 32" in note for note in free.notes)


def test_a_rebuild_elsewhere_is_byte_identical(plain: Artifact, tmp_path: Path) -> None:
    """In another process, another folder, and after other things were scripted."""
    command = [sys.executable, "-c", BUILD_ELSEWHERE, str(ROOT), str(tmp_path)]
    subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": "7"}, timeout=300)
    assert (tmp_path / "model.ptl").read_bytes() == plain.path.read_bytes()


def test_no_path_of_this_machine_is_inside(plain: Artifact) -> None:
    with zipfile.ZipFile(plain.path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
        assert not any(name.endswith(".debug_pkl") for name in archive.namelist())
    for path in (ROOT, plain.path.parent, Path(torch.__file__).parent):
        assert str(path).encode() not in content


@pytest.mark.parametrize("wanted", [True, False])
def test_bundled_inputs_are_there_if_wanted(plain: Artifact, tmp_path: Path, wanted: bool) -> None:
    artifact = plain if wanted else SMALL.build(SMALL.plan_of(options=TorchScriptOptions(bundled_inputs=False)), tmp_path)
    program = mobile._load_for_lite_interpreter(str(artifact.path))
    if wanted:
        ((example,),) = program.run_method("get_all_bundled_inputs")
        assert example.shape == (1, 3, 64, 64)
        assert artifact.facts["bundled_input_shapes"] == [(1, 3, 64, 64)]
    else:
        with pytest.raises(RuntimeError):
            program.run_method("get_all_bundled_inputs")
        assert artifact.facts["bundled_input_shapes"] == []


class FusedAttention(nn.Module):
    """The one operator that PyTorch 2 would put into an attention and 1.13 does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(mixed.mean(1))


def test_an_operator_newer_than_1_13_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"would not load in PyTorch Mobile 1\.13: .*aten::scaled_dot_product_attention"):
        SMALL.build(SMALL.plan_of(), tmp_path, FusedAttention().eval().requires_grad_(False))


class BakedSize(nn.Module):
    """Flattens with the traced size as a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 64 * 64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.reshape(1, 3 * 64 * 64))


def test_a_baked_in_size_is_refused(tmp_path: Path) -> None:
    SMALL.build(SMALL.plan_of(), tmp_path, BakedSize().eval().requires_grad_(False))
    with pytest.raises(ExportError, match=r"does not run in the lite interpreter: .*shape"):
        SMALL.build(SMALL.plan_of(dynamic_batch=True), tmp_path, BakedSize().eval().requires_grad_(False))


def test_a_model_that_cannot_be_traced_is_one_line(tmp_path: Path) -> None:
    class Falls(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, x[:, :, :1]], dim=0)

    with pytest.raises(ExportError, match="PyTorch could not trace the model: Sizes of tensors must match") as caught:
        SMALL.build(SMALL.plan_of(), tmp_path, Falls().eval())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"bytecode_version": 9}, "bytecode version 9 is not in 1 to 8"),
        ({"format_version": 11}, "format version 11 is not in 1 to 10"),
        ({"operators": {"aten::save": 2}}, "operator aten::save is not among those known"),
        ({"operators": {"aten::gelu": 3}}, "operator aten::gelu is given 3 arguments, PyTorch Mobile 1.13 takes 2"),
    ],
)
def test_what_1_13_could_not_load_is_named(changes: dict[str, Any], objection: str) -> None:
    good: dict[str, Any] = {"bytecode_version": 8, "format_version": 10, "operators": {"aten::gelu": 2}}
    assert LiteFile(**good).objections() == []
    (found,) = LiteFile(**{**good, **changes}).objections()
    assert objection in found


class TestFilesThatAreNotLite:
    def refused(self, path: Path, message: str) -> None:
        with pytest.raises(RunError, match=message) as caught:
            read_lite_file(path)
        assert "\n" not in str(caught.value)

    def test_no_archive(self, tmp_path: Path) -> None:
        (tmp_path / "a.ptl").write_bytes(b"not a zip")
        self.refused(tmp_path / "a.ptl", "is no zip archive; copy or convert it again")
        (tmp_path / "a.ptl").write_bytes(b"")
        self.refused(tmp_path / "a.ptl", "is no zip archive")
        self.refused(tmp_path / "missing.ptl", "is damaged: .*No such file")

    @pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
    def test_a_cut_file(self, plain: Artifact, tmp_path: Path, kept: float) -> None:
        data = plain.path.read_bytes()
        (tmp_path / "a.ptl").write_bytes(data[: int(len(data) * kept)])
        self.refused(tmp_path / "a.ptl", "is damaged: ")

    def test_a_flipped_byte(self, plain: Artifact, tmp_path: Path) -> None:
        data = bytearray(plain.path.read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / "a.ptl").write_bytes(data)
        self.refused(tmp_path / "a.ptl", "is damaged: .*CRC")

    def test_a_record_that_packs_itself_small(self, plain: Artifact, tmp_path: Path) -> None:
        shutil.copyfile(plain.path, tmp_path / "a.ptl")
        with zipfile.ZipFile(tmp_path / "a.ptl", "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model/data/999", bytes(1 << 20))
        self.refused(tmp_path / "a.ptl", "which is in no .ptl file that PyTorch writes")

    def test_other_files_of_pytorch(self, tmp_path: Path) -> None:
        torch.save(NETWORK.state_dict(), tmp_path / "weights.ptl")
        self.refused(tmp_path / "weights.ptl", "weights.ptl is not a lite-interpreter file|holds")
        freeze(trace(SMALL.module_for(), torch.zeros(1, 3, 64, 64))).save(str(tmp_path / "full.ptl"))
        self.refused(tmp_path / "full.ptl", "full.ptl is not a lite-interpreter file|holds")


class TestOptimizeForMobile:
    def test_it_is_refused_where_pytorch_cannot(self) -> None:
        plan = SMALL.plan_of(options=TorchScriptOptions(optimize_for_mobile=True))
        if HAS_XNNPACK:
            TorchScriptExporter().refuse(plan)
        else:
            with pytest.raises(UsageError, match=r"--optimize-for-mobile needs a PyTorch built with XNNPACK.*leave the flag out"):
                TorchScriptExporter().refuse(plan)

    def test_it_is_done_where_pytorch_can(self, tmp_path: Path) -> None:
        if not HAS_XNNPACK:
            pytest.skip(f"torch {torch.__version__} is built without XNNPACK")
        artifact = SMALL.build(SMALL.plan_of(options=TorchScriptOptions(optimize_for_mobile=True)), tmp_path)
        exact, noise = truth_and_noise(NETWORK, images())
        assert np.abs(run(artifact.path, images()) - exact).max() <= K * noise

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            (
                "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
                "was killed by SIGSEGV; leave out --optimize-for-mobile",
            ),
            ("raise ValueError('no such pass')", "ended with status 1: ValueError: no such pass; leave out"),
            ("import sys; sys.exit(3)", "ended with status 3; leave out"),
            ("import time; time.sleep(60)", "did not end within 2 s"),
        ],
    )
    def test_a_child_that_fails_is_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
    ) -> None:
        monkeypatch.setattr(writing, "CHILD_TIMEOUT_S", 2.0 if "sleep" in code else 300.0)
        program = freeze(trace(SMALL.module_for(), torch.zeros(1, 3, 64, 64)))
        with pytest.raises(ExportError, match=message):
            writing.write_in_child(program, tmp_path / "model.ptl", make_promise(SMALL.plan_of()), code)
        assert list(tmp_path.iterdir()) == []

    def test_the_child_writes_a_file_that_runs(self, tmp_path: Path) -> None:
        """The way through the child, with the one pass left out that this PyTorch may not have."""
        code = (
            "import sys, torch.utils.mobile_optimizer as m; m.optimize_for_mobile = lambda program: program; "
            "from export.torchscript.write import optimise_and_write; optimise_and_write(*sys.argv[1:])"
        )
        program = freeze(trace(SMALL.module_for(), torch.zeros(1, 3, 64, 64)))
        writing.write_in_child(program, tmp_path / "model.ptl", make_promise(SMALL.plan_of()), code)
        exact, noise = truth_and_noise(NETWORK, images())
        assert np.abs(run(tmp_path / "model.ptl", images()) - exact).max() <= K * noise
