"""How often bundles are right on labelled pictures, and how they differ from the network that they were made from.

Pictures go through one subject after the other in shards; a finished shard is a file, so that a run which ends early goes on
where it was. What is shown is counted from those files.
"""

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit_deploy.bundle.folder import EVALUATION_NAME
from edgevit_deploy.bundle.place import check_outside_bundles
from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.image_folder import ImageFolder, open_image_folder
from edgevit_deploy.data.pictures import PassedOver, named
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.accuracy.contestants import Way, read_field
from edgevit_deploy.measure.accuracy.gates import Limits
from edgevit_deploy.measure.accuracy.result import DataRecord, Evaluation
from edgevit_deploy.measure.accuracy.rows import Work, rows_of
from edgevit_deploy.measure.accuracy.shards import PICTURES, RunShards, Shard, ShardLogits, Subject, run_in_turn, run_shard
from edgevit_deploy.measure.accuracy.store import ShardStore, stamp_of
from edgevit_deploy.measure.machine import check_threads
from edgevit_deploy.model.loading import check_seed
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.process.scratch import scratch_folder
from edgevit_deploy.spec import MAX_BATCH
from edgevit_deploy.workbench import Step, quiet

__all__ = [
    "Evaluation",
    "Limits",
    "RunShards",
    "Sample",
    "Shard",
    "ShardLogits",
    "Way",
    "check_output",
    "check_run",
    "evaluate",
    "run_in_turn",
    "run_shard",
]

SHARDS = "shards"
"""The folder below --output with the finished shards."""

MAX_WORKERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How many of the pictures, and the seed by which they are drawn; None is all of them."""

    limit: int | None = None
    seed: int = 0


def evaluate(
    bundles: Sequence[Path],
    host: ThisHost,
    data: Path,
    *,
    weights: Path | None = None,
    labels: Path | None = None,
    sample: Sample = Sample(),
    way: Way = Way(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    output: Path | None = None,
    strict: bool = False,
    run_shards: RunShards = run_in_turn,
    step: Step = quiet,
) -> Evaluation:
    """Evaluate bundles, and the network that they were made from, on the same labelled pictures.

    Args:
        bundles: the folders.
        host: finds runtimes.
        data: labelled pictures, one subfolder a class.
        weights: the checkpoint that the bundles were made from.
        labels: file with the names of the classes in class order.
        sample: which pictures.
        way: how they are run.
        limits: what is demanded of each bundle.
        output: folder that keeps finished shards; None keeps none.
        strict: refuse what cannot be decoded, and everything else in the folder.
        run_shards: runs shards; in this process, one after the other, by default.
        step: told how far it is.

    Raises:
        UsageError: refused arguments, pictures that are not the bundles', or with `strict` a file that is no good picture.
        BundleError: a damaged bundle.
    """
    check_output(output, [*bundles, data])
    _check(weights, sample, way, limits, cores_here=run_shards is run_in_turn)
    step("reading the bundles")
    field = read_field(bundles, weights, labels, way, host)
    step("listing the pictures")
    folder = open_image_folder(data, classes=field.classes)
    if strict and folder.passed_over:
        raise UsageError(f"--strict: {len(folder.passed_over)} files of {data} passed over: {named(folder.passed_over)}")
    positions = np.arange(len(folder)) if sample.limit is None else folder.sample(sample.limit, sample.seed)
    digest = folder.digest()
    with _kept(output) as store:
        used = positions.tolist()
        stamps = _stamps(folder, used)
        shards = {subject: tuple(_shards(subject, folder, digest, used, stamps, way)) for subject in field.subjects()}
        work = Work(shards=shards, store=store)
        kept = _run(work, run_shards, step, strict=strict)
        step("counting")
        ran = [subject for subject in shards if work.obstacle(subject) is None]
        broken = {item.file: item for subject in ran for result in work.results(subject) for item in result.broken}
        _check_broken(tuple(broken.values()), strict=strict)
        return Evaluation(
            data=DataRecord(
                name=_name(data),
                digest=digest,
                pictures=len(folder),
                used=len(positions),
                broken=len(broken),
                seed=sample.seed if len(positions) < len(folder) else None,
                classes=field.classes,
            ),
            rows=tuple(rows_of(field, folder, work, limits)),
            broken=tuple(broken.values()),
            passed_over=folder.passed_over,
            shards=sum(map(len, shards.values())),
            kept_shards=kept,
            other_shards=store.of_other_data(digest),
        )


def _check(weights: Path | None, sample: Sample, way: Way, limits: Limits, *, cores_here: bool) -> None:
    """Refuse what cannot be; `cores_here` is False where another machine is to run the shards, which has other cores."""
    for flag, share in (("--min-agreement", limits.min_agreement), ("--max-drop", limits.max_drop)):
        if share is None:
            continue
        if not 0 < share < 1:
            raise UsageError(f"{flag} {share}: a share between 0 and 1, for example 0.99 or 0.01, and no end of it")
        if weights is None:
            raise UsageError(f"{flag} compares with the network; add --weights FILE")
    if weights is None and way.preprocess == "bundle":
        raise UsageError("--preprocess bundle is of the network, which is not run; add --weights FILE, or drop the flag")
    check_run(weights, sample, way, cores_here=cores_here)


def check_run(weights: Path | None, sample: Sample, way: Way, *, cores_here: bool = True) -> None:
    """Refuse pictures and a way of running them that cannot be, of whatever task.

    Args:
        weights: the checkpoint of the network that is run too.
        sample: which pictures.
        way: how they are run.
        cores_here: False where another machine is to run them, which has other cores.

    Raises:
        UsageError: naming the flag.
    """
    if weights is None and way.reference != "fp32":
        raise UsageError(f"--reference {way.reference} is of the network, which is not run; add --weights FILE, or drop the flag")
    check_seed(sample.seed)
    if sample.limit is not None and sample.limit < 1:
        raise UsageError(f"--limit {sample.limit}: expected 1 picture or more")
    if way.batch is not None and not 1 <= way.batch <= MAX_BATCH:
        raise UsageError(f"--batch {way.batch}: expected 1 to {MAX_BATCH}")
    if not 0 <= way.workers <= MAX_WORKERS:
        raise UsageError(f"--workers {way.workers}: expected 0 to {MAX_WORKERS}")
    if way.threads is not None and cores_here:
        check_threads(way.threads)


def check_output(output: Path | None, taken: Sequence[Path]) -> None:
    """Refuse a folder within what is read: a bundle would no longer verify, and pictures would have one class more.

    Args:
        output: what --output names; None where nothing is written.
        taken: folders and files that are read.

    Raises:
        UsageError: it is such a folder, it is a file, or what would be written into it is one of the files.
    """
    if output is None:
        return
    check_outside_bundles(output)
    for folder in taken:
        if real_path(output).is_relative_to(real_path(folder)):
            raise UsageError(f"--output {output} lies in {folder}; put it beside")
        if real_path(output / EVALUATION_NAME) == real_path(folder):
            raise UsageError(f"--output {output}: {EVALUATION_NAME} there is what is read; name another folder")
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; name a folder")


@contextmanager
def _kept(output: Path | None) -> Iterator[ShardStore]:
    if output is not None:
        yield ShardStore(folder=output / SHARDS)
        return
    with scratch_folder() as scratch:
        yield ShardStore(folder=scratch, temporary=True)


def _stamps(folder: ImageFolder, positions: list[int]) -> dict[int, str]:
    """Return the stamp of the pictures of each shard, by the place where it starts."""
    root = os.path.join(folder.root, "")  # noqa: PTH118 - as text
    starts = range(0, len(positions), PICTURES)
    return {start: stamp_of(root + folder.files[each] for each in positions[start : start + PICTURES]) for start in starts}


def _shards(
    subject: Subject, folder: ImageFolder, digest: str, positions: list[int], stamps: Mapping[int, str], way: Way
) -> Iterator[Shard]:
    for start in range(0, len(positions), PICTURES):
        some = tuple(positions[start : start + PICTURES])
        files = tuple(folder.files[position] for position in some)
        yield Shard(
            subject=subject,
            data=folder.root,
            data_digest=digest,
            positions=some,
            files=files,
            stamp=stamps[start],
            workers=way.workers,
        )


def _run(work: Work, run_shards: RunShards, step: Step, *, strict: bool) -> int:
    """Run the shards that are not kept, keep each, and return how many were."""
    everything = [shard for shards in work.shards.values() for shard in shards]
    kept = [work.store.holds(shard) for shard in everything]
    missing = {shard.key: shard for shard, there in zip(everything, kept, strict=True) if not there}
    tell = _counting(sum(len(shard.files) for shard in missing.values()), step)
    with closing(_closing(run_shards(list(missing.values())))) as results:
        for result in results:
            shard = missing[result.key]
            if result.status != "ran":
                work.not_run[result.key] = result
                continue
            _check_broken(result.broken, strict=strict)
            work.store.keep(shard, result)
            tell(shard.subject, len(shard.files))
    return sum(kept)


def _check_broken(broken: Sequence[PassedOver], *, strict: bool) -> None:
    if strict and broken:
        raise UsageError(f"--strict: cannot be read as pictures: {named(broken)}")


def _closing(results: Iterator[ShardLogits]) -> Generator[ShardLogits, None, None]:
    """Return results whose end, also an early one, ends where they come from."""
    yield from results


def _counting(total: int, step: Step) -> Callable[[Subject, int], None]:
    """Return what tells how many pictures are done, how fast, and how long the others will take."""
    start, done, tell = time.monotonic(), 0, now_and_then(step)

    def count(subject: Subject, pictures: int) -> None:
        nonlocal done
        done += pictures
        per_s = done / max(1e-9, time.monotonic() - start)
        name = "the network" if subject.kind == "network" else subject.path.name
        tell(f"{name}: {done} of {total} pictures, {per_s:.0f}/s, {(total - done) / per_s:.0f} s left")

    return count


def _name(data: Path) -> str:
    real = real_path(data)
    return f"{real.parent.name}/{real.name}"
