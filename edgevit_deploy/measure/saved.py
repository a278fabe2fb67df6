"""`bench.json` read back, with distrust: who shows a benchmark later needs its raw times, and which bundles were timed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.ablations import NetworkFacts
from edgevit_deploy.measure.machine import Machine
from edgevit_deploy.measure.result import MAX_RUNS, MIN_BLOCKS, Benchmark, BenchmarkResult, Regime
from edgevit_deploy.outside.files import is_folder, read_bounded
from edgevit_deploy.outside.text import shortened
from edgevit_deploy.spec import PROGRAM

DOCUMENT_NAME = "bench.json"
MAX_DOCUMENT_BYTES = 64 * 2**20

MAX_RESULTS = 256

LONGEST_MS = 1e8
"""Of one run: a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedContest:
    """What is needed of one contest of it: labels of bundles and of what they are compared with.

    Attributes:
        against: what was timed beside the bundles.
        bundles: their labels.
        base: the label of what ratios are of.
        networks: what each network is, by its label, where ablations were timed; empty for others.
    """

    against: str
    bundles: tuple[str, ...]
    base: str
    networks: dict[str, NetworkFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedBench:
    """What is needed of one benchmark; a document has more.

    Attributes:
        machine: that timed.
        regime: how.
        seed: of the order.
        results: of every file, the first one's control beside.
        control: a second session of the first file.
        bundles: label of a result -> identity of its bundle; plain conversions and peers have none.
        worker: of a scheduler, that timed; empty where the machine itself was asked.
        against: what bundles were timed against.
    """

    machine: Machine
    regime: Regime
    seed: int
    results: tuple[BenchmarkResult, ...]
    control: BenchmarkResult
    bundles: dict[str, str]
    worker: str = ""
    against: tuple[SavedContest, ...] = ()

    @property
    def benchmark(self) -> Benchmark:
        """The run as it was measured."""
        return Benchmark(regime=self.regime, seed=self.seed, results=self.results, control=self.control)

    def result_of(self, identity: str) -> BenchmarkResult | None:
        """Return what was measured of a bundle; None where it was not timed."""
        return next((result for result in self.results if self.bundles.get(result.label) == identity), None)


def read_bench(place: Path, *, flag: str = "--bench", earlier: bool = False) -> SavedBench:
    """Read what `bench --output` has written.

    Args:
        place: its folder, or its `bench.json`.
        flag: what names it, for errors.
        earlier: take documents of before, which do not say which bundles they timed, nor how often each file was loaded.

    Raises:
        UsageError: there is none, it is of an earlier version, or it says what no benchmark can.
    """
    path = place / DOCUMENT_NAME if is_folder(place) else place
    again = f"`{PROGRAM} bench BUNDLE... --output DIR` writes one"
    try:
        document = msgspec.json.decode(read_bounded(path, MAX_DOCUMENT_BYTES))
        saved = msgspec.convert(_with_sittings(_completed(document) if earlier else document), type=SavedBench)
    except OSError as error:
        raise UsageError(f"{flag} {place}: {path.name} cannot be read ({error.strerror}); {again}") from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"{flag} {place}: no {DOCUMENT_NAME} of this version ({error}); {again}") from error
    if objection := next(_objections(saved), None):
        raise UsageError(f"{flag} {place}: no benchmark has {objection}; {again}")
    return saved


def _completed(document: object) -> object:
    """Return a document with what earlier ones do not have."""
    if not isinstance(document, dict):
        return document
    regime = document.get("regime")
    regime = {"sittings": 1, **regime} if isinstance(regime, dict) else regime
    return {"bundles": {}, **document, "regime": regime, "against": []}  # of these it has no networks


def _with_sittings(document: object) -> object:
    """Return a document whose results say how often their file was loaded; in those of before only the regime did."""
    if not isinstance(document, dict) or not isinstance(regime := document.get("regime"), dict) or "sittings" not in regime:
        return document

    def completed(result: object) -> object:
        return {"sittings": regime["sittings"], **result} if isinstance(result, dict) else result

    results = document.get("results")
    results = [completed(result) for result in results] if isinstance(results, list) else results
    return {**document, "results": results, "control": completed(document.get("control"))}


def _objections(saved: SavedBench) -> Iterator[str]:
    if not 1 <= len(saved.results) <= MAX_RESULTS:
        yield f"{len(saved.results)} results"
    for contest in saved.against:
        if unknown := {contest.base, *contest.bundles} - {result.label for result in saved.results}:
            yield f"a comparison with {shortened(min(unknown))!r}, which it has not timed"
        if contest.networks and contest.base not in contest.networks:
            yield "ablations of no network"
        if any(facts.macs <= 0 for facts in contest.networks.values()):
            yield "a network that computes nothing"
    for result in (*saved.results, saved.control):
        runs = len(result.raw_ms)  # each is drawn thousands of times for an interval
        if result.calls_per_block != saved.regime.timed_calls or not _whole_blocks(runs, result.calls_per_block):
            yield f"{runs} runs in blocks of {result.calls_per_block}, of {saved.regime.timed_calls} by its regime"
        elif result.sittings != saved.regime.sittings or result.sittings < 1:
            yield f"{result.sittings} sittings, of {saved.regime.sittings} by its regime"
        elif not all(0 < run_ms < LONGEST_MS for run_ms in result.raw_ms):
            yield "a run that took no time, or days"


def _whole_blocks(runs: int, calls_per_block: int) -> bool:
    """Say whether so many runs are whole blocks, no fewer than an interval needs, and no more than are ever timed."""
    return calls_per_block >= 1 and runs % calls_per_block == 0 and runs // calls_per_block >= MIN_BLOCKS and runs <= MAX_RUNS
