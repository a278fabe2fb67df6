"""`bench --against`: makes the baselines of bundles, and says how the bundles stand among them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.baselines import Baseline, Rejected, naive_exports, peers
from edgevit_deploy.measure.benchmark import Candidate
from edgevit_deploy.measure.result import Benchmark, BenchmarkResult, Comparison
from edgevit_deploy.measure.subjects import Ready
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.model.peers import PEER_SIZE, REFERENCE_PEER
from edgevit_deploy.session import Array
from edgevit_deploy.verification.bundle import check_same_weights
from edgevit_deploy.verification.replan import plan_of
from edgevit_deploy.workbench import Step, Workbench

Against = Literal["original", "peers"]

NOISE_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One file in a contest: its latency against the contest's base (the bundle itself, or the fastest MobileNetV2)."""

    result: BenchmarkResult
    given: str
    noise_ratio: float | None
    against_base: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Bundles of one target and precision, and what they are timed against.

    Attributes:
        against: original: naive exports of the same weights, for one bundle; peers: the paper's networks.
        subjects: the bundles.
        baselines: files that compute the right numbers.
        rejected: baselines that there are not, with the reason.
    """

    against: Against
    subjects: tuple[Ready, ...]
    baselines: tuple[Baseline, ...]
    rejected: tuple[Rejected, ...]

    def candidates(self, like: Candidate) -> list[Candidate]:
        """Return the baselines as candidates: naive exports take the bundle's own images, peers noise of their size."""
        return [
            replace(
                like,
                label=baseline.label,
                path=baseline.artifact.path,
                inputs=baseline.artifact.inputs,
                outputs=baseline.artifact.outputs,
                feeds={baseline.artifact.inputs[0].name: self._images(like)},
            )
            for baseline in self.baselines
        ]

    def _images(self, like: Candidate) -> Array:
        (images,) = like.feeds.values()
        if self.against == "original":
            return images
        shape = (len(images), 3, *PEER_SIZE)
        return np.random.default_rng(NOISE_SEED).standard_normal(shape, dtype=np.float32)

    def standings(self, benchmark: Benchmark) -> list[Standing]:
        """Return the files of a contest, fastest first, each against the base."""
        results = {result.label: result for result in benchmark.results}
        base = self.base(benchmark)
        ours = [
            Standing(
                result=results[subject.label],
                given=f"{subject.manifest.conversion.graph} graph",
                noise_ratio=subject.manifest.parity.worst.noise_ratio if subject.manifest.parity.worst else None,
                against_base=benchmark.compare(results[subject.label], base),
            )
            for subject in self.subjects
        ]
        others = [
            Standing(
                result=results[baseline.label],
                given=baseline.given,
                noise_ratio=baseline.noise_ratio,
                against_base=benchmark.compare(results[baseline.label], base),
            )
            for baseline in self.baselines
        ]
        return sorted([*ours, *others], key=lambda standing: standing.result.median_ms)

    def base(self, benchmark: Benchmark) -> BenchmarkResult:
        """Return what a contest's ratios are of: the bundle, or among peers the fastest file of MobileNetV2."""
        results = {result.label: result for result in benchmark.results}
        references = [results[baseline.label] for baseline in self.baselines if baseline.label.startswith(REFERENCE_PEER)]
        if self.against == "peers" and references:
            return min(references, key=lambda result: result.median_ms)
        return results[self.subjects[0].label]

    def best_naive(self, benchmark: Benchmark) -> Comparison | None:
        """Return the fastest naive export over the bundle; None where no naive export computes the right numbers."""
        if self.against != "original" or not self.baselines:
            return None
        results = {result.label: result for result in benchmark.results}
        fastest = min((results[baseline.label] for baseline in self.baselines), key=lambda result: result.median_ms)
        return benchmark.compare(fastest, results[self.subjects[0].label])


def make_contests(
    subjects: Sequence[Ready],
    against: Against,
    weights: Path | None,
    batch: int,
    host: ThisHost,
    scratch: Path,
    step: Step,
) -> list[Contest]:
    """Convert and judge every baseline of the bundles.

    Args:
        subjects: the bundles.
        against: naive exports of each bundle's own weights, or peers, once for each target and precision.
        weights: the checkpoint that the bundles were made from; None where they have random weights.
        batch: images a run.
        host: finds exporters and runtimes.
        scratch: space for the baselines' files; needed as long as they run.
        step: told what is being done.

    Raises:
        UsageError: the weights are not the bundle's.
        MissingError: the target's converter, or timm, is not installed.
    """
    groups: dict[tuple[str, ...], list[Ready]] = {}
    for subject in subjects:
        own = (subject.label,) if against == "original" else (subject.manifest.target, subject.manifest.precision)
        groups.setdefault(own, []).append(subject)
    contests = []
    for number, (group, members) in enumerate(groups.items()):
        model = _load(members[0], weights, against)
        workbench = Workbench(model, host, scratch / str(number), step)
        suffix = f" ({' '.join(group)})" if len(groups) > 1 else ""
        manifest = members[0].manifest
        plan = plan_of(manifest, model, host.require_exporter(manifest.target), batch)
        contests.append(_contest(members, against, workbench, plan, suffix))
    return contests


def _contest(subjects: Sequence[Ready], against: Against, workbench: Workbench, plan: ExportPlan[Any], suffix: str) -> Contest:
    made = naive_exports(workbench, plan) if against == "original" else peers(workbench, plan)
    named = [replace(entry, label=entry.label + suffix) for entry in made]
    return Contest(
        against=against,
        subjects=tuple(subjects),
        baselines=tuple(entry for entry in named if isinstance(entry, Baseline)),
        rejected=tuple(entry for entry in named if isinstance(entry, Rejected)),
    )


def _load(subject: Ready, weights: Path | None, against: Against) -> LoadedModel:
    """Load what a bundle was made from; peers need only its size and preprocessing, which random weights have too."""
    record, preprocess = subject.manifest.model, subject.manifest.preprocess
    if against == "peers":
        return load_model(ModelOrigin.of(record, preprocess, seed=record.random_seed))
    if weights is None and record.random_seed is None:
        raise UsageError(f"{subject.bundle} was made from a checkpoint, and naive exports need it too: add --weights FILE")
    model = load_model(ModelOrigin.of(record, preprocess, weights=weights, seed=None if weights else record.random_seed))
    check_same_weights(subject.manifest, model)
    return model
