"""A host's own counters: which are read, how they begin anew, and what a run takes above idle."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgevit_deploy.errors import MissingError, RunError
from edgevit_deploy.measure.energy import meters
from edgevit_deploy.measure.energy.host import ROUNDS, HostEnergy, check_counting, measure_host_energy
from edgevit_deploy.measure.energy.meters import Rapl, find_meters, find_nvml, find_rapl
from tests.helpers.power_counters import WRAP_UJ, Machine, Runner


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(root=tmp_path / "powercap")


def rapl(machine: Machine) -> Rapl:
    meter = find_rapl(machine.root)
    assert isinstance(meter, Rapl)
    return meter


class TestRapl:
    def test_packages_are_added_and_nothing_is_counted_twice(self, machine: Machine) -> None:
        meter = rapl(machine)
        assert meter.name == "RAPL package-0 + package-1"
        assert meter.read_j() == 0
        machine.pass_time(0.25, extra_w=4)
        assert meter.read_j() == pytest.approx(0.25 * (8 + 8 + 4), rel=1e-5)

    def test_a_counter_that_begins_anew(self, machine: Machine) -> None:
        meter = rapl(machine)
        for _ in range(40):  # 320 J of each package, whose counter holds 50
            machine.pass_time(1)
            meter.read_j()
        assert meter.read_j() == pytest.approx(40 * 16, rel=1e-5)
        assert 3 * WRAP_UJ / 1e6 < 40 * 8

    def test_without_the_wrap_energy_would_be_lost(self, machine: Machine) -> None:
        meter = rapl(machine)
        for package in meter._packages:
            package.wrap_uj = 0
        for _ in range(40):
            machine.pass_time(1)
            meter.read_j()
        assert meter.read_j() < 0.9 * 40 * 16

    def test_what_can_no_longer_be_read(self, machine: Machine) -> None:
        meter = rapl(machine)
        (machine.root / "intel-rapl:1" / "energy_uj").unlink()
        with pytest.raises(RunError, match="can no longer be read"):
            meter.read_j()

    @pytest.mark.parametrize("content", ["", "many", "-5", str(2**70)])
    def test_what_is_no_counter(self, machine: Machine, content: str) -> None:
        (machine.root / "intel-rapl:1" / "energy_uj").write_text(content)
        assert "no counter" in str(find_rapl(machine.root))

    def test_one_that_only_root_may_read_is_said(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        read = meters.read_bounded

        def refuse(path: Path, most: int) -> bytes:
            if path.name == "energy_uj":
                raise PermissionError(13, "Permission denied")
            return read(path, most)

        monkeypatch.setattr(meters, "read_bounded", refuse)
        reason = find_rapl(machine.root)
        assert isinstance(reason, str)
        assert "Permission denied" in reason
        assert "root" in reason

    def test_no_folder_and_no_package(self, tmp_path: Path) -> None:
        assert "is not there" in str(find_rapl(tmp_path / "powercap"))
        assert "no package" in str(find_rapl(tmp_path))


def fake_nvml(counters_mj: list[int], error: str = "") -> ModuleType:
    """A module as nvidia-ml-py is one."""
    module = ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def init() -> None:
        if error:
            raise NVMLError(error)

    module.__dict__.update(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlDeviceGetCount=lambda: len(counters_mj),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: counters_mj[handle],
    )
    return module


class TestNvml:
    def test_boards_are_added(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counters = [5_000, 7_000]
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(counters))
        meter = find_nvml()
        assert not isinstance(meter, str)
        counters[0] += 1_500
        counters[1] += 250
        assert meter.read_j() == 1.75
        assert "2 GPUs" in meter.name

    @pytest.mark.parametrize(
        ("module", "says"),
        [(None, "nvidia-ml-py"), (fake_nvml([1], "Driver Not Loaded"), "Driver Not Loaded"), (fake_nvml([]), "no GPU")],
    )
    def test_where_there_is_none(self, module: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", module)
        assert says in str(find_nvml())

    def test_every_reason_is_in_the_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", None)
        with pytest.raises(MissingError) as missing:
            find_meters(tmp_path / "powercap")
        assert "powercap is not there" in str(missing.value)
        assert "nvidia-ml-py" in str(missing.value)
        assert "\n" not in str(missing.value)

    def test_both_meters(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([1]))
        assert [meter.name[:4] for meter in find_meters(machine.root)] == ["RAPL", "NVML"]


def measured(machine: Machine, runners: Sequence[Runner], **settings: Any) -> tuple[HostEnergy, ...]:
    candidates: Any = runners
    return measure_host_energy(
        candidates,
        [rapl(machine)],
        threads=1,
        seed=0,
        step=lambda text: None,
        window_s=0.5,
        clock=machine.clock,
        sleep=machine.pass_time,
        **settings,
    )


class TestARun:
    def test_what_it_takes_above_idle(self, machine: Machine) -> None:
        runners = [
            Runner(machine=machine, label="a", run_s=0.020, extra_w=12),
            Runner(machine=machine, label="b", run_s=0.030, extra_w=6),
        ]
        for runner, energy in zip(runners, measured(machine, runners), strict=True):
            assert energy.label == runner.label
            assert energy.mean_mj == pytest.approx(runner.energy_mj, rel=1e-3)
            assert energy.mean_w == pytest.approx(runner.extra_w, rel=1e-3)
            assert energy.total_mj == pytest.approx(runner.energy_mj + 1000 * runner.run_s * 16, rel=1e-3)
            low, high = energy.interval_mj
            assert low <= runner.energy_mj + 1e-3
            assert high >= runner.energy_mj - 1e-3
            assert energy.warning == ""
            assert runner.opened == 0

    def test_idle_power_that_rises_is_followed_and_said(self, machine: Machine) -> None:
        machine.warming_w_per_s = 1.0
        runner = Runner(machine=machine, label="a", run_s=0.020, extra_w=12)
        (energy,) = measured(machine, [runner])
        assert energy.mean_mj == pytest.approx(runner.energy_mj, rel=0.02)
        assert len(energy.idle) == ROUNDS + 1
        assert "idle power was between" in energy.warning

    def test_idle_that_was_measured_only_before_would_be_wrong(self, machine: Machine) -> None:
        machine.warming_w_per_s = 1.0
        runner = Runner(machine=machine, label="a", run_s=0.020, extra_w=12)
        (energy,) = measured(machine, [runner])
        before = energy.idle[0].watts
        naive = [1000 * (window.joules - before * window.seconds) / window.runs for window in energy.windows]
        assert sum(naive) / len(naive) > 1.1 * runner.energy_mj

    def test_a_counter_that_stands_still(self, machine: Machine) -> None:
        machine.idle_w = 0
        with pytest.raises(MissingError, match="stands still"):
            measured(machine, [Runner(machine=machine, label="a", run_s=0.020, extra_w=0)])

    def test_counters_are_looked_at_twice(self, machine: Machine) -> None:
        meter = rapl(machine)
        check_counting([meter], machine.pass_time)
        with pytest.raises(MissingError, match="stands still"):
            check_counting([meter], lambda seconds: None)

    def test_two_meters_are_two_rows(self, machine: Machine) -> None:
        runner = Runner(machine=machine, label="a", run_s=0.020, extra_w=12)
        candidates: Any = [runner]
        both = [rapl(machine), rapl(machine)]
        rows = measure_host_energy(
            candidates,
            both,
            threads=1,
            seed=0,
            step=lambda text: None,
            window_s=0.2,
            clock=machine.clock,
            sleep=machine.pass_time,
        )
        assert len(rows) == 2
        assert rows[0].mean_mj == pytest.approx(rows[1].mean_mj, rel=1e-6)
