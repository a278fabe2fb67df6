"""The command line: every bad input is one line and the right exit code; `--json` is one document; `--help` imports little."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit_deploy import host as hosts
from edgevit_deploy.cli import COMMANDS, run
from edgevit_deploy.commands.pictures import agreement
from edgevit_deploy.registry import Availability
from export import TARGETS
from tests.helpers.fakes import FakeExporter, FakeSession

ErrorCheck = Callable[..., str]
ROOT = Path(__file__).parent.parent
ANY_SIZE = ("fake", "--model", "edgevit_xxs")
FAKE = (*ANY_SIZE, "--image-size", "64", "--num-classes", "10")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (("onx",), "no target or command 'onx'; did you mean 'onnx'?"),
        (("fake", "--model", "edgevit_xsx"), "no model 'edgevit_xsx'; did you mean 'edgevit_xs'?"),
        (("fake", "--model", "resnet50"), "no model 'resnet50'; known: edgevit_s,"),
        (("fake",), "use --model edgevit_xxs (random weights) or --weights FILE"),
        (("fake", "--modle", "edgevit_xs"), "Unknown option: --modle. Did you mean --model?"),
        (
            (*ANY_SIZE, "--image-size", "225"),
            "image height 225 is not a positive multiple of 32; the nearest that works: 224 or",
        ),
        (
            (*ANY_SIZE, "--image-size", "224x100"),
            "image width 100 is not a positive multiple of 32; the nearest that works: 96 or",
        ),
        ((*ANY_SIZE, "--image-size", "0"), "the nearest that works: 32"),
        ((*ANY_SIZE, "--image-size", "-64"), "--image-size"),
        ((*ANY_SIZE, "--image-size", "big"), "expected a side (224), HEIGHTxWIDTH (192x320) or dynamic"),
        ((*FAKE, "--batch", "0"), "--batch 0: expected a whole number from 1 to 1024, or dynamic"),
        ((*FAKE, "--batch=-2"), "--batch -2: expected a whole number from 1 to 1024, or dynamic"),
        ((*FAKE, "--batch", "many"), "--batch many: expected a whole number"),
        ((*FAKE, "--precision", "fp8"), 'Invalid value "fp8" for --precision'),
        ((*FAKE, "--precision", "fp16"), "fake has no precision 'fp16'; use --precision fp32"),
        ((*ANY_SIZE, "--num-classes", "0"), "a classifier needs at least 1 class, got 0"),
        ((*FAKE, "--seed", "-1"), "seed is 0 or larger"),
        ((*FAKE, "--images", "nowhere"), "nowhere: not a folder"),
        (("all", "--model", "edgevit_xxs", "--require", "onyx"), "--require onyx: no such target; did you mean 'onnx'?"),
        (("verify",), "requires an argument"),
        (("inspect", "nowhere.pth"), "nowhere.pth"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    fake_target: None,
    expect_error: ErrorCheck,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokens: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in expect_error(2, *tokens)
    assert list(tmp_path.iterdir()) == []


def test_labels_of_the_wrong_length(fake_target: None, expect_error: ErrorCheck, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    message = expect_error(2, *FAKE, "--labels", labels, "--output", tmp_path / "out")
    assert "has 2 lines but the model has 10 classes; give one name a line" in message
    labels.write_text("\n".join(["cat"] * 9 + [" "]) + "\n")
    assert "line 10 is empty" in expect_error(2, *FAKE, "--labels", labels, "--output", tmp_path / "out")
    assert "cannot be read" in expect_error(2, *FAKE, "--labels", tmp_path / "no", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_dependency_names_its_extra_and_exits_3(
    fake_target: None, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Availability(ok=False, detail="fakelib not installed", fix="pip install -e '.[fake]'")
    monkeypatch.setattr(FakeExporter, "probe", classmethod(lambda cls: missing))
    message = expect_error(3, *FAKE)
    assert "fakelib not installed" in message
    assert "pip install -e '.[fake]'" in message


@pytest.fixture
def only_fake(fake_target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `all` see the fake target alone."""
    import export

    for name in [name for name in export.TARGETS if name != "fake"]:
        monkeypatch.delitem(export.TARGETS, name)


def test_all_counts_a_skip_as_no_pass(
    only_fake: None, expect_error: ErrorCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = Availability(ok=False, detail="fakelib not installed", fix="pip install fakelib")
    monkeypatch.setattr(FakeExporter, "probe", classmethod(lambda cls: missing))
    tokens = ("all", *FAKE[1:], "--output", str(tmp_path))
    assert run(tokens) == 0
    captured = capfd.readouterr().err
    assert "skipped" in captured
    assert "pip install fakelib" in captured
    assert "--require: fake skipped" in expect_error(3, *tokens, "--require", "fake")


def test_all_goes_on_after_a_failure_and_exits_1(only_fake: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgevit_deploy.errors import ExportError

    def export(self: FakeExporter, module: object, plan: object, folder: Path) -> None:
        raise ExportError("the converter fell over")

    monkeypatch.setattr(FakeExporter, "export", export)
    assert run(["all", *FAKE[1:], "--output", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []


def test_all_runs_what_can_run(only_fake: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["all", *FAKE[1:], "--output", str(tmp_path), "--require", "fake", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert [(row["target"], row["status"]) for row in document["rows"]] == [("fake", "passed")]


def test_built_but_not_run_is_not_passed(
    fake_target: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = Availability(ok=False, detail="no accelerator", fix="buy one")
    monkeypatch.setattr(FakeSession, "probe", classmethod(lambda cls: missing))
    hosts.find_session.cache_clear()
    try:
        assert run([*FAKE, "--output", str(tmp_path), "--json"]) == 0
        captured = capfd.readouterr()
        assert json.loads(captured.out)["rows"][0]["status"] == "built, not run"
        assert "no accelerator" in captured.err
        assert run(["verify", str(tmp_path / "fake-fp32")]) == 3
        assert "not run is not passed" in capfd.readouterr().err
    finally:
        hosts.find_session.cache_clear()


@pytest.mark.slow
def test_a_substitute_is_not_passed(
    fake_target: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file whose arithmetic this host lacks is run in another one, which is said everywhere and never called passed."""
    load = FakeSession._load

    def load_a_substitute(self: FakeSession) -> None:
        load(self)
        self.substitute = "this CPU has no bf16, so it was run in fp32"

    monkeypatch.setattr(FakeSession, "_load", load_a_substitute)
    assert run([*FAKE, "--output", str(tmp_path)]) == 0
    said = capfd.readouterr().err
    assert "built, not run: Checked instead: this CPU has no bf16, so it was run in fp32: passed" in " ".join(said.split())
    bundle = tmp_path / "fake-fp32"
    readme = (bundle / "README.md").read_text()
    assert "**Built, not run**" in readme
    assert "this CPU has no bf16" in readme
    assert run(["verify", str(bundle), "--layers", "--seed", "0"]) == 3
    said = capfd.readouterr().err
    assert "not run is not passed. this CPU has no bf16" in said
    assert "layers are within tolerance, but this CPU has no bf16" in said
    assert run(["bench", str(bundle)]) == 3
    assert "this CPU has no bf16, so it was run in fp32, whose speed is not the file's" in capfd.readouterr().err
    (tmp_path / "wrong").mkdir()
    assert run([*FAKE, "--fault", "bias", "--output", str(tmp_path / "wrong")]) == 1


def test_photographs_go_through_to_top_5(fake_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows, columns = np.indices((120, 160))
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.stack([rows, columns, rows + columns], axis=-1).astype(np.uint8)).save(folder / "a.png")
    capfd.readouterr()
    assert run(["verify", str(fake_bundle), "--images", str(folder), "--json"]) == 0
    captured = capfd.readouterr()
    (result,) = json.loads(captured.out)
    assert len(result["top5"]["a.png"]) == 5
    assert result["top5"]["a.png"][0][0].startswith("class ")
    assert "a.png" in captured.err


def test_agreement_of_top_5_is_said_in_words() -> None:
    ranking = [("cat", 5.0), ("dog", 4.0), ("bee", 3.0), ("ant", 2.5), ("fox", 2.499)]
    swapped = [*ranking[:3], ranking[4], ranking[3]]
    other = [*ranking[:4], ("owl", 2.4)]
    assert agreement([ranking, ranking]) == "the same top-5"
    assert agreement([ranking, swapped]) == "the same five classes, but ant, fox, 0.001 apart, not in the same order"
    assert agreement([ranking, swapped, other]) == "3 different top-5"


def test_json_is_one_document_and_nothing_else(fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*FAKE, "--output", str(tmp_path), "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert document["rows"][0]["noise_ratio"] <= 4
    assert "fake fp32" in captured.err


@pytest.mark.slow
def test_dynamic_sizes_are_proven_at_a_second_one(fake_target: None, tmp_path: Path) -> None:
    from edgevit_deploy.bundle.manifest import read_manifest

    tokens = ("fake", "--model", "edgevit_xxs", "--num-classes", "10", "--image-size", "dynamic", "--batch", "dynamic")
    assert run([*tokens, "--output", str(tmp_path)]) == 0
    diffs = read_manifest(tmp_path / "fake-fp32").parity.diffs
    assert {(diff.batch, diff.image_size) for diff in diffs} == {
        (1, (224, 224)),
        (3, (224, 224)),
        (1, (256, 320)),
        (3, (256, 320)),
    }


def test_inspect_a_bundle(fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert run(["inspect", str(fake_bundle), "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["kind"] == "bundle"
    assert "all hashes match" in facts["files"]


def test_help_imports_no_heavy_library_and_no_command() -> None:
    code = (
        "import sys\n"
        "from edgevit_deploy.cli import run\n"
        "assert run(['--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'coremltools', 'tensorrt', 'tensorrt_rtx', 'PIL'} & set(sys.modules)\n"
        "print('IMPORTED', sorted(heavy), [name for name in sys.modules if name.startswith('edgevit_deploy.commands.')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "IMPORTED [] ['edgevit_deploy.commands.console']" in result.stdout


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, *TARGETS],
)
def test_every_command_has_help(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    text = capfd.readouterr().out
    assert "Usage: convert.py" in text
    assert "{" not in text


def test_doctor_lists_everything(capfd: pytest.CaptureFixture[str]) -> None:
    import export
    import runtimes

    assert run(["doctor", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert set(document["targets"]) == set(export.TARGETS)
    assert set(document["runtimes"]) == set(runtimes.RUNTIMES)
    for found in (*document["targets"].values(), *document["runtimes"].values()):
        assert found["ok"] or found["fix"], "what does not work must say what would enable it"


def test_a_cell_with_brackets_is_shown_whole(
    only_fake: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The name of an extra looks like rich's markup, which would swallow it."""
    missing = Availability(ok=False, detail="fakelib not installed", fix="pip install '.[fake]'")
    monkeypatch.setattr(FakeExporter, "probe", classmethod(lambda cls: missing))
    assert run(["doctor"]) == 0
    assert "pip install '.[fake]'" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_in_the_middle_of_a_real_conversion_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "convert.py", "onnx", "--model", "edgevit_s", "--output", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not any(tmp_path.glob(".*partial*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert any(tmp_path.glob(".*partial*")), "the conversion never began"
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted; nothing half-written was kept" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
