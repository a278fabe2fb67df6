"""The MNN target: what its converter wrote is counted, what it gets wrong is put right, and its telemetry stays asleep."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import export.mnn.converter as converting
from edgevit_deploy.bundle.folder import GOLDEN_INPUTS
from edgevit_deploy.errors import ExportError, RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.mnn import MnnOperator, read_mnn
from edgevit_deploy.session import Session
from edgevit_deploy.spec import InputKind, Precision
from export.mnn import MnnExporter, check_written, traced
from export.mnn.converter import CHILD, EXACT_GELU, convert, write_source
from export.mnn.twin import check_twin
from tests.helpers.bounds import bound_of
from tests.helpers.hosts import registered
from tests.helpers.mnn import SMALL
from tests.helpers.small import truth_and_noise
from tests.helpers.targets import NETWORK, images, left_in

K = bound_of("mnn", "fp32").k
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the shell is POSIX's")


@pytest.fixture(scope="module")
def single() -> Artifact:
    return SMALL.shared()


@pytest.fixture(scope="module")
def half() -> Artifact:
    return SMALL.shared(precision="fp16")


def session(artifact: Artifact) -> Session:
    return registered("mnn")(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)


def error_of(artifact: Artifact) -> float:
    exact, _ = truth_and_noise(NETWORK, images())
    with session(artifact) as opened:
        return float(np.abs(opened.run({"input": images()})["logits"] - exact).max())


def test_the_file_is_all_that_is_left(single: Artifact, half: Artifact) -> None:
    for artifact in (single, half):
        assert [path.name for path in artifact.path.parent.rglob("*")] == ["model.mnn"]


def test_the_facts_are_those_of_the_file(single: Artifact, half: Artifact) -> None:
    assert single.operators == half.operators
    assert set(single.facts["weights_by_storage"]) == {"float32"}
    assert set(half.facts["weights_by_storage"]) == {"float16"}
    assert half.facts["size_bytes"] < 0.53 * single.facts["size_bytes"]
    assert single.facts["uuid"] == read_mnn(single.path).uuid
    assert single.facts["uuid"] != half.facts["uuid"], "another network has another name"


def test_weights_are_rounded_to_half_and_not_cut_off(single: Artifact, half: Artifact) -> None:
    """What the converter does by itself: each weight that is not nearest is on the side of zero."""
    convolutions = [op.constant for op in read_mnn(single.path).weights if op.kind != "Const"]
    halves = [op.constant for op in read_mnn(half.path).weights if op.kind != "Const"]
    for exact, rounded in zip(convolutions, halves, strict=True):
        assert exact is not None
        assert rounded is not None
        np.testing.assert_array_equal(exact.values.astype(np.float16), rounded.values)


@pytest.mark.slow
def test_by_itself_the_converter_cuts_off(single: Artifact, tmp_path: Path) -> None:
    """The day this fails, the rounding before it can go."""
    source = write_source(traced(SMALL.module_for(), SMALL.plan_of()), tmp_path)
    cut = read_mnn(convert(source, tmp_path / "cut", *EXACT_GELU, "--fp16")).weights
    pairs = [(a.constant, b.constant) for a, b in zip(read_mnn(single.path).weights, cut, strict=True) if a.kind != "Const"]
    differing = sum((a.values.astype(np.float16) != b.values).sum() for a, b in pairs if a is not None and b is not None)
    assert differing > 0.3 * sum(a.values.size for a, _ in pairs if a is not None)


def test_a_gelu_by_a_tanh_is_refused(tmp_path: Path) -> None:
    """What the converter writes unless it is told otherwise, and for the Gelu of opset 20 whatever it is told."""
    plan = SMALL.plan_of(graph="original")
    source = write_source(traced(SMALL.module_for(plan), plan), tmp_path)
    written = convert(source, tmp_path / "plain")
    with pytest.raises(ExportError, match=r"wrote what cannot be run: .* is a GELU by a tanh"):
        check_written(written, plan)
    assert check_written(convert(source, tmp_path / "exact", *EXACT_GELU), plan).operator_counts()["UnaryOp GELU_STANDARD"] == 12


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_as_it_comes_it_computes_something_else(tmp_path: Path, precision: Precision) -> None:
    """So a benchmark rejects it; told to write GELU exactly, it is judged and timed."""
    plan = SMALL.plan_of(precision=precision)
    as_it_comes, plain = SMALL.exporter.naive(SMALL.module_for(replace(plan, graph="original")), plan).items()
    assert (as_it_comes[0], plain[0]) == ("MNN's converter as it comes", "plain conversion")
    with pytest.raises(RunError, match=r"blocks1\.0/LocalAgg/\S* is a GELU by a tanh"):  # the first that there is
        as_it_comes[1](tmp_path)
    _, noise = truth_and_noise(NETWORK, images())
    if precision == "fp32":
        assert error_of(plain[1](tmp_path)) <= K * noise


def test_another_operator_than_in_float32_is_refused(single: Artifact, half: Artifact) -> None:
    model, twin = read_mnn(half.path), read_mnn(single.path)
    with pytest.raises(ExportError, match="has other weights in half precision than in float32"):
        check_twin(model, twin)  # of weights that were not rounded before
    for others in (twin.operators[:-1], (*twin.operators[:20], twin.operators[21], *twin.operators[20:])):
        with pytest.raises(ExportError, match=r"wrote other operators than in float32, from .* on"):
            check_twin(replace(twin, operators=others), twin)


def test_constants_of_its_own_may_be_cut_off_and_no_more() -> None:
    """Of the pixels' normalisation, which the converter computes anew."""
    half = SMALL.shared(precision="fp16", takes="uint8")
    model = read_mnn(half.path)
    constants = [op.constant for op in model.operators if op.kind == "Const" and op.constant and op.constant.storage == "float16"]
    assert constants

    def with_twins(step: float) -> tuple[MnnOperator, ...]:
        return tuple(
            replace(op, constant=replace(op.constant, storage="float32", values=op.constant.values.astype(np.float32) * step))
            if op.constant is not None and op.constant.storage == "float16" and (op.kind == "Const" or step == 1)
            else op
            for op in model.operators
        )

    check_twin(model, replace(model, operators=with_twins(1.0)))
    check_twin(model, replace(model, operators=with_twins(1 + 2**-12)))
    with pytest.raises(ExportError, match="has other weights in half precision than in float32"):
        check_twin(model, replace(model, operators=with_twins(1.01)))


def test_a_weight_beyond_half_precision_is_refused(tmp_path: Path) -> None:
    module = SMALL.module_for()
    with torch.no_grad():
        next(p for name, p in module.named_parameters() if name.endswith(("fc1.weight", "conv1.weight")))[0] = 1e5
    with pytest.raises(ExportError, match=r"reaches 1e\+05, float16 ends at 65504; use --precision fp32"):
        SMALL.build(SMALL.plan_of(precision="fp16"), tmp_path, module)


def test_one_precision_does_not_pass_for_another(single: Artifact, half: Artifact) -> None:
    with pytest.raises(ExportError, match=r"are \{'float32'\}, asked for: \{'float16'\}"):
        check_written(single.path, SMALL.plan_of(precision="fp16"))
    with pytest.raises(ExportError, match=r"are \{'float16'\}, asked for: \{'float32'\}"):
        check_written(half.path, SMALL.plan_of())


def test_notes_name_the_limits(single: Artifact, half: Artifact) -> None:
    for artifact, said in ((single, "weights and arithmetic are float32"), (half, "half the size, not faster")):
        notes = " ".join(artifact.notes)
        assert said in notes
        assert "Batch 1 and 64 x 64 are fixed in the file" in notes
        assert "no vectorised kernel" in notes
    free = " ".join(SMALL.shared(batch=1, dynamic_batch=True, dynamic_size=True, precision="fp32").notes)
    assert "the file says 1" in free
    assert "multiples of 32" in free
    assert "fixed in the file" not in free


class CumulativeSum(nn.Module):
    """MNN has an operator for it; no network here needs it, so no session would run it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(x, dim=2).mean((2, 3))


def test_what_no_network_here_needs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"wrote what cannot be run: .* of a kind \(148") as caught:
        SMALL.build(SMALL.plan_of(), tmp_path, CumulativeSum().eval())
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('[ERROR] Convert error, please check your file format.')", r"status 0\): \[ERROR\] Convert error"),
        ("print('These Op Not Support: Det')", r"status 0\): These Op Not Support: Det"),
        ("pass", r"could not convert the model \(status 0\): not a word"),
        ("print('Converted Success!')", "says 'Converted Success!' and wrote nothing"),
        ("print('Converted Failed!')", "Converted Failed!"),
        ("import os; os.kill(os.getpid(), 11)", "MNN's converter was killed by SIGSEGV"),
        ("raise SystemExit(7)", r"could not convert the model \(status 7\)"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
    ],
)
def test_a_child_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str) -> None:
    monkeypatch.setattr(converting, "CONVERT_TIMEOUT_S", 1.0 if "sleep" in code else 300.0)
    source = write_source(b"no network", tmp_path)
    with pytest.raises(ExportError, match=message):
        convert(source, tmp_path / "out", code=code)


@pytest.mark.slow
def test_its_telemetry_stays_asleep(tmp_path: Path) -> None:
    """`MNN.tools` installs a package with pip when it is imported; the converter does without it and without any process."""
    watched = f"""
import sys
def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.")) or event in ("subprocess.Popen", "os.system", "os.posix_spawn"):
        raise SystemExit(f"it wants {{event}} {{arguments}}")
sys.addaudithook(refuse)
{CHILD.replace("; ", chr(10))}
assert not [name for name in sys.modules if name.startswith(("MNN.tools", "aliyun"))], "its tools were imported"
"""
    source = write_source(traced(SMALL.module_for(), SMALL.plan_of()), tmp_path)
    assert read_mnn(convert(source, tmp_path / "quiet", *EXACT_GELU, code=watched)).outputs == ("logits",)
    with pytest.raises(ExportError, match="status 1"):
        convert(source, tmp_path / "loud", code=watched + "\nimport os; os.system('true')")


@pytest.mark.parametrize("takes", ["tensor", "uint8"])
def test_the_usage_snippet_runs(tmp_path: Path, takes: InputKind) -> None:
    """The Python of the bundle's README, at this size, in a process of its own; for bytes with the two names that it says."""
    file = SMALL.shared() if takes == "tensor" else SMALL.shared(takes=takes)
    inputs = images() if takes == "tensor" else np.random.default_rng(5).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    (tmp_path / "golden").mkdir()
    (tmp_path / GOLDEN_INPUTS[file.inputs[0].dtype]).write_bytes(inputs.tobytes())
    shutil.copy(file.path, tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", MnnExporter.usage, flags=re.DOTALL)
    code = snippet.replace("224", "64") + "assert status == 0\nnp.save('logits.npy', logits)\n"
    if takes == "uint8":
        for old, new in (
            ('"golden/input.f32", "<f4"', '"golden/input.u8", "u1"'),
            ("MNN.Halide_Type_Float", "MNN.Halide_Type_Uint8"),
        ):
            assert code.count(old) == 1
            assert MnnExporter.usage.count(new) == 1
            code = code.replace(old, new)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300, stdout=subprocess.DEVNULL)
    exact, noise = truth_and_noise(NETWORK, inputs, takes)
    assert np.abs(np.load(tmp_path / "logits.npy") - exact).max() <= K * noise


def test_the_command_line_refuses_by_name(expect_error: Callable[..., str], tmp_path: Path) -> None:
    common = ("mnn", "--model", "edgevit_xxs", "--output", tmp_path)
    known = "mnn has no precision 'bf16'; use --precision fp32 or fp16 or w8 or int8"
    assert known in expect_error(2, *common, "--precision", "bf16")
    assert "rounding to eight bits needs the ranges of activations" in expect_error(2, *common, "--precision", "int8")
    assert list(tmp_path.iterdir()) == []


def test_without_mnn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    availability = MnnExporter.probe()
    assert (availability.ok, availability.fix) == (False, "pip install -e '.[mnn]'")
