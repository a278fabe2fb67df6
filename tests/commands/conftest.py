"""What tests of commands share."""

import pytest


@pytest.fixture
def no_process_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `bench` a peak that was not measured, which would cost a process that imports PyTorch for each file.

    The measurement has its own tests in measure/test_benchmark.py, and `bench` makes it in commands/test_bench_bundles.py.
    """
    monkeypatch.setattr("edgevit_deploy.measure.benchmark.peak_memory_bytes", lambda *_: 123_000_000)
