"""`convert.py bench BUNDLE...`: what bundles cost on this host, against each other, naive exports or peers."""

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from edgevit_deploy.commands.bench.files import check_folder, write_files
from edgevit_deploy.commands.bench.view import Run, document, print_run
from edgevit_deploy.commands.console import print_json, progress, say
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.host import find_exporter
from edgevit_deploy.measure.contests import Against, Contest, make_contests
from edgevit_deploy.measure.machine import check_threads, read_machine
from edgevit_deploy.measure.subjects import Ready, Skipped, candidate_of, common_batch, read_subject
from export import TARGETS

if TYPE_CHECKING:
    from edgevit_deploy.measure.benchmark import Candidate
    from edgevit_deploy.measure.profile import Profile
    from edgevit_deploy.measure.result import Benchmark, Regime
    from edgevit_deploy.pipeline import Step

DEFAULT_RUNS = 50
PROFILED_RUNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to time: threads of each runtime, runs of each file, what a block is, and the seed of the blocks' order."""

    threads: int
    runs: int
    regime: "Regime"
    seed: int


def bench_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    threads: int = 1,
    runs: int | None = None,
    regime: Literal["steady", "mixed"] | None = None,
    protocol: Literal["interleaved", "paper"] = "interleaved",
    against: Against | None = None,
    weights: Path | None = None,
    ops: Annotated[bool, Parameter(negative="")] = False,
    output: Path | None = None,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure latency, load time, memory and size of bundles, interleaved, with the first against itself as a control.

    Args:
        bundles: Folders written by a conversion. Each is re-hashed and must reproduce its golden outputs here first.
        threads: Threads of each runtime.
        runs: Timed runs of each bundle, rounded up to whole blocks. [default: 50]
        regime: steady times 4 runs in a row after 2 warm ones; mixed changes the bundle after every run. [default: steady]
        protocol: paper is the EdgeViT paper's: the mean of 50 passes of TorchScript lite, float32, batch 1, on one thread.
        against: original: naive exports of the same weights; peers: the networks that the paper compares with (needs timm).
            They are converted now, judged by the same parity gate, and timed in the same run.
        weights: The checkpoint that the bundles were made from, for --against original.
        ops: Also run each bundle under its runtime's own profiler: time by part of the network, and share of the machine's peak.
        output: Folder for bench.json, bench.md and a plot, bench.svg.
        seed: Seed of the order of the blocks.
        json: Print one JSON document on stdout, with every raw time, and nothing else there.
    """
    settings = _settings(bundles, threads, runs, regime, protocol, seed)
    if weights is not None and against != "original":
        raise UsageError("--weights is for --against original; add that, or drop --weights")
    if output is not None:
        check_folder(output, bundles)
    with progress("bench") as step, tempfile.TemporaryDirectory() as scratch:
        subjects = [read_subject(bundle) for bundle in _announced(bundles, step)]
        ready = [subject for subject in subjects if isinstance(subject, Ready)]
        if protocol == "paper":
            _check_paper(ready)
        batch = common_batch(ready)
        machine = read_machine({name for subject in ready for name in subject.manifest.tools})
        contests = make_contests(ready, against, weights, batch, Path(scratch), step) if against else []
        candidates = {subject.label: candidate_of(subject, batch) for subject in ready}
        profiled = ready if ops else []
        run = Run(
            machine=machine,
            benchmark=_time(candidates, contests, settings, step) if ready else None,
            contests=tuple(contests),
            profiler_notes=tuple(dict.fromkeys(subject.session_type.profiler_note for subject in profiled)),
            profiles={subject.label: _profile(subject, candidates[subject.label], threads, step) for subject in profiled},
            skipped=tuple(subject for subject in subjects if isinstance(subject, Skipped)),
        )
    print_run(run)
    if output is not None and run.benchmark is not None:
        command = _command(bundles, settings, protocol, against, weights, ops=ops)
        write_files(run, run.benchmark, command, output)
        say(f"saved: {output}: bench.md, bench.json, bench.svg")
    if json:
        print_json(document(run))
    return MissingError.exit_code if run.benchmark is None else 0


def _settings(
    bundles: Sequence[Path],
    threads: int,
    runs: int | None,
    regime: Literal["steady", "mixed"] | None,
    protocol: Literal["interleaved", "paper"],
    seed: int,
) -> Settings:
    """Check every flag that can be checked before any work."""
    from edgevit_deploy.measure.result import PAPER_RUNS, REGIMES

    check_threads(threads)
    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is 0 or larger")
    resolved = [bundle.resolve() for bundle in bundles]
    for index, bundle in enumerate(bundles):
        if bundle.resolve() in resolved[:index]:
            raise UsageError(f"{bundle} is given twice; give it once: the first bundle is always timed against itself too")
    if protocol == "paper":
        if runs is not None or regime is not None or threads != 1:
            raise UsageError("--protocol paper sets the runs, their order and one thread; drop --runs, --regime and --threads")
        return Settings(threads=1, runs=PAPER_RUNS, regime=REGIMES["paper"], seed=seed)
    chosen = REGIMES[regime or "steady"]
    count = DEFAULT_RUNS if runs is None else runs
    chosen.blocks(count)
    return Settings(threads=threads, runs=count, regime=chosen, seed=seed)


def _command(
    bundles: Sequence[Path], settings: Settings, protocol: str, against: Against | None, weights: Path | None, *, ops: bool
) -> str:
    """Return the command line that times the same again."""
    flags = ["--seed", str(settings.seed)]
    if protocol == "paper":
        flags += ["--protocol", protocol]
    else:
        flags += ["--threads", str(settings.threads), "--runs", str(settings.runs), "--regime", settings.regime.name]
    flags += ["--against", against] if against else []
    flags += ["--weights", str(weights)] if weights else []
    flags += ["--ops"] if ops else []
    return shlex.join(["python", "convert.py", "bench", *map(str, bundles), *flags])


def _announced(bundles: Sequence[Path], step: "Step") -> Iterator[Path]:
    for bundle in bundles:
        step(f"verifying {bundle}")
        yield bundle


def _check_paper(ready: Sequence[Ready]) -> None:
    """The paper times one way only; anything else would not be its protocol."""
    for subject in ready:
        manifest = subject.manifest
        batch = manifest.inputs[0].shape[0]
        if not (find_exporter(manifest.target).paper_protocol and manifest.precision == "fp32" and batch in (1, "batch")):
            timed = " or ".join(f"`convert.py {name}`" for name, entry in TARGETS.items() if entry.load().paper_protocol)
            raise UsageError(
                f"--protocol paper times TorchScript lite in float32 with batch 1, and {subject.bundle} is {manifest.target} "
                f"{manifest.precision} with batch {batch}; use {timed}"
            )


def _time(candidates: "dict[str, Candidate]", contests: Sequence[Contest], settings: Settings, step: "Step") -> "Benchmark":
    from edgevit_deploy.measure.benchmark import benchmark

    rivals = [rival for contest in contests for rival in contest.candidates(candidates[contest.subjects[0].label])]
    return benchmark(
        [*candidates.values(), *rivals],
        threads=settings.threads,
        runs=settings.runs,
        regime=settings.regime,
        seed=settings.seed,
        step=step,
    )


def _profile(subject: Ready, candidate: "Candidate", threads: int, step: "Step") -> "Profile | None":
    """Profile a bundle; None where its runtime has no profiler that Python reaches."""
    import torch

    from edgevit_deploy.measure.align_names import profile_by_module
    from edgevit_deploy.measure.profile import Profile, macs_by_part, measure_peak_gmacs, time_by_kind, time_by_part
    from edgevit_deploy.model.ends import prepare
    from edgevit_deploy.model.loading import ModelSource, load_model
    from edgevit_deploy.pipeline import Workbench
    from edgevit_deploy.verify.layers import form_of, graph_of

    step(f"profiling {subject.label}")
    manifest, (images,) = subject.manifest, candidate.feeds.values()
    model = load_model(ModelSource.of(manifest.model))  # of a checkpoint only the shapes matter here

    def module() -> torch.nn.Module:
        network = Workbench(model).network(graph_of(manifest), form_of(manifest))
        return prepare(network, model.spec.preprocess, manifest.input_form, manifest.output_form, torch.float32)

    with candidate.session(threads) as session:
        operations = profile_by_module(session, candidate.feeds, PROFILED_RUNS, module)
    if operations is None:
        return None
    macs = macs_by_part(model.network, len(images), (images.shape[2], images.shape[3]))
    return Profile(parts=time_by_part(operations, macs, measure_peak_gmacs(threads)), kinds=time_by_kind(operations))
