"""The world in which command lines are fuzzed: bounded memory, a working folder of its own, and canaries."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import runtimes
from edgevit_deploy.cli import run
from edgevit_deploy.host import find_session
from tests.helpers.fakes import FAKE_RUNTIME
from tests.helpers.fuzzing import Asker, bounded_memory


@pytest.fixture
def asker(
    fake_target: None,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Iterator[Asker]:
    """A world whose working folder is `here/now`, with a `gs` on the PATH that leaves a file where it is started."""
    remembering = replace(FAKE_RUNTIME, location="tests.helpers.fuzzing:RememberingSession")
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", remembering)
    find_session.cache_clear()
    root = tmp_path / "world"
    for name in ("here/now", "bin", "temporary", "outside"):
        (root / name).mkdir(parents=True)
    (root / "outside" / "secret").write_text("secret")
    program = root / "bin" / "gs"
    program.write_text(f"#!/bin/sh\n: > '{root}/gs-was-started'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr(tempfile, "tempdir", str(root / "temporary"))
    monkeypatch.setenv("TMPDIR", str(root / "temporary"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))  # PyTorch makes it when a part of it is loaded
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(root / "here" / "now")
    assert run(["verify", str(small_bundle)]) == 0  # what a check loads is loaded before memory is bounded
    with bounded_memory():
        yield Asker(root, capfdbinary)
    find_session.cache_clear()
