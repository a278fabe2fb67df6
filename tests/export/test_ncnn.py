"""The ncnn target: what pnnx wrote is counted, what it said is believed, and what it left behind is gone."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import export.ncnn as exporting
from edgevit_deploy.errors import ExportError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.ncnn import BIN_NAME, PARAM_NAME, read_ncnn_model
from export.ncnn import NcnnExporter, check_same_layers, check_written, convert, run_pnnx
from export.torchscript import trace
from tests.helpers.bounds import bound_of
from tests.helpers.ncnn import SMALL
from tests.helpers.small import prepared, truth_and_noise
from tests.helpers.targets import NETWORK, images, left_in

K = bound_of("ncnn", "fp32").k
ROOT = Path(__file__).parent.parent.parent
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture(scope="module")
def single() -> Artifact:
    return SMALL.shared()


@pytest.fixture(scope="module")
def brain() -> Artifact:
    return SMALL.shared(precision="bf16")


@pytest.fixture(scope="module")
def half() -> Artifact:
    return SMALL.shared(precision="fp16")


def test_the_files_are_all_that_is_left(single: Artifact, half: Artifact) -> None:
    for artifact in (single, half):
        assert artifact.path.name == "model.ncnn"
        assert sorted(path.name for path in artifact.path.parent.rglob("*")) == [BIN_NAME, "model.ncnn", PARAM_NAME]


def test_the_facts_are_those_of_the_files(single: Artifact, half: Artifact) -> None:
    layers = single.facts["layer_types"]
    assert layers == half.facts["layer_types"] == read_ncnn_model(single.path).layer_counts()
    assert (layers["GELU"], layers["Softmax"], layers["LayerNorm"], layers["PixelShuffle"]) == (12, 7, 23, 5)
    assert "BatchNorm" not in layers
    assert "DeconvolutionDepthWise" not in layers
    assert set(single.facts["weights_by_storage"]) == {"float32"}
    assert set(half.facts["weights_by_storage"]) == {"float16"}
    assert half.facts["bin_bytes"] < 0.52 * single.facts["bin_bytes"]


def test_the_fp16_model_has_the_layers_of_the_fp32_model(single: Artifact, half: Artifact) -> None:
    assert (half.path / PARAM_NAME).read_bytes() == (single.path / PARAM_NAME).read_bytes()
    check_same_layers(half.path, single.path)


def test_another_layer_in_fp16_is_refused(half: Artifact, tmp_path: Path) -> None:
    text = (half.path / PARAM_NAME).read_text()
    for changed, message in (
        (text.replace("1.000000e-6", "1.000000e-5", 1), "LayerNorm.*1.000000e-6"),
        (text + "X", "than in fp32"),
    ):
        (tmp_path / PARAM_NAME).write_text(changed)
        with pytest.raises(ExportError, match=message):
            check_same_layers(half.path, tmp_path)


def test_a_bf16_model_is_the_fp32_model_with_a_setting(single: Artifact, brain: Artifact) -> None:
    """So the float32 bound, which sees what that of bfloat16 cannot, has judged the same layers and weights."""
    assert (brain.path / BIN_NAME).read_bytes() == (single.path / BIN_NAME).read_bytes()
    lines, twins = ((artifact.path / PARAM_NAME).read_text().splitlines() for artifact in (brain, single))
    differing = [(line.split(), twin.split()) for line, twin in zip(lines, twins, strict=True) if line != twin]
    assert differing == [(["Input", "use_bf16_storage", "0", "1", "in0"], ["Input", "in0", "0", "1", "in0"])]
    assert read_ncnn_model(brain.path).bf16_storage


def test_one_setting_does_not_pass_for_another(single: Artifact, brain: Artifact) -> None:
    with pytest.raises(ExportError, match="bf16 storage in the written files: False, asked for: True"):
        check_written(single.path, "bf16")
    with pytest.raises(ExportError, match="bf16 storage in the written files: True, asked for: False"):
        check_written(brain.path, "fp32")


def test_half_weights_do_not_pass_for_float32(half: Artifact) -> None:
    """What pnnx writes unless it is told otherwise."""
    with pytest.raises(ExportError, match=r"weights in the written files: \{'float16'\}, asked for: \{'float32'\}"):
        check_written(half.path, "fp32")


def test_notes_name_the_limits(single: Artifact, half: Artifact, brain: Artifact) -> None:
    said = (single, "left on, the error is that of half precision"), (half, "sums are float32"), (brain, "with bf16_storage on")
    for artifact, options in said:
        notes = " ".join(artifact.notes)
        assert options in notes
        assert "Batch 1 and 64 x 64 only" in notes
        assert "in the manifest `input` and `logits`" in notes


def test_the_original_graph_is_what_pnnx_cannot_convert(tmp_path: Path) -> None:
    """Why it is refused by name; the day this fails, the refusal can go."""
    trace(prepared(NETWORK, torch.float32), torch.zeros(1, 3, 64, 64)).save(str(tmp_path / "trace.pt"))
    with pytest.raises(ExportError, match=r"could not convert the model \(status 0\): .*, and \d+ others") as caught:
        convert(tmp_path, (64, 64), "fp32")
    assert "\n" not in str(caught.value)


class StridedSlice(nn.Module):
    """The sampler as a slice with a step, which ncnn does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x[:, :, ::4, ::4].flatten(1))


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.stem(x), x + 2


class UnknownLayer(nn.Module):
    """A cumulative sum: ncnn has a layer for it, no EdgeViT needs it, so no session of ours would run it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(x, dim=2)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (StridedSlice, "slice with step 4 is not supported"),
        (TwoOutputs, r"inputs and outputs in the written files: .*'out1'"),
        (UnknownLayer, "pnnx wrote what ncnn could not run: model.param has a layer 'CumulativeSum'"),
    ],
)
def test_what_cannot_be_converted_is_one_line(tmp_path: Path, module: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        SMALL.build(SMALL.plan_of(), tmp_path, module().eval().requires_grad_(False))
    assert "\n" not in str(caught.value)


@posix_only
@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'ignore torch.unbind x param dim=0'; echo 'reshape: target exceeds ncnn physical rank' >&2",
            "status 0.*and 1 others",
        ),
        ("kill -SEGV $$", "pnnx was killed by SIGSEGV"),
        ("exit 255", r"could not convert the model \(status 255\)"),
        ("true", r"without a word and without model\.param"),
        ("touch model.param", r"without a word and without model\.bin"),
        ("sleep 60", "did not end within 1 s"),
    ],
)
def test_a_child_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    monkeypatch.setattr(exporting, "CONVERT_TIMEOUT_S", 1.0 if "sleep" in script else 300.0)
    with pytest.raises(ExportError, match=message):
        run_pnnx(["/bin/bash", "-c", script], tmp_path)


def test_a_program_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot be started \(No such file or directory\); pip install -e '\.\[ncnn\]'"):
        run_pnnx([str(tmp_path / "pnnx")], tmp_path)


@posix_only
def test_warnings_of_its_pytorch_are_no_objections(tmp_path: Path) -> None:
    said = "[W NNPACK.cpp:64] Could not initialize NNPACK! Reason: Unsupported hardware."
    run_pnnx(["/bin/bash", "-c", f"echo '{said}' >&2; touch model.param model.bin"], tmp_path)


WAITS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it, their children too
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from export.ncnn import run_pnnx
run_pnnx(["/bin/bash", "-c", "echo $$ > pid; exec sleep 600"], Path(sys.argv[2]))
"""


@posix_only
def test_ctrl_c_ends_the_child_too(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITS, str(ROOT), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 300
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(300) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        SMALL.build(SMALL.plan_of(), tmp_path, StridedSlice().eval().requires_grad_(False))
    assert left_in(tmp_path) == []


def test_an_image_input_is_normalised_in_float32() -> None:
    artifact = SMALL.shared(takes="image", precision="fp16")
    assert artifact.facts["layer_types"]["MemoryData"] == 2
    assert artifact.facts["other_float32_weights"] > 6


def test_the_usage_snippet_runs(single: Artifact, tmp_path: Path) -> None:
    """The Python of the bundle's README, at this size, in a process of its own."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "input.f32").write_bytes(images().tobytes())
    shutil.copytree(single.path, tmp_path / single.path.name)
    (snippet,) = re.findall(r"```python\n(.*?)```", NcnnExporter.usage, flags=re.DOTALL)
    code = snippet.replace("224", "64") + "assert status == 0\nnp.save('outputs.npy', np.array(outputs))\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
    exact, noise = truth_and_noise(NETWORK, images())
    assert np.abs(np.load(tmp_path / "outputs.npy") - exact).max() <= K * noise


def test_the_command_line_refuses_by_name(expect_error: Callable[..., str], tmp_path: Path) -> None:
    common = ("ncnn", "--model", "edgevit_xxs", "--output", tmp_path, "--graph")
    assert expect_error(2, *common, "original").endswith("cannot hold the original graph; use --graph deploy")
    bf16 = ("deploy", "--precision", "bf16", "--input", "image")
    assert expect_error(2, *common, *bf16).endswith("which costs too much); use --input tensor")
    assert "are slower: 0.8 times the speed of fp32" in expect_error(2, *common, "deploy", "--precision", "int8")
    for batch in ("2", "dynamic"):
        assert expect_error(2, *common, "deploy", "--batch", batch).endswith("one image a run; use --batch 1")
    assert "use --image-size N or HxW" in expect_error(2, *common, "deploy", "--image-size", "dynamic")
    assert list(tmp_path.iterdir()) == []


def test_without_pnnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    availability = NcnnExporter.probe()
    assert (availability.ok, availability.fix) == (False, "pip install -e '.[ncnn]'")
