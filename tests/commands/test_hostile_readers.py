"""`verify` of a bundle whose file crashes what reads it: one line, and the command goes on to say it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import export
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter.child import WORKERS
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.verification.bundle import artifact_of
from tests.helpers.fakes import FAKE_TARGET, FakeExporter


def isolate(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    monkeypatch.setitem(export.TARGETS, "fake", replace(FAKE_TARGET, location=location, isolated=True))


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("reader", ["AbortingReader", "AbortingDescriber"])
def test_a_file_that_crashes_its_reader_is_one_line(
    rounded: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    bundle = shutil.copytree(rounded, tmp_path / "bundle")
    isolate(monkeypatch, f"tests.helpers.child_fakes:{reader}")
    assert run(["verify", str(bundle)]) == RunError.exit_code
    assert "error: model.fake could not be read: its process was killed by SIGABRT" in " ".join(capfd.readouterr().err.split())
    assert WORKERS._worker is None


def test_the_control_a_good_file_is_read_there_and_passes(rounded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, "tests.helpers.fakes:FakeExporter")
    assert run(["verify", str(rounded)]) == 0
    assert WORKERS._worker is None
    artifact = artifact_of(rounded, read_manifest(rounded), THIS_HOST)
    try:
        found = THIS_HOST.find_exporter("fake").stored(artifact)
    finally:
        WORKERS.close()
    expected = FakeExporter().stored(artifact)
    assert found.activations == expected.activations
    for one, other in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one.scales, other.scales)
        np.testing.assert_array_equal(one.values, other.values)
