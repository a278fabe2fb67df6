"""`verify --on-arm64` over a sysroot with a stand-in for its emulator: what is asked of it, and whatever may be wrong with it."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runtimes
from edgevit_deploy.cli import run
from edgevit_deploy.process import sysroot
from edgevit_deploy.process.sysroot import UNDER_EMULATION
from tests.helpers.bundles import rehash
from tests.helpers.fakes import FAKE_RUNTIME

pytestmark = pytest.mark.skipif(sysroot.is_arm64() or sys.platform == "win32", reason="the emulator is a script, for another CPU")

ErrorCheck = Callable[..., str]

REMEMBERING = replace(FAKE_RUNTIME, location="tests.helpers.remembering:RememberingSession", arm64=("numpy",), isolated=True)

AS_IT_SHOULD = f"""[ "$1 $2 $3" = "-cpu cortex-a76 -L" ] || exit 9
case "$5" in */python3) shift 5; unset PYTHONHOME; exec {shlex.quote(sys.executable)} "$@" ;; esac
program=$5; shift 5; exec "$program" "$@"
"""
GOOD_SAMPLE = {
    "runtime": "a fake",
    "substitute": "",
    "golden": [{"output": "logits", "error": 1e-9, "bound": 1e-5, "rows": 2, "same_first": 2, "passed": True}],
}


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def _sample(root: Path, code: int = 0, **changes: object) -> None:
    """Let the sample of a sysroot say so and end with a code."""
    _program(root / "samples/fake", f"cat <<'END'\n{json.dumps({**GOOD_SAMPLE, **changes})}\nEND\nexit {code}\n")


@pytest.fixture
def root(tmp_path: Path, fake_target: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sysroot without a C++ sample, in which the fake runtime runs."""
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", REMEMBERING)
    root = tmp_path / "sysroot"
    _program(root / "host/qemu-aarch64-static", AS_IT_SHOULD)
    _program(root / "usr/bin/python3", "")
    (root / "site").mkdir()
    return root


def _verified(root: Path, bundle: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, dict, str]:
    capfd.readouterr()
    code = run(["verify", str(bundle), "--on-arm64", str(root), "--json"])
    said = capfd.readouterr()
    (document,) = json.loads(said.out)
    return code, document, said.err


def test_the_golden_data_are_replayed_there(root: Path, fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, document, said = _verified(root, fake_bundle, capfd)
    assert (code, document["status"], document["on_arm64"]) == (0, "passed", UNDER_EMULATION)
    assert document["golden"]["runtime"] == f"fake runtime, {UNDER_EMULATION}"
    assert document["golden"]["top1"] == "2 of 2"
    assert document["sample"] is None
    assert f"top-1 2 of 2; fake runtime, {UNDER_EMULATION}" in said
    assert run(["verify", str(fake_bundle), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)[0]["on_arm64"] is None


def test_so_they_are_in_the_sample(root: Path, fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _sample(root)
    code, document, said = _verified(root, fake_bundle, capfd)
    assert (code, document["status"], document["sample"]["status"]) == (0, "passed", "passed")
    assert document["sample"]["runtime"] == f"a fake, by the C++ sample, {UNDER_EMULATION}"
    assert said.count(": passed, error") == 2


def test_a_wrong_golden_value_fails(
    root: Path, fake_bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", replace(FAKE_RUNTIME, arm64=("torch",)))  # which computes them
    values = np.fromfile(fake_bundle / "golden/output.f32", "<f4")
    values[3] += 3 * json.loads((fake_bundle / "manifest.json").read_text())["parity"]["diffs"][0]["tolerance"]["atol"]
    values.tofile(fake_bundle / "golden/output.f32")
    rehash(fake_bundle)
    code, document, said = _verified(root, fake_bundle, capfd)
    assert (code, document["golden"]["status"]) == (1, "failed")
    assert ": failed, error" in said


@pytest.mark.parametrize(
    ("code", "changes", "status"),
    [
        (1, {"golden": [{**GOOD_SAMPLE["golden"][0], "passed": False}]}, "failed"),
        (1, {"golden": [{**GOOD_SAMPLE["golden"][0], "error": None, "passed": False}]}, "failed"),
        (1, {}, "failed"),
        (3, {"substitute": "this CPU computes otherwise"}, "built, not run"),
    ],
)
def test_what_the_sample_found(
    root: Path, fake_bundle: Path, capfd: pytest.CaptureFixture[str], code: int, changes: dict, status: str
) -> None:
    _sample(root, code, **changes)
    ended, document, said = _verified(root, fake_bundle, capfd)
    assert (ended, document["status"], document["golden"]["status"]) == (code, status, "passed")
    assert document["sample"]["status"] == status
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kill -SEGV $$", "the C++ sample of ROOT was killed by SIGSEGV"),
        ("echo no such back end >&2; exit 2", "ended with status 2: no such back end"),
        ("echo '{}'", "Object missing required field"),
        ("""echo '{"runtime": "", "substitute": "", "golden": []}'""", "replayed nothing"),
    ],
)
def test_a_sample_that_reports_nothing(root: Path, fake_bundle: Path, expect_error: ErrorCheck, text: str, words: str) -> None:
    _program(root / "samples/fake", text)
    assert words.replace("ROOT", str(root)) in expect_error(1, "verify", fake_bundle, "--on-arm64", root)


def test_a_crash_is_one_line(root: Path, fake_bundle: Path, expect_error: ErrorCheck) -> None:
    _program(root / "host/qemu-aarch64-static", "echo no register >&2; kill -SEGV $$")
    said = expect_error(1, "verify", fake_bundle, "--on-arm64", root)
    assert f"fake runtime, {UNDER_EMULATION} could not load model.fake: its process was killed by SIGSEGV: no register" in said


@pytest.mark.parametrize("part", ["host/qemu-aarch64-static", "usr/bin/python3", "site"])
def test_a_sysroot_without_a_part(root: Path, fake_bundle: Path, expect_error: ErrorCheck, part: str) -> None:
    (root / part).rename(root / "elsewhere")
    said = expect_error(3, "verify", fake_bundle, "--on-arm64", root)
    assert f"--on-arm64 {root}: {part} is not there; make a sysroot with .ci/install-arm64 {root}" in said
    assert "host/qemu-aarch64-static is not there" in expect_error(3, "verify", fake_bundle, "--on-arm64", root / "nowhere")


def test_a_runtime_that_is_not_in_the_sysroot(
    root: Path, fake_bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not run is not passed; but the sample may run it alone."""
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", replace(REMEMBERING, arm64=()))
    code, document, said = _verified(root, fake_bundle, capfd)
    assert (code, document["status"]) == (3, "built, not run")
    assert "not run is not passed. no runtime of fake runs in a sysroot" in said
    _sample(root)
    code, document, _ = _verified(root, fake_bundle, capfd)
    assert (code, document["status"], document["sample"]) == (0, "passed", None)
    assert "C++ sample" in document["golden"]["runtime"]


def test_hashes_come_first(root: Path, fake_bundle: Path, expect_error: ErrorCheck) -> None:
    (fake_bundle / "model.fake").write_bytes(b"something else")
    assert "model.fake" in expect_error(1, "verify", fake_bundle, "--on-arm64", root)
