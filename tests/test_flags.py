"""Flags take what they say: whole numbers, sizes that can be, text files as editors save them."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.process.child import environment
from tests.helpers.fakes import FAKE_COMMAND

ErrorCheck = Callable[..., str]
ROOT = Path(__file__).parent.parent
NOT_WHOLE = ("1.5", "1.0", "1e3", "0x10", "", " 1", "one", "٣", "9" * 5000, "1_000")


@pytest.mark.parametrize("value", NOT_WHOLE)
@pytest.mark.parametrize(
    "command", [("fake", "--num-classes"), ("fake", "--seed"), ("bench", "x", "--runs"), ("bench", "x", "--threads"),
                ("tune", "onnx", "--order-seed"), ("onnx", "--opset"), ("coreml", "--max-batch"), ("verify", "x", "--seed")],
    ids=" ".join,
)  # fmt: skip
def test_a_flag_that_counts_takes_whole_numbers_alone(
    fake_target: None, expect_error: ErrorCheck, command: tuple[str, ...], value: str
) -> None:
    assert "expected a whole number" in expect_error(2, *command, value)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (("fake", "--model", "edgevit_xxs", "--num-classes", 10**12), "at most 1048576 classes"),
        ((*FAKE_COMMAND, "--seed", 10**19 - 1), "a seed is at most"),
        (("fake", "--model", "edgevit_xxs", "--image-size", "9" * 5000), "expected a side (224)"),
        (("fake", "--model", "edgevit_xxs", "--image-size", "224x" + "9" * 5000), "expected a side (224)"),
        (("fake", "--model", "edgevit_xxs", "--image-size", "٢٢٤"), "expected a side (224)"),
        (("fake", "--model", "edgevit_xxs", "--image-size", 2**20), "the largest that works: 4096"),
        ((*FAKE_COMMAND, "--batch", "1.5"), "expected a whole number from 1 to 1024"),
        ((*FAKE_COMMAND, "--batch", 10**30), "expected a whole number from 1 to 1024"),
        ((*FAKE_COMMAND, "--batch", "9" * 5000), "expected a whole number from 1 to 1024"),
        (("bench", "x", "--runs", 10**18), "--runs: at most 100000"),
        ((*FAKE_COMMAND, "--output", "a\0b"), "no file can have this name"),
        ((*FAKE_COMMAND, "--output", "x" * 5000), "cannot be written"),
        ((*FAKE_COMMAND, "--labels", "x" * 5000), "cannot be read"),
        ((*FAKE_COMMAND, "--weights", "a\0b"), "no file can have this name"),
        ((*FAKE_COMMAND, "--images", "x" * 5000), "not a folder"),
        (("verify", "x" * 5000), "no bundle"),
        (("verify", "a\0b"), "no file can have this name"),
    ],
)
def test_what_no_flag_can_mean_is_one_line(
    fake_target: None,
    expect_error: ErrorCheck,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokens: tuple[object, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in expect_error(2, *tokens)
    assert list(tmp_path.iterdir()) == []


def test_labels_without_weights_are_not_ignored(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    message = expect_error(2, "verify", fake_bundle, "--labels", fake_bundle / "labels.txt")
    assert "add --weights FILE or --seed N, or drop --labels" in message


NAMES = [f"name {index}" for index in range(10)]


@pytest.mark.parametrize(
    "data",
    [
        "\n".join(NAMES).encode(),
        ("\n".join(NAMES) + "\n").encode(),
        b"\xef\xbb\xbf" + "\r\n".join(NAMES).encode() + b"\r\n",
        ("\n".join(NAMES) + "\n\n \n").encode(),
    ],
    ids=["plain", "newline", "as Windows saves it", "empty lines at the end"],
)
def test_labels_as_editors_save_them(fake_target: None, expect_error: ErrorCheck, tmp_path: Path, data: bytes) -> None:
    from edgevit_deploy.cli import run

    (tmp_path / "labels.txt").write_bytes(data)
    assert run([*FAKE_COMMAND, "--labels", str(tmp_path / "labels.txt"), "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "fake-fp32" / "labels.txt").read_text().splitlines() == NAMES


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_labels_of_another_encoding_are_refused(
    fake_target: None, expect_error: ErrorCheck, tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(["Käse"] * 10), encoding=encoding)
    assert "save it as UTF-8" in expect_error(2, *FAKE_COMMAND, "--labels", tmp_path / "labels.txt")


IMPORTING = """
import os, signal, sys
sys.path.insert(0, {root!r})
sys.argv = ["convert.py", "--help"]
import edgevit_deploy.__main__ as program
class Signalling:
    def find_spec(self, name, path=None, target=None):
        if name == "edgevit_deploy.cli":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Signalling())
program.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_program_is_imported_is_one_line(number: signal.Signals) -> None:
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = listening + IMPORTING.format(root=str(ROOT), number=int(number))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "error: interrupted; nothing was begun\n")


@pytest.mark.parametrize("name", ["export", "runtimes"])
def test_a_module_that_shadows_ours_is_one_line_with_both_files(tmp_path: Path, name: str) -> None:
    """As in a checkout of YOLOv5, which has an export.py."""
    (tmp_path / f"{name}.py").write_text("def export_formats():\n    return []\n")
    variables = {**environment(), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-P", "-m", "edgevit_deploy", "--help"]
    result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 1
    assert str(tmp_path / f"{name}.py") in result.stderr
    assert str(ROOT / name / "__init__.py") in result.stderr


def test_outside_of_a_checkout_it_is_called_by_its_script_and_names_packages(tmp_path: Path) -> None:
    """As from a wheel: the packages alone, and no pyproject.toml."""
    for package in ("edgevit_deploy", "export", "runtimes"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    asked = "print(json.dumps([i('ncnn'), i('ncnn,litert'), i()]))"
    hints = outside(tmp_path, "-c", f"import json; from edgevit_deploy.registry import install_command as i; {asked}")
    assert outside(tmp_path, "-m", "edgevit_deploy", "--help").startswith("Usage: edgevit-deploy")
    one, two, none = json.loads(hints)
    assert one.startswith("pip install 'ncnn==")
    assert "pnnx==" in one
    assert "ai-edge-litert" not in one
    assert "ai-edge-litert" in two
    assert "'safetensors" in none
    assert "ncnn" not in none


def outside(folder: Path, *arguments: str) -> str:
    """Run Python with the packages of a folder and return what it prints."""
    command = [sys.executable, "-P", *arguments]
    variables = {**environment(), "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True).stdout
