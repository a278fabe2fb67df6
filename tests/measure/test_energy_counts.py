"""A count that fits by accident, and a background that is not one: what the number of regions alone does not show."""

from dataclasses import replace

import numpy as np
import pytest

from edgevit_deploy.measure.energy import judge
from edgevit_deploy.measure.energy.result import read_energy
from edgevit_deploy.measure.energy.trace import Trace
from tests.helpers.power_traces import FINE_HZ, KINDS, RUNS, Pulse, Scene, averaged, scene, trace_of, with_background

SEEDS = (75_001, 75_002, 75_003)


def warmed(given: Scene, factor: float, place: int = 0) -> Scene:
    """Let one inference draw so many times the power."""
    added = given.added_w.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], added > 0, [0]])))
    first, last = edges[2 * place], edges[2 * place + 1]
    added[first:last] *= factor
    return Scene(rng=given.rng, background_w=given.background_w, added_w=added, mean_mj=given.mean_mj)


@pytest.mark.parametrize("seed", SEEDS)
class TestOneLostAndOneMore:
    @pytest.mark.parametrize("factor", [1.7, 1.4, 0.6])
    def test_a_warm_up_in_place_of_a_lost_one(self, seed: int, factor: float) -> None:
        trace = trace_of(averaged(warmed(scene(seed), factor)))
        assert "times the usual energy" in read_energy(trace).refusal

    def test_without_the_refusal_the_mean_would_be_wrong(self, seed: int) -> None:
        given = scene(seed)
        energy = read_energy(trace_of(averaged(warmed(given, 1.7))), uneven=True).energy
        assert energy is not None
        assert energy.mean_mj > 1.01 * given.mean_mj

    def test_inferences_that_scatter_may_differ_as_much(self, seed: int) -> None:
        reading = read_energy(trace_of(averaged(scene(seed, Pulse(spread=0.12)))))
        assert reading.energy is not None, reading.refusal

    def test_few_inferences_that_scatter(self, seed: int) -> None:
        reading = read_energy(trace_of(averaged(scene(seed, Pulse(spread=0.08), runs=6))), runs=6, max_error=0.05)
        assert reading.energy is not None, reading.refusal


def gapped(seed: int, share: float) -> tuple[Trace, float]:
    """Return a trace with a gap in a pause, of so much of an inference of 40 ms."""
    given = scene(seed, pause_s=0.3)
    trace = trace_of(averaged(given))
    reading = read_energy(trace)
    assert reading.regions is not None
    first = int(reading.regions.pauses[20].mean()) - 100
    known = trace.known.copy()
    known[first : first + round(share * 200)] = False
    return replace(trace, known=known), given.mean_mj


@pytest.mark.parametrize("seed", SEEDS)
class TestGaps:
    def test_one_that_may_hold_an_inference(self, seed: int) -> None:
        refusal = read_energy(gapped(seed, 1.0)[0]).refusal
        assert "one may be lost there" in refusal
        assert "record again" in refusal

    def test_a_shorter_one_does_no_harm(self, seed: int) -> None:
        trace, truth_mj = gapped(seed, 0.6)
        energy = read_energy(trace).energy
        assert energy is not None
        assert energy.mean_mj == pytest.approx(truth_mj, rel=0.01)


def two_idles(seed: int, extra_w: float, runs: int = RUNS) -> Trace:
    """Let the background be higher from the first inference to the last."""
    given = scene(seed, runs=runs, idle_w=0.6)
    busy = np.flatnonzero(given.added_w)
    extra = np.full(len(given.added_w), extra_w)
    margin = FINE_HZ // 50
    extra[: busy[0] - margin] = 0
    extra[busy[-1] + margin :] = 0
    return trace_of(averaged(with_background(given, extra), noise_w=0.05))


def said(trace: Trace, runs: int = RUNS) -> bool:
    energy = read_energy(trace, runs=runs, max_error=0.2).energy
    assert energy is not None
    return any("before the first inference" in note for note in energy.notes)


@pytest.mark.parametrize("seed", SEEDS)
class TestASecondIdle:
    @pytest.mark.parametrize("extra_w", [0.2, -0.2, -0.4])
    @pytest.mark.parametrize("runs", [RUNS, 8])
    def test_is_said(self, seed: int, extra_w: float, runs: int) -> None:
        assert said(two_idles(seed, extra_w, runs), runs)

    @pytest.mark.parametrize("extra_w", [0.0, 0.01])
    def test_one_level_is_not(self, seed: int, extra_w: float) -> None:
        assert not said(two_idles(seed, extra_w))

    @pytest.mark.parametrize("name", ["drifting background", "usual noise", "bursts at random", "clock ramps"])
    def test_drift_and_noise_are_none(self, seed: int, name: str) -> None:
        assert not said(KINDS[name].draw(seed)[0])


def test_an_outlier_does_not_widen_what_is_usual() -> None:
    rng = np.random.default_rng(3)
    usual = 1 + 0.05 * rng.standard_normal(50)
    assert judge._usual_range(np.append(usual, 40.0), 0.0)[1] == pytest.approx(judge._usual_range(usual, 0.0)[1], rel=0.05)
