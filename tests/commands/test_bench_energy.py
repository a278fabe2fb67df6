"""`bench --energy`: by a counter that the clock drives, and where there is none."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.measure.energy import host, meters
from edgevit_deploy.measure.saved import read_bench
from tests.helpers.power_counters import Machine

pytestmark = pytest.mark.usefixtures("no_process_for_memory")

ErrorCheck = Callable[..., str]
QUICK = ("--runs", "5", "--regime", "mixed")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)


@pytest.fixture
def counting(tmp_path: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 2 W whose counters stand, whenever they are read, where the real clock says."""
    machine, read_j = Machine(root=tmp_path / "powercap", idle_w=1, now_s=time.monotonic()), meters.Rapl.read_j

    def read_now(meter: meters.Rapl) -> float:
        machine.pass_time(time.monotonic() - machine.now_s)
        return read_j(meter)

    monkeypatch.setattr(meters.Rapl, "read_j", read_now)
    monkeypatch.setattr(meters, "POWERCAP", machine.root)
    monkeypatch.setattr(host, "WINDOW_S", 0.1)


def test_energy_stands_beside_latency(
    counting: None, fake_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["bench", str(fake_bundle), *QUICK, "--energy", "--json", "--output", str(out)]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    (entry,) = document["energy"]
    assert entry["name"] == document["results"][0]["label"]
    assert entry["meter"] == "RAPL package-0 + package-1"
    assert all(watts == pytest.approx(2, rel=0.5) for watts in entry["idle_w"])
    low, high = entry["interval_mj"]
    assert low <= entry["mean_mj"] <= high
    assert entry["mean_mj"] < entry["total_mj"]  # the counters do not know that anything runs
    assert "mJ a run above idle" in captured.err
    page = (out / "bench.md").read_text()
    assert "energy, by the counters of this machine" in page
    assert "--energy" in page
    assert read_bench(out).results[0].label == entry["name"]


def test_no_counter_is_one_line_and_exit_code_3(
    no_gpu: None, fake_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_error: ErrorCheck
) -> None:
    monkeypatch.setattr(meters, "POWERCAP", tmp_path / "powercap")
    message = expect_error(3, "bench", fake_bundle, *QUICK, "--energy")
    assert "no counter of energy" in message


def test_a_counter_that_stands_still_is_said_before_anything_is_timed(
    no_gpu: None, fake_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_error: ErrorCheck
) -> None:
    monkeypatch.setattr(meters, "POWERCAP", Machine(root=tmp_path / "powercap").root)
    monkeypatch.setattr("edgevit_deploy.measure.bench.read_subject", lambda *_: pytest.fail("a bundle was opened"))
    assert "the counter stands still" in expect_error(3, "bench", fake_bundle, *QUICK, "--energy")


def test_without_the_flag_nothing_is_read(
    fake_bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(meters, "find_rapl", lambda root: pytest.fail("read"))
    assert run(["bench", str(fake_bundle), *QUICK, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["energy"] == []


def test_another_machines_counters_are_not_read(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    assert "--on" in expect_error(2, "bench", fake_bundle, *QUICK, "--energy", "--on", "local")
