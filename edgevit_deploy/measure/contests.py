"""`bench --against`: makes the rivals of bundles, and says in tables how the bundles stand among them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import find_session, require_exporter
from edgevit_deploy.measure.subjects import Ready

if TYPE_CHECKING:
    from edgevit_deploy.exporter import ExportPlan
    from edgevit_deploy.measure.baselines import Rejected, Rival
    from edgevit_deploy.measure.benchmark import Candidate
    from edgevit_deploy.measure.result import Benchmark, BenchmarkResult, Comparison
    from edgevit_deploy.model.loading import LoadedModel
    from edgevit_deploy.pipeline import Step
    from edgevit_deploy.session import Array

Against = Literal["original", "peers"]

NOISE_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Bundles of one target and precision, and what they are timed against.

    Attributes:
        against: original: naive exports of the same weights, for one bundle; peers: the paper's networks.
        subjects: the bundles.
        rivals: files that compute the right numbers.
        rejected: rivals that there are not, with the reason.
    """

    against: Against
    subjects: "tuple[Ready, ...]"
    rivals: "tuple[Rival, ...]"
    rejected: "tuple[Rejected, ...]"

    def candidates(self, like: "Candidate") -> "list[Candidate]":
        """Return the rivals as candidates: naive exports take the bundle's own images, peers noise of their size."""
        return [
            replace(
                like,
                label=rival.label,
                path=rival.artifact.path,
                inputs=rival.artifact.inputs,
                outputs=rival.artifact.outputs,
                feeds={rival.artifact.inputs[0].name: self._images(like)},
            )
            for rival in self.rivals
        ]

    def _images(self, like: "Candidate") -> "Array":
        import numpy as np

        from edgevit_deploy.model.peers import PEER_SIZE

        (images,) = like.feeds.values()
        if self.against == "original":
            return images
        shape = (len(images), 3, *PEER_SIZE)
        return np.random.default_rng(NOISE_SEED).standard_normal(shape, dtype=np.float32)


def make_contests(
    subjects: Sequence[Ready], against: Against, weights: Path | None, batch: int, folder: Path, step: "Step"
) -> list[Contest]:
    """Convert and judge every rival of the bundles.

    Args:
        subjects: the bundles.
        against: naive exports of each bundle's own weights, or peers, once for each target and precision.
        weights: the checkpoint that the bundles were made from; None where they have random weights.
        batch: images a run.
        folder: scratch space for the rivals' files; needed as long as they run.
        step: told what is being done.

    Raises:
        UsageError: the weights are not the bundle's.
        MissingError: the target's converter, or timm, is not installed.
    """
    groups: dict[tuple[str, ...], list[Ready]] = {}
    for subject in subjects:
        own = (subject.label,) if against == "original" else (subject.manifest.target, subject.manifest.precision)
        groups.setdefault(own, []).append(subject)
    several = len(groups) > 1
    return [
        _contest(members, against, weights, batch, folder / str(number), f" ({' '.join(group)})" if several else "", step)
        for number, (group, members) in enumerate(groups.items())
    ]


def _contest(
    subjects: Sequence[Ready],
    against: Against,
    weights: Path | None,
    batch: int,
    folder: Path,
    suffix: str,
    step: "Step",
) -> Contest:
    from edgevit_deploy.measure.baselines import Rejected, Rival, RivalMaker
    from edgevit_deploy.pipeline import Workbench
    from edgevit_deploy.verify.layers import plan_of

    manifest = subjects[0].manifest
    exporter = require_exporter(manifest.target)
    model = _load(subjects[0], weights if against == "original" else None, must_be_the_same=against == "original")
    plan: ExportPlan[object] = replace(plan_of(manifest, model, exporter), batch=batch)
    maker = RivalMaker(exporter, plan, find_session, folder, step)
    made = maker.naive_exports(Workbench(model)) if against == "original" else maker.peers()
    named = [replace(entry, label=entry.label + suffix) for entry in made]
    return Contest(
        against=against,
        subjects=tuple(subjects),
        rivals=tuple(entry for entry in named if isinstance(entry, Rival)),
        rejected=tuple(entry for entry in named if isinstance(entry, Rejected)),
    )


def _load(subject: Ready, weights: Path | None, *, must_be_the_same: bool) -> "LoadedModel":
    """Load what a bundle was made from; peers need only its size and preprocessing, which random weights have too."""
    from edgevit_deploy.model.loading import ModelSource, load_model
    from edgevit_deploy.verify.bundle import check_same_weights

    record = subject.manifest.model
    if must_be_the_same and weights is None and record.random_seed is None:
        raise UsageError(f"{subject.bundle} was made from a checkpoint, and naive exports need it too: add --weights FILE")
    seed = None if weights else record.random_seed
    model = load_model(ModelSource.of(record, weights=weights, seed=seed))
    if must_be_the_same:
        check_same_weights(subject.manifest, model)
    return model


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One file in a contest: its latency against the contest's base (the bundle itself, or the fastest MobileNetV2)."""

    result: "BenchmarkResult"
    given: str
    noise_ratio: float | None
    against_base: "Comparison"


def standings(contest: Contest, benchmark: "Benchmark") -> list[Standing]:
    """Return the files of a contest, fastest first, each against the base."""
    results = {result.label: result for result in benchmark.results}
    base = base_of(contest, benchmark)
    ours = [
        Standing(
            result=results[subject.label],
            given=f"{subject.manifest.graph} graph",
            noise_ratio=subject.manifest.parity.worst.noise_ratio if subject.manifest.parity.worst else None,
            against_base=benchmark.compare(results[subject.label], base),
        )
        for subject in contest.subjects
    ]
    others = [
        Standing(
            result=results[rival.label],
            given=rival.given,
            noise_ratio=rival.noise_ratio,
            against_base=benchmark.compare(results[rival.label], base),
        )
        for rival in contest.rivals
    ]
    return sorted([*ours, *others], key=lambda standing: standing.result.median_ms)


def base_of(contest: Contest, benchmark: "Benchmark") -> "BenchmarkResult":
    """Return what a contest's ratios are of: the bundle, or among peers the fastest file of MobileNetV2."""
    from edgevit_deploy.model.peers import REFERENCE_PEER

    results = {result.label: result for result in benchmark.results}
    references = [results[rival.label] for rival in contest.rivals if rival.label.startswith(REFERENCE_PEER)]
    if contest.against == "peers" and references:
        return min(references, key=lambda result: result.median_ms)
    return results[contest.subjects[0].label]


def best_naive(contest: Contest, benchmark: "Benchmark") -> "Comparison | None":
    """Return the fastest naive export over the bundle; None where no naive export computes the right numbers."""
    if contest.against != "original" or not contest.rivals:
        return None
    results = {result.label: result for result in benchmark.results}
    fastest = min((results[rival.label] for rival in contest.rivals), key=lambda result: result.median_ms)
    return benchmark.compare(fastest, results[contest.subjects[0].label])
