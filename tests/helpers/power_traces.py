"""Power traces whose energy is known, drawn from seeds: none is kept, so that nothing can be tuned to one.

Power is a function of time on a fine grid. What inferences add is summed there before anything else is added, so that the truth
does not come from what is tested. A meter then sees the grid through its own cells.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.measure.energy.trace import Trace, of_counters, of_samples

Values = NDArray[np.float64]

FINE_HZ = 20_000
RUNS = 50


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What happens: power on the fine grid, what inferences add to it, and the truth."""

    rng: np.random.Generator
    background_w: Values
    added_w: Values
    mean_mj: float

    @property
    def times_s(self) -> Values:
        return (np.arange(len(self.added_w)) + 0.5) / FINE_HZ

    @property
    def power_w(self) -> Values:
        return self.background_w + self.added_w


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """How one inference draws power: a plateau with a slow rise and a slow fall."""

    step_w: float = 2.0
    length_s: float = 0.04
    rise_s: float = 0.0
    tail_s: float = 0.0
    spread: float = 0.0
    texture: float = 0.0

    def drawn(self, rng: np.random.Generator) -> tuple[Values, float]:
        """Return power on the fine grid, and after how many seconds the inference itself has ended."""
        scale = 1 + self.spread * rng.standard_normal()
        cells = max(1, round(self.length_s * (1 + self.spread * rng.standard_normal()) * FINE_HZ))
        time_s = (np.arange(cells) + 0.5) / FINE_HZ
        plateau = np.full(cells, self.step_w * scale)
        if self.texture:  # layers differ
            plateau *= np.repeat(1 + self.texture * rng.uniform(-1, 1, 8), -(-cells // 8))[:cells]
        if self.rise_s:  # the clock goes up
            plateau *= 1 - 0.6 * np.exp(-time_s / self.rise_s)
        if not self.tail_s:
            return plateau, cells / FINE_HZ
        after_s = (np.arange(round(6 * self.tail_s * FINE_HZ)) + 0.5) / FINE_HZ
        return np.concatenate([plateau, 0.5 * plateau[-1] * np.exp(-after_s / self.tail_s)]), cells / FINE_HZ


def scene(
    seed: int,
    pulse: Pulse | None = None,
    *,
    runs: int = RUNS,
    pause_s: float = 0.12,
    idle_w: float = 0.8,
    left_out: tuple[int, ...] = (),
    joined: tuple[int, ...] = (),
    ends_s: float = 0.5,
) -> Scene:
    """Draw inferences at uneven distances; `left_out` do not happen, `joined` follow without a pause."""
    rng, pulse = np.random.default_rng(seed), pulse or Pulse()
    at, places, shapes = ends_s * (1 + rng.random()), [], []
    for number in range(runs):
        shape, length_s = pulse.drawn(rng)
        if number not in left_out:
            places.append(round(at * FINE_HZ))
            shapes.append(shape)
        gap_s = 0.0 if number + 1 in joined else pause_s * rng.uniform(0.8, 1.4)
        at += length_s + gap_s
    cells = round((at + ends_s * (1 + rng.random()) + 6 * pulse.tail_s) * FINE_HZ)
    added = np.zeros(cells)
    for place, shape in zip(places, shapes, strict=True):
        added[place : place + len(shape)] += shape
    total_j = sum(float(shape.sum()) for shape in shapes) / FINE_HZ
    return Scene(rng=rng, background_w=np.full(cells, idle_w), added_w=added, mean_mj=1000 * total_j / len(shapes))


def with_background(given: Scene, extra_w: Values) -> Scene:
    return Scene(rng=given.rng, background_w=given.background_w + extra_w, added_w=given.added_w, mean_mj=given.mean_mj)


def bursts(given: Scene, *, every_s: float, step_w: float, length_s: float, periodic: bool = False) -> Scene:
    """Something else wakes up: at random times, or by a clock of its own."""
    extra, rng = np.zeros(len(given.added_w)), given.rng
    count = int(len(extra) / FINE_HZ / every_s)
    drawn = (np.arange(count) + rng.random()) * every_s if periodic else rng.random(count) * len(extra) / FINE_HZ
    for at_s in drawn:
        first = int(at_s * FINE_HZ)
        extra[first : first + round(length_s * FINE_HZ)] += step_w
    return with_background(given, extra)


def averaged(
    given: Scene, *, rate_hz: int = 5000, noise_w: float = 0.15, most_w: float = np.inf, digits: int | None = None
) -> Values:
    """What a meter reads that takes the mean of each of its cells."""
    cells = FINE_HZ // rate_hz
    whole = len(given.added_w) // cells * cells
    read = given.power_w[:whole].reshape(-1, cells).mean(axis=1)
    read = np.minimum(read + noise_w * given.rng.standard_normal(len(read)), most_w)
    return read if digits is None else np.round(read, digits)


def trace_of(power_w: Values, rate_hz: float = 5000) -> Trace:
    return of_samples(power_w, source="drawn", readings=power_w, rate_hz=rate_hz)


def at_times(given: Scene, times_s: Values, noise_w: float = 0.15) -> Trace:
    """What a meter reads that looks at single moments."""
    read = np.interp(times_s, given.times_s, given.power_w) + noise_w * given.rng.standard_normal(len(times_s))
    return of_samples(read, source="drawn", readings=read, times_s=times_s)


def counter(given: Scene, *, every_s: float, jitter: float = 0.0, share: Values | float = 1.0) -> tuple[Values, Values]:
    """What a counter of energy shows, by the fine grid's own sum."""
    count = int(len(given.added_w) / FINE_HZ / every_s)
    times_s = (np.arange(count) + jitter * given.rng.uniform(-0.5, 0.5, count) + 0.5) * every_s
    energy = np.concatenate([[0.0], (given.power_w * share).cumsum() / FINE_HZ])
    return times_s, np.interp(times_s, np.arange(len(energy)) / FINE_HZ, energy)


def wandering(given: Scene) -> Values:
    """A background that drifts by more than a step: it warms up, and a slow wave."""
    rng, time_s = given.rng, given.times_s
    return 2.5 * time_s / time_s[-1] + 0.4 * np.sin(2 * np.pi * time_s / rng.uniform(3, 6) + rng.uniform(0, 6))


def _gappy(seed: int) -> tuple[Trace, float]:
    given = scene(seed)
    times_s = (np.arange(len(given.added_w) // 4) + 0.5) / 5000
    kept = np.ones(len(times_s), bool)
    for first in given.rng.integers(0, len(kept), 6):
        kept[first : first + int(given.rng.integers(5, 100))] = False
    return at_times(given, times_s[kept]), given.mean_mj


def _uneven(seed: int) -> tuple[Trace, float]:
    given = scene(seed)
    steps = given.rng.uniform(0.4, 1.6, len(given.added_w) // 4) / 5000
    times_s = steps.cumsum()
    return at_times(given, times_s[times_s < given.times_s[-1]]), given.mean_mj


def _rails(seed: int) -> tuple[Trace, float]:
    given = scene(seed, Pulse(length_s=1.0, step_w=1.5), pause_s=3.0, ends_s=4.0)
    big = 0.7
    rails = [counter(given, every_s=0.1, share=big), counter(given, every_s=0.1, jitter=0.3, share=1 - big)]
    return of_counters(rails, source="drawn", wrap_j=None), given.mean_mj


def _slow_rail(seed: int) -> tuple[Trace, float]:
    """As a phone's own rails are: a few values a second, of a phone that does other things as well."""
    given = scene(seed, Pulse(length_s=4.0, step_w=1.2, spread=0.03, rise_s=0.3, tail_s=0.1), pause_s=3.5, ends_s=5.0)
    busy = bursts(given, every_s=0.7, step_w=0.4, length_s=0.03)
    return of_counters([counter(busy, every_s=0.25, jitter=0.2)], source="drawn", wrap_j=None), given.mean_mj


def _wrapping(seed: int) -> tuple[Trace, float]:
    given = scene(seed, Pulse(length_s=0.3), pause_s=0.6, ends_s=1.0)
    times_s, energy_j = counter(given, every_s=0.05)
    wrap_j = float(np.ptp(energy_j)) / 3.3
    return of_counters([(times_s, (energy_j + 0.6 * wrap_j) % wrap_j)], source="drawn", wrap_j=wrap_j), given.mean_mj


def _read(given: Scene, rate_hz: int = 5000, **how: float | int) -> tuple[Trace, float]:
    return trace_of(averaged(given, rate_hz=rate_hz, **how), rate_hz), given.mean_mj  # type: ignore[arg-type]


def _moments(given: Scene, rate_hz: float) -> tuple[Trace, float]:
    times_s = np.arange(1 / rate_hz, given.times_s[-1], 1 / rate_hz)
    return at_times(given, times_s, noise_w=0.02), given.mean_mj


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of trace: how one is drawn, and whether it must be measured, must be refused (and why), or may be either."""

    draw: Callable[[int], tuple[Trace, float]]
    refused: str = ""
    either: bool = field(default=False)


KINDS: dict[str, Kind] = {
    "quiet": Kind(draw=lambda seed: _read(scene(seed), noise_w=0.02)),
    "without noise": Kind(draw=lambda seed: _read(scene(seed), noise_w=0.0)),
    "usual noise": Kind(draw=lambda seed: _read(scene(seed))),
    "weak in much noise": Kind(draw=lambda seed: _read(scene(seed, Pulse(step_w=0.6)), noise_w=0.3), either=True),
    "lost in noise": Kind(draw=lambda seed: _read(scene(seed, Pulse(step_w=0.1)), noise_w=1.0), refused="stand out|wrong by"),
    "short": Kind(draw=lambda seed: _read(scene(seed, Pulse(length_s=0.012)))),
    "clock ramps": Kind(draw=lambda seed: _read(scene(seed, Pulse(rise_s=0.012, tail_s=0.006, texture=0.3)))),
    "uneven inferences": Kind(draw=lambda seed: _read(scene(seed, Pulse(spread=0.08, texture=0.5)))),
    "bursts at random": Kind(draw=lambda seed: _read(bursts(scene(seed), every_s=0.2, step_w=0.5, length_s=0.002))),
    "bursts by a clock": Kind(
        draw=lambda seed: _read(bursts(scene(seed), every_s=0.1, step_w=1.5, length_s=0.001, periodic=True))
    ),
    "heavy bursts": Kind(
        draw=lambda seed: _read(bursts(scene(seed), every_s=0.5, step_w=1.5, length_s=0.02)),
        refused="restless|inferences|usual energy|come back",
    ),
    "drifting background": Kind(draw=lambda seed: _read(with_background(given := scene(seed), wandering(given)))),
    "clipped": Kind(draw=lambda seed: _read(scene(seed), most_w=2.75), refused="exactly the largest value"),
    "coarse steps": Kind(draw=lambda seed: _read(scene(seed), noise_w=0.05, digits=1)),
    "gappy": Kind(draw=_gappy),
    "sampled unevenly": Kind(draw=_uneven),
    "1 kHz": Kind(draw=lambda seed: _moments(scene(seed), 1000)),
    "too low a rate": Kind(draw=lambda seed: _moments(scene(seed), 110), refused="sample faster"),
    "far too low a rate": Kind(draw=lambda seed: _moments(scene(seed), 20), refused="inferences|sample|stand out|settle|pauses"),
    "counter that wraps": Kind(draw=_wrapping),
    "a slow rail": Kind(draw=_slow_rail),
    "two rails": Kind(draw=_rails),
    "merged": Kind(draw=lambda seed: _read(scene(seed, joined=(7, 20))), refused="48 inferences"),
    "one missing": Kind(draw=lambda seed: _read(scene(seed, left_out=(11,))), refused="49 inferences"),
    "one more, and two merged": Kind(
        draw=lambda seed: _read(scene(seed, runs=51, joined=(9,))), refused="times the usual energy"
    ),
    "one too many": Kind(draw=lambda seed: _read(scene(seed, runs=51)), refused="51 inferences"),
    "a tail longer than the pauses": Kind(
        draw=lambda seed: _read(scene(seed, Pulse(tail_s=0.2), pause_s=0.05)), refused="pauses|inferences"
    ),
}
