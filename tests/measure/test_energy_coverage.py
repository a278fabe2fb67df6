"""How often the interval of `bench --energy` holds the truth, by simulation: neither a run nor idle is ever quite the same."""

from collections.abc import Callable

import numpy as np
import pytest

from edgevit_deploy.measure.energy.host import ROUNDS, HostEnergy, Window
from edgevit_deploy.measure.energy.result import mean_interval

DRAWS = 3000
WINDOW_S, RUN_S, FILES = 2.0, 0.02, 3
RUN_W, IDLE_W = 6.0, 20.0
TRUTH_MJ = 1000 * RUN_S * RUN_W
SCENES = {"idle scatters": (0.02, 0.5), "runs scatter": (0.5, 0.02), "both": (0.3, 0.3), "idle warms up": (0.1, 0.3)}
WARMS_W_PER_S = {"idle warms up": 0.05}


def drawn(rng: np.random.Generator, runs_w: float, idle_w: float, warms: float) -> HostEnergy:
    """Draw one file's windows among those of others, and idle before and after each round."""

    def window(place: int, extra_w: float, scatter_w: float, runs: int) -> Window:
        watts = IDLE_W + warms * place * WINDOW_S + extra_w + scatter_w * rng.standard_normal()
        return Window(at_s=(place + 0.5) * WINDOW_S, seconds=WINDOW_S, runs=runs, joules=watts * WINDOW_S)

    count, mine = round(WINDOW_S / RUN_S), rng.integers(1, FILES + 1, ROUNDS)
    return HostEnergy(
        label="a",
        meter="m",
        windows=tuple(window(number * (FILES + 1) + int(at), RUN_W, runs_w, count) for number, at in enumerate(mine)),
        idle=tuple(window(number * (FILES + 1), 0.0, idle_w, 0) for number in range(ROUNDS + 1)),
    )


def coverage(scene: str, interval: Callable[[HostEnergy], tuple[float, float]]) -> float:
    rng, held = np.random.default_rng(5), 0
    for _ in range(DRAWS):
        low, high = interval(drawn(rng, *SCENES[scene], WARMS_W_PER_S.get(scene, 0.0)))
        held += low <= TRUTH_MJ <= high
    return held / DRAWS


@pytest.mark.parametrize("scene", SCENES)
def test_the_interval_holds_the_truth_in_95_of_100(scene: str) -> None:
    assert 0.93 <= coverage(scene, lambda energy: energy.interval_mj) <= 0.975


def test_the_scatter_of_runs_alone_would_not() -> None:
    assert coverage("idle scatters", lambda energy: mean_interval(np.array(energy.energies_mj))) < 0.88


def test_what_never_scatters_has_no_width() -> None:
    energy = drawn(np.random.default_rng(0), 0.0, 0.0, 0.0)
    low, high = energy.interval_mj
    assert low == pytest.approx(TRUTH_MJ)
    assert high == pytest.approx(TRUTH_MJ)
