"""`convert.py bench BUNDLE...`: what bundles cost on this host, against each other."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape

from edgevit_deploy.commands.hosts import find_session, why_not_run
from edgevit_deploy.console import print_json, print_table, progress, say, stderr
from edgevit_deploy.errors import BundleError, MissingError, UsageError

if TYPE_CHECKING:
    from edgevit_deploy.benchmark import Candidate
    from edgevit_deploy.benchmark_result import Benchmark, BenchmarkResult, Comparison
    from edgevit_deploy.manifest import Manifest
    from edgevit_deploy.session import Session

LATENCY_COLUMNS = (
    "bundle",
    "runs on",
    "median ms",
    "95 % of median",
    "min",
    "p90",
    "p99",
    "cv",
    "CPU ms",
    "images/s",
    "x first",
    "verdict",
)
COST_COLUMNS = ("bundle", "load ms", "first run ms", "file MB", "peak memory MB", "memory of")
PLOT_WIDTH = 56
LABEL_WIDTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The host's facts that latencies depend on; None where it does not tell."""

    system: str
    cpu: str
    cores: int
    cores_for_us: int
    governor: str | None
    load_average_1min: float
    python: str
    libraries: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One bundle that was asked for; `reason` says why it cannot be timed here, when it cannot."""

    bundle: Path
    manifest: "Manifest"
    session_type: "type[Session] | None"
    reason: str = ""


def bench_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    threads: int = 1,
    runs: int = 50,
    regime: Literal["steady", "mixed"] = "steady",
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure latency, load time, memory and size of bundles, interleaved in one run, with the first against itself as control.

    Args:
        bundles: Folders written by a conversion; each is re-hashed and must reproduce its golden outputs here first.
        threads: Threads of each runtime.
        runs: Timed runs of each bundle, rounded up to whole blocks.
        regime: steady times 4 runs in a row after 2 warm ones; mixed changes the bundle with every run.
        seed: Seed of the order of the blocks.
        json: Print one JSON document on stdout, with every raw time, and nothing else there.
    """
    from edgevit_deploy.benchmark import benchmark
    from edgevit_deploy.benchmark_result import REGIMES

    _check_settings(bundles, threads, seed)
    REGIMES[regime].blocks(runs)
    with progress("bench") as step:
        subjects = []
        for bundle in bundles:
            step(f"verifying {bundle}")
            subjects.append(_subject(bundle))
        machine = _machine([subject.manifest for subject in subjects])
        candidates = _candidates([subject for subject in subjects if subject.session_type is not None])
        result = None
        if candidates:
            result = benchmark(candidates, threads=threads, runs=runs, regime=REGIMES[regime], seed=seed, step=step)
    skipped = [subject for subject in subjects if subject.session_type is None]
    if result is not None:
        _print(result, machine, threads)
    for subject in skipped:
        say(f"{subject.bundle}: no runtime here. {subject.reason}")
    if json:
        print_json(_document(result, machine, skipped))
    return MissingError.exit_code if result is None else 0


def _check_settings(bundles: Sequence[Path], threads: int, seed: int) -> None:
    cores = _cores_for_us()
    if not 1 <= threads <= cores:
        raise UsageError(f"--threads {threads}: this process may use {cores} cores; use --threads 1 to {cores}")
    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is 0 or larger")
    resolved = [bundle.resolve() for bundle in bundles]
    for index, bundle in enumerate(resolved):
        if bundle in resolved[:index]:
            raise UsageError(f"{bundles[index]} is given twice; the first bundle is always timed against itself, so give each once")


def _subject(bundle: Path) -> Subject:
    """Open one bundle and prove that what would be timed computes the right numbers, here."""
    from edgevit_deploy.bundle import open_bundle
    from edgevit_deploy.verify import artifact_of, check_golden

    manifest = open_bundle(bundle)
    if manifest.parity.status == "failed":
        raise BundleError(f"{bundle} failed parity when it was made: the speed of wrong numbers means nothing; convert again")
    artifact = artifact_of(bundle, manifest)
    session_type = find_session(manifest.target)
    if session_type is None:
        return Subject(bundle=bundle, manifest=manifest, session_type=None, reason=why_not_run(manifest.target))
    if not session_type.executes_target:
        reason = f"{session_type.name} proves numbers and says nothing about speed; {why_not_run(manifest.target)}"
        return Subject(bundle=bundle, manifest=manifest, session_type=None, reason=reason)
    golden = check_golden(bundle, manifest, artifact, find_session)
    if golden.status != "passed":
        raise BundleError(
            f"{bundle} does not reproduce its golden outputs on {golden.runtime} here (error {golden.max_abs:.2g}, bound "
            f"{golden.atol:.2g}): the speed of wrong numbers means nothing; see `convert.py verify {bundle}`"
        )
    return Subject(bundle=bundle, manifest=manifest, session_type=session_type)


def _candidates(subjects: Sequence[Subject]) -> "list[Candidate]":
    batch = _common_batch(subjects)
    return [_candidate(subject, batch) for subject in subjects]


def _common_batch(subjects: Sequence[Subject]) -> int:
    """Return the one batch that all files take: what is fixed in some of them, else 1."""
    fixed = {axis for subject in subjects if isinstance(axis := subject.manifest.inputs[0].shape[0], int)}
    if len(fixed) > 1:
        raise UsageError(
            f"the bundles have batches {', '.join(map(str, sorted(fixed)))}, so their latencies cannot be compared; "
            "bench the bundles of each batch in a run of their own"
        )
    return fixed.pop() if fixed else 1


def _candidate(subject: Subject, batch: int) -> "Candidate":
    import numpy as np

    from edgevit_deploy.benchmark import Candidate
    from edgevit_deploy.bundle import read_golden

    manifest = subject.manifest
    assert subject.session_type is not None
    images, _ = read_golden(subject.bundle, manifest.golden)
    return Candidate(
        label=str(subject.bundle),
        session_type=subject.session_type,
        path=subject.bundle / manifest.path,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        feeds={manifest.inputs[0].name: images[np.arange(batch) % len(images)]},
    )
