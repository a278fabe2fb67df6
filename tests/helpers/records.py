"""Records of `bench`, `evaluate` and `energy`, as the commands themselves write them, of files that were never run."""

from dataclasses import replace
from pathlib import Path

from edgevit_deploy.commands.bench.view import document as bench_document
from edgevit_deploy.commands.evaluate.view import document as evaluate_document
from edgevit_deploy.measure.accuracy.result import Accuracy, DataRecord, Evaluated, Evaluation, Share
from edgevit_deploy.measure.bench import BenchRun
from edgevit_deploy.measure.machine import Machine
from edgevit_deploy.measure.result import REGIMES, Benchmark, BenchmarkResult
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.spec import IMAGENET_224

MACHINE = Machine(system="", cpu="a CPU", cores=2, cores_for_us=2, governor=None, load_average_1min=None, python="", libraries={})
WORDNET = tuple(f"n{number:08}" for number in range(1000))


def timed(label: str, ms: float) -> BenchmarkResult:
    return BenchmarkResult(
        label=label,
        runtime="a runtime",
        threads=1,
        batch=1,
        image_size=(224, 224),
        load_ms=1.0,
        first_ms=1.0,
        raw_ms=tuple(ms * (1.001 if number % 8 < 4 else 0.999) for number in range(40)),
        calls_per_block=4,
        sittings=4,
        cpu_ms=None,
        size_bytes=round(1e6 * ms),
        peak_memory_bytes=None,
        own_process=False,
    )


def bench(folder: Path, latencies: dict[str, float], bundles: dict[str, str] | None = None) -> Path:
    """Write what `bench --output` writes for files of these labels and latencies."""
    results = tuple(timed(label, ms) for label, ms in latencies.items())
    benchmark = Benchmark(regime=REGIMES["steady"], seed=0, results=results, control=replace(results[0], label="again"))
    record = BenchRun(
        machine=MACHINE, benchmark=benchmark, bundles=bundles or {}, contests=(), profiler_notes=(), profiles={}, skipped=()
    )
    folder.mkdir()
    (folder / "bench.json").write_bytes(json_bytes(bench_document(record)))
    return folder


def evaluation(
    folder: Path,
    right: dict[str, int],
    of: int = 10_000,
    classes: tuple[str, ...] = ("cat", "dog"),
    seed: int | None = None,
) -> Path:
    """Write what `evaluate --output` writes for bundles of these labels; their hash is the label turned round."""
    rows = tuple(
        Evaluated(
            label=label,
            kind="bundle",
            status="ran",
            preprocess=IMAGENET_224,
            image_size=(224, 224),
            identity=label[::-1],
            accuracy=Accuracy(top1=Share(count=count, of=of), top5=None, calibration_error=None, not_finite=0, confusion=()),
        )
        for label, count in right.items()
    )
    data = DataRecord(name="val", digest="0123456789abcdef", pictures=of, used=of, broken=0, seed=seed, classes=classes)
    whole = Evaluation(data=data, rows=rows, broken=(), passed_over=(), shards=1, kept_shards=0, other_shards=0)
    folder.mkdir()
    (folder / "evaluation.json").write_bytes(json_bytes(evaluate_document(whole)))
    return folder


def energy(path: Path, name: str, mean_mj: float, **more: object) -> Path:
    """Write the part of `energy --json` that is read."""
    record = {"name": name, "mean_mj": mean_mj, "interval_mj": [0.99 * mean_mj, 1.01 * mean_mj], **more}
    path.write_bytes(json_bytes({"energy": record, "notes": []}))
    return path
