"""`bench --against`: makes the baselines of bundles, and says how the bundles stand among them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import ExportPlan, shown
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.ablations import NetworkFacts, ablations, facts_beside
from edgevit_deploy.measure.accuracy.identity import question_of
from edgevit_deploy.measure.baselines import Baseline, Rejected, in_float32, naive_exports, peers
from edgevit_deploy.measure.benchmark import Candidate
from edgevit_deploy.measure.result import Benchmark, BenchmarkResult, Comparison, Verdict, cpu_ratio
from edgevit_deploy.measure.subjects import Ready
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.model.peers import PEER_SIZE, PEERS, REFERENCE_PEER
from edgevit_deploy.session import Array
from edgevit_deploy.spec import QUANTISED, Size
from edgevit_deploy.verification.bundle import check_same_weights
from edgevit_deploy.verification.replan import plan_of, plan_of_float32
from edgevit_deploy.workbench import Step, Workbench

Against = Literal["original", "peers", "fp32", "ablations"]

NOISE_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One file in a contest: its latency against the contest's base (the bundle, its fp32 file, or the fastest MobileNetV2).

    `cpu_ratio` is the same of the CPU time, which other programs on the machine disturb less; None where it is not known.
    """

    result: BenchmarkResult
    given: str
    noise_ratio: float | None
    against_base: Comparison
    cpu_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What a bundle gains over the same network's file in float32.

    Attributes:
        result: of the bundle.
        single: of the file in float32.
        speedup: latency in float32 over the bundle's.
        verdict: on the bundle.
    """

    result: BenchmarkResult
    single: BenchmarkResult
    speedup: Comparison
    verdict: Verdict

    @property
    def cpu_speedup(self) -> float | None:
        """The same of the CPU time, which other programs on the machine disturb less; None where it is not known."""
        return cpu_ratio(self.single, self.result)

    @property
    def size_share(self) -> float:
        """The bundle's file as a share of that in float32."""
        return self.result.size_bytes / self.single.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Bundles of one target, and what they are timed against.

    Attributes:
        against: original: naive exports of the same weights, for one bundle; fp32: the same network's file in float32, for
            bundles of one network; peers: the paper's networks, for bundles that are rounded alike; ablations: the paper's, for
            one bundle of the network that they are of.
        subjects: the bundles.
        baselines: files that compute the right numbers.
        rejected: baselines that there are not, with the reason.
        networks: what each ablation is, by its label, and the bundle's own network; empty for others.
    """

    against: Against
    subjects: tuple[Ready, ...]
    baselines: tuple[Baseline, ...]
    rejected: tuple[Rejected, ...]
    networks: dict[str, NetworkFacts] = field(default_factory=dict)

    def candidates(self, like: Candidate) -> list[Candidate]:
        """Return the baselines as candidates: files of the same network take the bundle's images, peers noise of their size."""
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

    @property
    def backbones(self) -> bool:
        """Whether the bundles, and so their peers, return feature maps."""
        return self.subjects[0].manifest.conversion.returns == "features"

    @property
    def peer_size(self) -> Size:
        """Height and width of what the peers are given: the bundles' own where they are backbones."""
        return _maps_at(self.subjects[0].manifest) or PEER_SIZE

    def _images(self, like: Candidate) -> Array:
        (images,) = like.feeds.values()
        if self.against != "peers":
            return images
        shape = (len(images), 3, *self.peer_size)
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
                cpu_ratio=cpu_ratio(results[subject.label], base),
            )
            for subject in self.subjects
        ]
        others = [
            Standing(
                result=results[baseline.label],
                given=baseline.given,
                noise_ratio=baseline.noise_ratio,
                against_base=benchmark.compare(results[baseline.label], base),
                cpu_ratio=cpu_ratio(results[baseline.label], base),
            )
            for baseline in self.baselines
        ]
        return sorted([*ours, *others], key=lambda standing: standing.result.median_ms)

    def base(self, benchmark: Benchmark) -> BenchmarkResult:
        """Return what a contest's ratios are of: the bundle, its file in float32, or among peers the fastest of MobileNetV2."""
        results = {result.label: result for result in benchmark.results}
        if self.against == "fp32" and self.baselines:
            return results[self.baselines[0].label]
        references = [results[baseline.label] for baseline in self.baselines if baseline.label.startswith(REFERENCE_PEER)]
        if self.against == "peers" and references:
            return min(references, key=lambda result: result.median_ms)
        return results[self.subjects[0].label]

    @property
    def rounded(self) -> bool:
        """Whether the bundles are quantised."""
        return self.subjects[0].manifest.precision in QUANTISED

    def gains(self, benchmark: Benchmark) -> list[Gain]:
        """Return what each bundle gains over float32, the most first; nothing where that is not what was timed."""
        if self.against != "fp32" or not self.baselines:
            return []
        single = self.base(benchmark)
        results = {result.label: result for result in benchmark.results}
        gains = [
            Gain(
                result=result,
                single=single,
                speedup=replace(benchmark.compare(single, result), label=result.label),
                verdict=benchmark.compare(result, single).verdict,
            )
            for result in (results[subject.label] for subject in self.subjects)
        ]
        return sorted(gains, key=lambda gain: -gain.speedup.ratio)

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
    peer: str | None,
    batch: int,
    host: ThisHost,
    scratch: Path,
    step: Step,
) -> list[Contest]:
    """Convert and judge every baseline of the bundles.

    Args:
        subjects: the bundles.
        against: naive exports of each bundle's own weights; its file in float32, once for each target and network; peers, once
            for each target, precision and way to round; or the ablations of each bundle's network.
        weights: the checkpoint that the bundles were made from; None where they have random weights.
        peer: the only one of the peers; None for all.
        batch: images a run.
        host: finds exporters and runtimes.
        scratch: space for the baselines' files; needed as long as they run.
        step: told what is being done.

    Raises:
        UsageError: the weights are not the bundle's.
        MissingError: the target's converter, or timm, is not installed.
    """
    groups: dict[object, list[Ready]] = {}
    for subject in subjects:
        groups.setdefault(_group(subject, against), []).append(subject)
    contests = []
    for number, members in enumerate(groups.values()):
        suffix = f" ({_name(members[0], subjects, against)})" if len(groups) > 1 else ""
        if against == "ablations":
            contests.append(_of_ablations(members[0], batch, host, scratch / str(number), suffix, step))
            continue
        model = _load(members[0], weights, against)
        workbench = Workbench(model, host, scratch / str(number), step)
        plan = _plan(members[0].manifest, against, model, host, batch)
        contests.append(_contest(members, against, workbench, plan, peer, suffix))
    return contests


def _group(subject: Ready, against: Against) -> object:
    """Return what bundles have in common that share their baselines."""
    manifest = subject.manifest
    if against in ("original", "ablations"):
        return subject.label
    if against == "peers":
        return (manifest.target, manifest.precision, _scheme(subject), _maps_at(manifest))
    return question_of(manifest)


def _maps_at(manifest: Manifest) -> Size | None:
    """Return the image size of feature maps, at which the peers give theirs; None of a classifier."""
    return manifest.model.image_size if manifest.conversion.returns == "features" else None


def _scheme(subject: Ready) -> Scheme | None:
    """Return how a bundle is rounded, and so how its peers are; None in floating point."""
    return subject.manifest.quantisation.scheme if subject.manifest.quantisation else None


def _name(subject: Ready, others: Sequence[Ready], against: Against) -> str:
    """Return what tells the baselines of one bundle's group from those of the others': of peers the scheme, where it does."""
    if against != "peers":
        return subject.label
    kind = subject.manifest.target, subject.manifest.precision
    schemes = [_scheme(other) for other in others if (other.manifest.target, other.manifest.precision) == kind]
    apart = [part.name for part in fields(Scheme) if len({getattr(scheme, part.name, None) for scheme in schemes}) > 1]
    choices = [f"{part} {shown(getattr(_scheme(subject), part))}" for part in apart]
    maps = [f"maps at {size[0]}x{size[1]}"] if (size := _maps_at(subject.manifest)) else []
    return ", ".join([" ".join(kind), *choices, *maps])


def _plan(manifest: Manifest, against: Against, model: LoadedModel, host: ThisHost, batch: int) -> ExportPlan[Any]:
    exporter = host.require_exporter(manifest.target)
    return plan_of_float32(manifest, model, exporter) if against == "fp32" else plan_of(manifest, model, exporter, batch)


def _contest(
    subjects: Sequence[Ready], against: Against, workbench: Workbench, plan: ExportPlan[Any], peer: str | None, suffix: str
) -> Contest:
    if against == "peers":
        made = peers(workbench, plan, tuple(PEERS) if peer is None else (peer,))
    else:
        made = naive_exports(workbench, plan) if against == "original" else in_float32(workbench, plan)
    return _made(subjects, against, made, suffix)


def _of_ablations(subject: Ready, batch: int, host: ThisHost, scratch: Path, suffix: str, step: Step) -> Contest:
    made = ablations(subject.manifest, batch, host, scratch, step)
    networks = {entry.label + suffix: facts for entry, facts in made}
    own = {subject.label: facts_beside(subject.manifest.model)}
    return replace(_made([subject], "ablations", [entry for entry, _ in made], suffix), networks=own | networks)


def _made(subjects: Sequence[Ready], against: Against, made: Sequence[Baseline | Rejected], suffix: str) -> Contest:
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
        raise UsageError(f"{subject.bundle} was made from a checkpoint, and --against {against} needs it too: add --weights FILE")
    model = load_model(ModelOrigin.of(record, preprocess, weights=weights, seed=None if weights else record.random_seed))
    check_same_weights(subject.manifest, model)
    return model
