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

from edgevit_deploy.cli import COMMANDS, run, wait_passively
from edgevit_deploy.commands.pictures import agreement
from edgevit_deploy.registry import Availability
from export import TARGETS
from tests.helpers.fakes import FAKE_COMMAND, FakeExporter

ErrorCheck = Callable[..., str]
ROOT = Path(__file__).parent.parent
ANY_SIZE = ("fake", "--model", "edgevit_xxs")


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
        ((*FAKE_COMMAND, "--batch", "0"), "--batch 0: expected a whole number from 1 to 1024, or dynamic"),
        ((*FAKE_COMMAND, "--batch=-2"), "--batch -2: expected a whole number from 1 to 1024, or dynamic"),
        ((*FAKE_COMMAND, "--batch", "many"), "--batch many: expected a whole number"),
        ((*FAKE_COMMAND, "--precision", "fp4"), 'Invalid value "fp4" for --precision'),
        ((*FAKE_COMMAND, "--precision", "fp16"), "fake has no precision 'fp16'; use --precision fp32"),
        ((*ANY_SIZE, "--num-classes", "0"), "a classifier needs at least 1 class, got 0"),
        ((*FAKE_COMMAND, "--seed", "-1"), "seed is 0 or larger"),
        ((*FAKE_COMMAND, "--images", "nowhere"), "nowhere: not a folder"),
        ((*FAKE_COMMAND, "--form", "nowhere.toml"), "nowhere.toml cannot be read"),
        ((*FAKE_COMMAND, "--form", "x.toml", "--graph", "original"), "--graph original is as published; drop one of the two"),
        (("all", "--model", "edgevit_xxs", "--form", "x.toml"), "use `convert.py TARGET --form x.toml`, or drop --form"),
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
    message = expect_error(2, *FAKE_COMMAND, "--labels", labels, "--output", tmp_path / "out")
    assert "has 2 lines but the model has 10 classes; give one name a line" in message
    labels.write_text("\n".join([*["cat"] * 8, " ", "dog"]) + "\n")
    assert "line 9 is empty" in expect_error(2, *FAKE_COMMAND, "--labels", labels, "--output", tmp_path / "out")
    assert "cannot be read" in expect_error(2, *FAKE_COMMAND, "--labels", tmp_path / "no", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_dependency_names_its_extra_and_exits_3(
    fake_target: None, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Availability(ok=False, detail="fakelib not installed", fix="pip install -e '.[fake]'")
    monkeypatch.setattr(FakeExporter, "probe", classmethod(lambda cls: missing))
    message = expect_error(3, *FAKE_COMMAND)
    assert "fakelib not installed" in message
    assert "pip install -e '.[fake]'" in message


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
    assert run([*FAKE_COMMAND, "--output", str(tmp_path), "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert document["rows"][0]["noise_ratio"] <= 4
    assert "fake fp32" in captured.err


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


@pytest.mark.parametrize(
    ("tokens", "passive"),
    [(("verify", "x"), True), ((), True), (("bench", "x"), False), (("tune", "x"), False), (("friendliness",), False)],
)
def test_openmp_waits_passively_unless_time_is_measured(
    monkeypatch: pytest.MonkeyPatch, tokens: tuple[str, ...], passive: bool
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "removed at the end")
        monkeypatch.delenv(name)
    wait_passively(tokens)
    assert os.environ.get("OMP_WAIT_POLICY") == ("PASSIVE" if passive else None)
    assert os.environ.get("GOMP_SPINCOUNT") == ("0" if passive else None)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    wait_passively(tokens)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE", "what the user has said stands"


def test_it_is_said_before_torch_is_loaded() -> None:
    code = (
        "import sys, edgevit_deploy.cli as cli\n"
        "cli.run = lambda tokens: print('torch' in sys.modules, __import__('os').environ['OMP_WAIT_POLICY']) or 0\n"
        "cli.main(['verify', 'x'])"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    assert result.stdout.strip() == "False PASSIVE"


@pytest.mark.parametrize("name", ["\0", "a\0b.html", "\ud800"], ids=ascii)
@pytest.mark.parametrize(
    "tokens",
    [
        ["report", "{bundle}", "--output", "{name}"],
        ["bench", "nothing", "--output", "{name}"],
        ["verify", "{name}"],
        ["inspect", "{name}"],
        ["fake", "--weights", "{name}"],
        ["friendliness", "--model", "edgevit_xxs", "--output={name}"],
    ],
    ids=lambda tokens: tokens[0],
)
def test_a_name_that_no_file_can_have_is_refused(
    fake_bundle: Path, expect_error: Callable[..., str], tokens: list[str], name: str
) -> None:
    line = [token.format(bundle=fake_bundle, name=name) for token in tokens]
    assert "no file can have this name" in expect_error(2, *line)


@pytest.mark.parametrize("name", ["loop", "loop/page.html"])
def test_a_link_in_a_circle_is_refused(fake_bundle: Path, expect_error: Callable[..., str], name: str) -> None:
    loop = fake_bundle.parent / "loop"
    loop.symlink_to("loop")
    assert "--output" in expect_error(2, "report", fake_bundle, "--output", fake_bundle.parent / name)
    assert "no bundle" in expect_error(2, "report", loop)
    assert "no bundle" in expect_error(2, "bench", loop)
    assert "--output" in expect_error(2, "bench", loop, "--output", loop)
