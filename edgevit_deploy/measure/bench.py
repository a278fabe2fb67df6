"""What bundles cost on this host, against each other, naive exports or the paper's networks: the rules of `convert.py bench`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.ablations import check_unablated
from edgevit_deploy.measure.accuracy.identity import identity_of
from edgevit_deploy.measure.align_names import profile_by_module
from edgevit_deploy.measure.benchmark import Candidate, benchmark
from edgevit_deploy.measure.contests import Against, Contest
from edgevit_deploy.measure.energy.host import HostEnergy, check_counting, measure_host_energy
from edgevit_deploy.measure.energy.meters import Meter, find_meters
from edgevit_deploy.measure.machine import Machine, check_threads, read_machine
from edgevit_deploy.measure.make_contests import make_contests
from edgevit_deploy.measure.profile import Profile, macs_by_part, measure_peak_gmacs, time_by_kind, time_by_part
from edgevit_deploy.measure.result import PAPER_RUNS, REGIMES, Benchmark, Regime
from edgevit_deploy.measure.subjects import Ready, Skipped, candidate_of, common_batch, read_subject
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, check_seed, load_model
from edgevit_deploy.model.peers import check_peer
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.process.scratch import scratch_folder
from edgevit_deploy.spec import PROGRAM, QUANTISED
from edgevit_deploy.verification.replan import plan_of
from edgevit_deploy.workbench import Step, Workbench, quiet

Protocol = Literal["interleaved", "paper"]

DEFAULT_RUNS = 50
PROFILED_RUNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How to time: threads of each runtime, runs of each file, what a block is, and the seed of the blocks' order."""

    threads: int
    runs: int
    regime: Regime
    seed: int

    @property
    def protocol(self) -> Protocol:
        """Whether it is the paper's way."""
        return "paper" if self.regime.name == "paper" else "interleaved"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRun:
    """Everything that one benchmark of bundles found out.

    Attributes:
        machine: the host.
        benchmark: None when no bundle could be timed here.
        contests: bundles and their baselines, timed in the same run.
        profiler_notes: what the runtimes of the profiled bundles say about how their times were taken.
        profiles: a bundle's label -> its time by part and kind, None where its runtime has no profiler that Python reaches.
        skipped: bundles that could not be timed.
        worker: which worker of a scheduler has timed; empty for this process.
        bundles: label of a bundle that was timed -> hash by which it is known again, wherever it lies.
        energy: what each bundle and baseline takes, by each of the host's counters, if that was asked for.
    """

    machine: Machine
    benchmark: Benchmark | None
    contests: tuple[Contest, ...]
    profiler_notes: tuple[str, ...]
    profiles: dict[str, Profile | None]
    skipped: tuple[Skipped, ...]
    worker: str = ""
    bundles: dict[str, str] = field(default_factory=dict)
    energy: tuple[HostEnergy, ...] = ()


def read_timing(
    *,
    threads: int,
    runs: int | None,
    regime: Literal["steady", "mixed"] | None,
    protocol: Protocol,
    seed: int,
    cores_here: bool = True,
) -> Timing:
    """Decide how to time, before any work; `cores_here` is False where another machine is to time, which has other cores.

    Raises:
        UsageError: more threads than cores, too few runs, or settings that the protocol sets itself.
    """
    if cores_here:
        check_threads(threads)
    check_seed(seed)
    if protocol == "paper":
        if runs is not None or regime is not None or threads != 1:
            raise UsageError("--protocol paper sets the runs, their order and one thread; drop --runs, --regime and --threads")
        return Timing(threads=1, runs=PAPER_RUNS, regime=REGIMES["paper"], seed=seed)
    chosen = REGIMES[regime or "steady"]
    count = DEFAULT_RUNS if runs is None else runs
    chosen.blocks(count)
    return Timing(threads=threads, runs=count, regime=chosen, seed=seed)


def bench(
    bundles: Sequence[Path],
    host: ThisHost,
    timing: Timing,
    *,
    against: Against | None = None,
    weights: Path | None = None,
    peer: str | None = None,
    ops: bool = False,
    energy: bool = False,
    labels: Sequence[str] | None = None,
    step: Step = quiet,
) -> BenchRun:
    """Time bundles, interleaved, with the first against itself as a control; none before its golden outputs hold here.

    Args:
        bundles: the folders.
        host: finds exporters and runtimes.
        timing: how.
        against: convert, judge and time baselines in the same run.
        weights: the checkpoint that the bundles were made from, for naive exports and files in float32.
        peer: the only one of the peers to time; None for all.
        ops: profile each bundle as well.
        energy: measure energy as well, by the counters of this host.
        labels: what reports call the bundles; their folders when None.
        step: told what is being done.

    Raises:
        UsageError: a bundle given twice, or one that the protocol does not time, that has no such baselines, or whose parts
            `ops` cannot tell.
        BundleError: a damaged bundle, or one that does not compute the right numbers here.
        MissingError: energy was asked for, and no counter can be read here, or one stands still.
    """
    meters = find_meters() if energy else ()
    check_counting(meters)
    check_bundles(bundles)
    if weights is not None and against not in ("original", "fp32"):
        raise UsageError("--weights is for --against original and --against fp32; add one of them, or drop --weights")
    if peer is not None:
        check_peer(peer)
        if against != "peers":
            raise UsageError("--peer is for --against peers; add that, or drop --peer")
    with scratch_folder() as scratch:
        subjects = []
        for bundle, label in zip(bundles, labels or map(str, bundles), strict=True):
            step(f"verifying {label}")
            subjects.append(read_subject(bundle, host, label))
        ready = [subject for subject in subjects if isinstance(subject, Ready)]
        for subject in ready:
            _check_head(subject, against)
            _check_precision(subject, against)
            if against == "ablations":
                check_unablated(subject.label, subject.manifest)
        if timing.protocol == "paper":
            _check_paper(ready, host)
        profiled = {subject.label: _shapes_of(subject) for subject in ready} if ops else {}
        batch = common_batch(ready)
        machine = read_machine({name for subject in ready for name in subject.manifest.tools})
        contests = make_contests(ready, against, weights, peer, batch, host, scratch, step) if against else []
        candidates = {subject.label: candidate_of(subject, batch) for subject in ready}
        measured = _time(candidates, contests, timing, step) if ready else None
        return BenchRun(
            machine=machine,
            benchmark=measured,
            contests=tuple(contests),
            profiler_notes=tuple(
                dict.fromkeys(subject.session_type.profiler_note for subject in ready if subject.label in profiled)
            ),
            profiles={
                subject.label: _profile(
                    subject, profiled[subject.label], candidates[subject.label], timing.threads, host, scratch, step
                )
                for subject in ready
                if subject.label in profiled
            },
            skipped=tuple(subject for subject in subjects if isinstance(subject, Skipped)),
            bundles={subject.label: identity_of(subject.manifest) for subject in ready},
            energy=_energy(candidates, contests, meters, timing, step) if ready and meters else (),
        )


def check_bundles(bundles: Sequence[Path]) -> None:
    """Refuse a bundle that is given twice.

    Raises:
        UsageError: naming it.
    """
    resolved = [real_path(bundle) for bundle in bundles]
    for index, bundle in enumerate(bundles):
        if real_path(bundle) in resolved[:index]:
            raise UsageError(f"{bundle} is given twice; give it once: the first bundle is always timed against itself too")


def _check_head(subject: Ready, against: Against | None) -> None:
    """Refuse a comparison of a network for dense prediction with networks that have no such head."""
    if against == "peers" and (head := subject.manifest.model.head) is not None:
        raise UsageError(
            f"--against peers: {subject.label} has a {head.kind} on its feature maps, and the peers have none; give a bundle of "
            "--task classify or features, or use --against original"
        )


def _check_precision(subject: Ready, against: Against | None) -> None:
    """Refuse bundles that stand in no relation to what they would be timed against."""
    precision = subject.manifest.precision
    if against == "original" and precision in QUANTISED:
        raise UsageError(
            f"--against original times plain exports, which round nothing to eight bits, and {subject.label} is {precision}; "
            "use --against fp32"
        )
    if against == "fp32" and precision == "fp32":
        raise UsageError(
            f"--against fp32 times float32 beside other precisions, and {subject.label} has it already; leave that bundle out, "
            "or use --against original"
        )


def _check_paper(ready: Sequence[Ready], host: ThisHost) -> None:
    """The paper times one way only; anything else would not be its protocol."""
    for subject in ready:
        manifest = subject.manifest
        timed = host.find_exporter(manifest.target).paper_protocol and manifest.precision == "fp32"
        if not timed or manifest.inputs[0].shape[0] not in (1, "batch"):
            targets = " or ".join(f"`{PROGRAM} {name}`" for name in host.targets() if host.find_exporter(name).paper_protocol)
            raise UsageError(
                f"--protocol paper times TorchScript lite in float32 with batch 1, and {subject.bundle} is {manifest.target} "
                f"{manifest.precision} with batch {manifest.inputs[0].shape[0]}; use {targets}"
            )


def _every(candidates: dict[str, Candidate], contests: Sequence[Contest]) -> list[Candidate]:
    """Return the bundles, then all that they are compared with."""
    others = [entry for contest in contests for entry in contest.candidates(candidates[contest.subjects[0].label])]
    return [*candidates.values(), *others]


def _energy(
    candidates: dict[str, Candidate], contests: Sequence[Contest], meters: Sequence[Meter], timing: Timing, step: Step
) -> tuple[HostEnergy, ...]:
    every = _every(candidates, contests)
    return measure_host_energy(every, meters, threads=timing.threads, seed=timing.seed, step=step)


def _time(candidates: dict[str, Candidate], contests: Sequence[Contest], timing: Timing, step: Step) -> Benchmark:
    return benchmark(
        _every(candidates, contests),
        threads=timing.threads,
        runs=timing.runs,
        regime=timing.regime,
        seed=timing.seed,
        step=step,
    )


def _shapes_of(subject: Ready) -> LoadedModel:
    """Return a bundle's network for its shapes, which alone matter to a profile, with weights of no meaning.

    Raises:
        UsageError: its depths and widths are no published variant's, or it has a head for dense prediction.
    """
    if (head := subject.manifest.model.head) is not None:
        raise UsageError(
            f"--ops tells the parts of a classifier, and {subject.label} has a {head.kind} on its feature maps; "
            "drop --ops, or that bundle"
        )
    try:
        return load_model(ModelOrigin.of(subject.manifest.model, subject.manifest.preprocess))
    except UsageError as error:
        raise UsageError(f"--ops cannot tell the parts of {subject.label} ({error}); drop --ops, or that bundle") from error


def _profile(
    subject: Ready, model: LoadedModel, candidate: Candidate, threads: int, host: ThisHost, scratch: Path, step: Step
) -> Profile | None:
    """Profile a bundle; None where its runtime has no profiler that Python reaches."""
    step(f"profiling {subject.label}")
    manifest, (images,) = subject.manifest, candidate.feeds.values()
    plan = plan_of(manifest, model, host.find_exporter(manifest.target))
    workbench = Workbench(model, host, scratch)
    with candidate.session(threads) as session:
        operations = profile_by_module(session, candidate.feeds, PROFILED_RUNS, lambda: workbench.module(plan))
    if operations is None:
        return None
    macs = macs_by_part(model.classifier, len(images), (images.shape[2], images.shape[3]))
    return Profile(parts=time_by_part(operations, macs, measure_peak_gmacs(threads)), kinds=time_by_kind(operations))
