"""`bench` on bundles: what it prints, and what it refuses to time."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.errors import BundleError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.subjects import Ready, read_subject
from edgevit_deploy.parity.decisions import Decisions
from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, Session
from tests.helpers.bundles import edit_manifest

ErrorCheck = Callable[..., str]


@pytest.fixture
def fake_session(fake_target: None) -> Any:
    """The fake runtime's class."""
    from tests.helpers.fakes import FakeSession

    return FakeSession


def test_the_command(fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(fake_bundle), "--runs", "5", "--regime", "mixed", "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    (only,) = document["results"]
    assert len(only["raw_ms"]) == 5
    assert only["label"] == str(fake_bundle)
    assert only["min_ms"] == min(only["raw_ms"])
    assert document["machine"]["libraries"]["torch"]
    assert document["machine"]["cores"] >= document["machine"]["cores_for_us"] >= 1
    assert document["regime"] == {"name": "mixed", "warm_calls": 0, "timed_calls": 1, "sittings": 4}
    assert document["control"]["spread"] >= 0
    assert document["comparisons"] == document["skipped"] == []
    for text in ("mixed: 5 blocks a bundle", "A/A control", "peak memory", "cores", "mixed regime"):
        assert text in captured.err, text


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_for_memory")
def test_two_bundles_are_compared(fake_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = fake_bundle.rename(tmp_path / "[red]other")  # rich markup in a name is text
    other.rename(fake_bundle)
    shutil.copytree(fake_bundle, other)
    assert run(["bench", str(fake_bundle), str(other), "--runs", "5", "--regime", "mixed", "--json"]) == 0
    captured = capfd.readouterr()
    (comparison,) = json.loads(captured.out)["comparisons"]
    assert comparison["label"] == str(other)
    assert comparison["verdict"] in {"no difference", "slower", "faster"}
    assert "[red]other" in captured.err


def test_a_reference_evaluation_makes_no_latency_claim(
    fake_bundle: Path, fake_session: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fake_session, "executes_target", False)
    assert run(["bench", str(fake_bundle), "--json"]) == 3
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert document["results"] == []
    assert document["skipped"][0]["bundle"] == str(fake_bundle)
    assert "not timed here" in captured.err
    assert "says nothing about speed" in captured.err


def test_no_runtime_is_exit_3(
    fake_bundle: Path, fake_session: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = Availability(ok=False, detail="no such chip", fix="buy one")
    monkeypatch.setattr(fake_session, "probe", classmethod(lambda _: gone))
    from edgevit_deploy.host import find_session

    find_session.cache_clear()
    try:
        assert run(["bench", str(fake_bundle)]) == 3
    finally:
        find_session.cache_clear()
    assert "not timed here. fake: no such chip (buy one)" in capfd.readouterr().err


def test_a_changed_file_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    path = fake_bundle / "model.fake"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "changed since it was written" in expect_error(1, "bench", fake_bundle)


def test_failed_parity_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    path = fake_bundle / "manifest.json"
    document = json.loads(path.read_text())
    document["parity"]["status"] = "failed"
    path.write_text(json.dumps(document))
    assert "failed parity when it was made" in expect_error(1, "bench", fake_bundle)


@pytest.mark.parametrize(("agreeing", "says"), [(180, "decided unlike its network when it was made"), (200, "")])
def test_failed_decisions_are_refused(rounded: Path, tmp_path: Path, agreeing: int, says: str) -> None:
    bundle = Path(shutil.copytree(rounded, tmp_path / "out" / "fake-int8"))
    counted = Decisions(pictures=200, agreeing=agreeing, min_agreement=0.98, digest="", broken=0, flips=())
    edit_manifest(bundle, lambda document: document.update(decisions=msgspec.to_builtins(counted)))
    if not says:
        assert isinstance(read_subject(bundle, THIS_HOST), Ready)
        return
    with pytest.raises(BundleError, match=f"{says}: the speed of wrong decisions means nothing"):
        read_subject(bundle, THIS_HOST)


def test_wrong_numbers_here_are_refused(
    fake_bundle: Path, fake_session: Any, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that passed elsewhere and computes something else on this host is not timed."""
    right = fake_session._run

    def wrong(self: Session, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: array + np.float32(0.01) for name, array in right(self, feeds).items()}

    monkeypatch.setattr(fake_session, "_run", wrong)
    assert "does not reproduce its golden outputs" in expect_error(1, "bench", fake_bundle)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--threads", "0"), "--threads 0: this process may use"),
        (("--threads", "9999"), "--threads 9999: this process may use"),
        (("--seed", "-1"), "--seed -1: a seed is 0 or larger"),
        (("--runs", "3"), "use --runs 20 or more"),
        (("--regime", "cold"), "cold"),
    ],
)
def test_bad_settings(fake_bundle: Path, expect_error: ErrorCheck, flags: tuple[str, str], text: str) -> None:
    assert text in expect_error(2, "bench", fake_bundle, *flags)


def test_the_same_bundle_twice(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    assert "is given twice" in expect_error(2, "bench", fake_bundle, fake_bundle.parent / "x" / ".." / fake_bundle.name)


def test_unlike_batches_are_refused(fake_bundle: Path, expect_error: ErrorCheck, tmp_path: Path) -> None:
    other = Path(shutil.copytree(fake_bundle, tmp_path / "two"))
    path = other / "manifest.json"
    document = json.loads(path.read_text())
    document["inputs"][0]["shape"][0] = document["outputs"][0]["shape"][0] = document["conversion"]["batch"] = 2
    path.write_text(json.dumps(document))
    assert "have batches 1, 2" in expect_error(2, "bench", fake_bundle, other)


def test_no_bundle(tmp_path: Path, expect_error: ErrorCheck) -> None:
    assert "no bundle" in expect_error(2, "bench", tmp_path)
