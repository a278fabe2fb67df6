"""Traces of which the energy is known: at most 1 % off, or a refusal that is right. No trace of these seeds was tuned on."""

import re
from dataclasses import replace

import numpy as np
import pytest

from edgevit_deploy.measure.energy import judge
from edgevit_deploy.measure.energy.result import Reading, mean_interval, read_energy, student_975
from edgevit_deploy.measure.energy.trace import Trace
from tests.helpers.power_traces import KINDS, RUNS, Pulse, averaged, bursts, scene, trace_of

SEEDS = (71_001, 71_002)
MEASURED = [name for name, kind in KINDS.items() if not kind.refused and not kind.either]
REFUSED = [name for name, kind in KINDS.items() if kind.refused]
AT_MOST = 0.01


def error(reading: Reading, truth_mj: float) -> float:
    assert reading.energy is not None, reading.refusal
    return abs(reading.energy.mean_mj / truth_mj - 1)


def test_there_are_kinds_enough() -> None:
    assert len(KINDS) >= 12
    assert len(MEASURED) >= 12


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", MEASURED)
class TestMeasured:
    def test_within_one_percent(self, name: str, seed: int) -> None:
        trace, truth_mj = KINDS[name].draw(seed)
        reading = read_energy(trace)
        assert error(reading, truth_mj) <= AT_MOST
        assert reading.energy is not None
        assert reading.energy.runs == RUNS

    def test_a_scale_that_is_3_percent_off_is_seen(self, name: str, seed: int) -> None:
        trace, truth_mj = KINDS[name].draw(seed)
        assert error(read_energy(replace(trace, power_w=1.03 * trace.power_w)), truth_mj) > AT_MOST


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", REFUSED)
def test_refused_for_the_right_reason(name: str, seed: int) -> None:
    trace, _ = KINDS[name].draw(seed)
    reading = read_energy(trace)
    assert reading.energy is None
    assert re.search(KINDS[name].refused, reading.refusal), reading.refusal
    assert "\n" not in reading.refusal
    assert re.search(r"record|--|make|sample", reading.refusal), f"no way out: {reading.refusal}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.either])
def test_what_is_at_the_limit_is_refused_or_right(name: str, seed: int) -> None:
    trace, truth_mj = KINDS[name].draw(seed)
    reading = read_energy(trace)
    assert reading.energy is None or error(reading, truth_mj) <= AT_MOST
    assert error(read_energy(trace, max_error=0.05), truth_mj) <= 0.05


class TestRefusalsAreRight:
    """Without the refusal the figure would be wrong."""

    def test_clipped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trace, truth_mj = KINDS["clipped"].draw(SEEDS[0])
        monkeypatch.setattr(judge, "clipped", lambda trace: "")
        assert error(read_energy(trace), truth_mj) > AT_MOST

    def test_two_in_one(self) -> None:
        trace, truth_mj = KINDS["merged"].draw(SEEDS[0])
        assert "usual energy" in read_energy(trace, runs=48).refusal
        assert error(read_energy(trace, runs=48, uneven=True), truth_mj) > AT_MOST

    def test_one_more_and_two_merged(self) -> None:
        trace, truth_mj = KINDS["one more, and two merged"].draw(SEEDS[0])
        assert error(read_energy(trace, uneven=True), truth_mj) > AT_MOST

    def test_too_few_samples(self) -> None:
        traces = [KINDS["too low a rate"].draw(seed) for seed in range(72_000, 72_012)]
        assert max(error(read_energy(trace, max_error=0.9, uneven=True), truth_mj) for trace, truth_mj in traces) > AT_MOST


class TestWhatIsCounted:
    def test_the_interval_holds_the_truth(self) -> None:
        held = 0
        for seed in range(73_000, 73_040):
            trace, truth_mj = KINDS["uneven inferences"].draw(seed)
            energy = read_energy(trace).energy
            assert energy is not None
            low, high = energy.interval_mj
            held += low <= truth_mj <= high
        assert held >= 35  # 95 % of 40 are 38

    def test_the_standard_deviation_is_that_of_the_inferences(self) -> None:
        given = scene(74_000, Pulse(spread=0.1))
        energy = read_energy(trace_of(averaged(given, noise_w=0.02))).energy
        assert energy is not None
        assert 0.10 < energy.std_mj / energy.mean_mj < 0.20  # 10 % of power and 10 % of length, independent: 14 %
        assert energy.mean_w == pytest.approx(2.0, rel=0.1)
        assert energy.mean_ms == pytest.approx(40, rel=0.1)
        assert energy.background_w == pytest.approx(0.8, abs=0.01)

    def test_bursts_are_counted_as_background_and_said(self) -> None:
        given = bursts(scene(74_001), every_s=0.1, step_w=1.5, length_s=0.001, periodic=True)
        energy = read_energy(trace_of(averaged(given))).energy
        assert energy is not None
        assert any("bursts" in note for note in energy.notes)

    def test_inferences_with_missing_samples_are_left_out(self) -> None:
        given = scene(74_002)
        trace = trace_of(averaged(given))
        reading = read_energy(trace)
        assert reading.regions is not None
        known = trace.known.copy()
        first = int(reading.regions.spans[4, 0]) + 30
        known[first : first + 20] = False
        energy = read_energy(replace(trace, known=known)).energy
        assert energy is not None
        assert (energy.used, energy.runs) == (49, 50)
        assert any("left out" in note for note in energy.notes)

    def test_too_many_of_them_are_refused(self) -> None:
        trace = trace_of(averaged(scene(74_003)))
        reading = read_energy(trace)
        assert reading.regions is not None
        known = trace.known.copy()
        for first, last in reading.regions.spans[:8]:
            known[(first + last) // 2] = False
        assert "samples are missing in 8 of 50" in read_energy(replace(trace, known=known)).refusal

    def test_a_cut_trace_is_refused_and_may_be_cut_further(self) -> None:
        trace = trace_of(averaged(scene(74_004)))
        whole = read_energy(trace)
        assert whole.levels is not None
        first, last = whole.levels.spans[0]
        cut_s = trace.start_s + (int(first) + int(last)) / 2 * trace.cell_s
        assert "begins or ends within an inference" in read_energy(trace.between(cut_s, None)).refusal
        after_s = trace.start_s + (int(last) + 100) * trace.cell_s
        assert read_energy(trace.between(after_s, None), runs=49).energy is not None


@pytest.mark.parametrize(("freedom", "published"), [(4, 2.776), (5, 2.571), (9, 2.262), (19, 2.093), (49, 2.010), (99, 1.984)])
def test_students_t_is_that_of_the_tables(freedom: int, published: float) -> None:
    assert student_975(freedom) == pytest.approx(published, abs=0.002)


def test_neighbours_that_go_together_widen_the_interval() -> None:
    waves, mixed = np.sin(np.arange(200) / 10), np.random.default_rng(0).permutation(np.sin(np.arange(200) / 10))
    (low, high), (mixed_low, mixed_high) = mean_interval(waves), mean_interval(mixed)
    assert high - low > 1.4 * (mixed_high - mixed_low)


def test_drawing_is_from_the_seed_alone() -> None:
    first, second, other = (KINDS["usual noise"].draw(seed)[0] for seed in (1, 1, 2))
    assert isinstance(first, Trace)
    assert (first.power_w == second.power_w).all()
    assert len(first.power_w) != len(other.power_w)
