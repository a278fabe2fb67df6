"""Fixtures that several test modules share."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

# One thread for each worker and its children: two workers of two threads on two cores take 6 times as long, spinning.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from edgevit_deploy.cli import run
from tests.helpers.fakes import register_fake


@pytest.fixture
def fake_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the fake target and runtime for one test."""
    register_fake(monkeypatch)


@pytest.fixture(scope="session")
def pristine_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle of the fake target, made once: XXS, 64 x 64, 10 classes. Copy it before changing anything."""
    output = tmp_path_factory.mktemp("pristine")
    with pytest.MonkeyPatch.context() as monkeypatch:
        register_fake(monkeypatch)
        tokens = ["fake", "--model", "edgevit_xxs", "--image-size", "64", "--num-classes", "10", "--output", str(output)]
        assert run(tokens) == 0
    return output / "fake-fp32"


@pytest.fixture
def fake_bundle(pristine_bundle: Path, fake_target: None, tmp_path: Path) -> Path:
    """A copy of the fake target's bundle, for one test."""
    return Path(shutil.copytree(pristine_bundle, tmp_path / "out" / "fake-fp32"))


@pytest.fixture
def expect_error(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must fail with one clear line; return what it said on stderr."""

    def check(code: int, *tokens: object) -> str:
        capfd.readouterr()
        assert run([str(token) for token in tokens]) == code
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        assert "Traceback" not in captured.out
        errors = [line for line in captured.err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1, captured.err
        return errors[0]

    return check
