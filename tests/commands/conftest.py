"""What tests of commands share."""

import shutil
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from tests.helpers.evaluation import trained_bundle
from tests.helpers.fakes import SMALL_COMMAND, register_fake
from tests.helpers.shared import made_once


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


@pytest.fixture
def rounded(fake_target: None) -> Path:
    """A bundle of a random network in int8, calibrated on drawn pictures, for reading only."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            register_fake(monkeypatch)
            assert run([*SMALL_COMMAND, "--precision", "int8", "--calibration", "synthetic", "--output", str(folder)]) == 0

    return made_once("small-int8-bundle", make) / "fake-int8"
