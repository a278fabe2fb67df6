"""What tests of commands share."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.evaluation import trained_bundle


@pytest.fixture
def no_process_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `bench` a peak that was not measured, which would cost a process that imports PyTorch for each file.

    The measurement has its own tests in measure/test_benchmark.py, and `bench` makes it in commands/test_bench_bundles.py.
    """
    monkeypatch.setattr("edgevit_deploy.measure.benchmark.peak_memory_bytes", lambda *_: 123_000_000)


@pytest.fixture
def classifier(fake_target: None, tmp_path: Path) -> Path:
    """A copy of the trained network's bundle, for one test."""
    return Path(shutil.copytree(trained_bundle(), tmp_path / "classifier" / "fake-fp32"))
