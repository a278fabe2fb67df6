"""`bench --against`: bundles and what they are timed against, and how they stand among it."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.measure.ablations import NetworkFacts
from edgevit_deploy.measure.baselines import Baseline, Rejected
from edgevit_deploy.measure.benchmark import Candidate
from edgevit_deploy.measure.result import Benchmark, BenchmarkResult, Comparison, Verdict, cpu_ratio
from edgevit_deploy.measure.subjects import Ready
from edgevit_deploy.model.peers import PEER_SIZE, REFERENCE_PEER
from edgevit_deploy.session import Array
from edgevit_deploy.spec import QUANTISED, Size

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
        return maps_at(self.subjects[0].manifest) or PEER_SIZE

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


def maps_at(manifest: Manifest) -> Size | None:
    """Return the image size of feature maps, at which the peers give theirs; None of a classifier."""
    return manifest.model.image_size if manifest.conversion.returns == "features" else None
