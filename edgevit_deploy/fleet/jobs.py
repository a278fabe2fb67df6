"""Jobs: frozen, picklable, run on a worker by way of `api`; what they return is values and the bytes of bundles."""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as Interface

from edgevit_deploy import api
from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.calibration.record import CALIBRATION_NAME
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder
from edgevit_deploy.errors import DeployError, UsageError
from edgevit_deploy.every_target import Network, Rounding, convert_network
from edgevit_deploy.fleet.parcel import Parcel, pack, unpack
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.accuracy.shards import Shard, ShardLogits, run_shard
from edgevit_deploy.measure.bench import BenchRun, Protocol
from edgevit_deploy.measure.contests import Against
from edgevit_deploy.model.loading import ModelOrigin
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.pipeline import Attempt
from edgevit_deploy.process.scratch import scratch_folder
from edgevit_deploy.request import FileRequest


class Job(Interface):
    """What a worker does; `given` is what it was sent apart from the job itself, once for all jobs that need it."""

    def run(self, given: Any) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a conversion reads: the checkpoint, the file of labels and the photographs, each as (file name, content)."""

    weights: tuple[str, bytes] | None = None
    labels: tuple[str, bytes] | None = None
    photographs: tuple[tuple[str, bytes], ...] = ()

    def origin_in(self, scratch: Path, origin: ModelOrigin) -> ModelOrigin:
        """Write the files that an origin names into a folder, and return the origin that names them there."""
        return replace(
            origin, weights=written(scratch / "weights", self.weights), labels=written(scratch / "labels", self.labels)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What came of one conversion on a worker: the attempt without its bundle, and the bundle by value."""

    attempt: Attempt
    duration_s: float = 0.0
    parcel: Parcel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertJob:
    """One target in one precision; where the origin names files of the sender's, the source has them.

    `ranges` is what the sender has observed for a quantised file; None where the file needs none.
    """

    target: str
    request: FileRequest
    origin: ModelOrigin
    ranges: bytes | None = None

    def run(self, given: Source) -> Converted:
        """Convert in a folder of its own, of which nothing stays."""
        with scratch_folder() as scratch:
            (attempt,) = convert_network(
                Network(origin=given.origin_in(scratch, self.origin), output=scratch / "bundles"),
                self.request,
                targets=(self.target,),
                photographs=photographs_in(scratch / "photographs", given),
                rounding=Rounding(calibration=self._calibration_in(scratch)),
            ).attempts
            conversion = attempt.conversion
            if conversion is None:
                return Converted(attempt=attempt)
            reason = THIS_HOST.why_not_run(self.target) if attempt.status == "built, not run" else ""
            return Converted(
                attempt=replace(attempt, conversion=None, reason=reason),
                duration_s=conversion.duration_s,
                parcel=pack(conversion.bundle),
            )

    def _calibration_in(self, scratch: Path) -> CalibrationChoice:
        file = None if self.ranges is None else (CALIBRATION_NAME, self.ranges)
        return CalibrationChoice(ranges=written(scratch / "ranges", file))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """What a benchmark reads: bundles by value, and the checkpoint for plain exports, as (file name, content)."""

    parcels: tuple[Parcel, ...]
    weights: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJob:
    """A benchmark of bundles, alone on its worker; the other fields are the arguments of `api.bench`."""

    labels: tuple[str, ...]
    threads: int
    runs: int | None
    regime: Literal["steady", "mixed"] | None
    protocol: Protocol
    against: Against | None
    peer: str | None
    ops: bool
    seed: int

    def run(self, given: Bundles) -> BenchRun:
        """Time the bundles from a folder of their own, of which nothing stays, and call them as the sender does.

        Raises:
            DeployError: as `api.bench` does.
        """
        with scratch_folder() as scratch, renamed(scratch, self.labels) as folders:
            for folder, parcel in zip(folders, given.parcels, strict=True):
                unpack(parcel, folder, "the client")
            return api.bench(
                *folders,
                threads=self.threads,
                runs=self.runs,
                regime=self.regime,
                protocol=self.protocol,
                against=self.against,
                peer=self.peer,
                weights=written(scratch / "weights", given.weights),
                ops=self.ops,
                seed=self.seed,
                labels=self.labels,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What pictures are run through: a bundle by value, or the network's checkpoint as (file name, content)."""

    parcel: Parcel | None = None
    weights: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateJob:
    """One shard of an evaluation; `sizes` are the bytes of its pictures, which lie under the same path on the worker."""

    shard: Shard
    sizes: tuple[int, ...]

    def run(self, given: Opened) -> ShardLogits:
        """Run the shard's pictures through what was sent.

        Raises:
            UsageError: this machine has other pictures under that path, or none, or fewer cores than threads.
        """
        shard = self.shard
        for index, size in enumerate(self.sizes):
            if size_of(shard.picture(index)) != size:
                raise UsageError(
                    f"{shard.picture(index)} is not there on {platform.node()}, or has another size than here; the folder of "
                    "--data must be the same on every worker, under the same path"
                )
        with scratch_folder() as scratch:
            path = written(scratch / "weights", given.weights) or scratch / "bundle"
            if given.parcel is not None:
                unpack(given.parcel, path, "the client")
            return run_shard(replace(shard, subject=replace(shard.subject, path=path)))


def size_of(path: Path) -> int | None:
    """Return how many bytes a file has; None where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None


@contextmanager
def renamed(scratch: Path, labels: Sequence[str]) -> Iterator[list[Path]]:
    """Give a folder for each bundle, by whose label an error calls it: the sender has never seen the folder."""
    folders = [scratch / str(number) / "bundle" for number in range(len(labels))]
    try:
        yield folders
    except DeployError as error:
        text = str(error)
        for folder, label in zip(folders, labels, strict=True):
            text = text.replace(str(folder), label)
        raise type(error)(text) from error


def perform(job: Job, given: object) -> Any:
    """Run a job; the function that workers are sent."""
    return job.run(given)


def read_whole(path: Path) -> bytes:
    """Read a file of this machine's to be sent."""
    return read_bounded(path, path.stat().st_size)


def named_file(path: Path | None) -> tuple[str, bytes] | None:
    """Read a file to be sent with its name; None where there is none."""
    return None if path is None else (path.name, read_whole(path))


def written(folder: Path, file: tuple[str, bytes] | None) -> Path | None:
    """Write a file under its own name, which errors and suffixes depend on."""
    if file is None:
        return None
    name, content = file
    folder.mkdir()
    (folder / name).write_bytes(content)
    return folder / name


def photographs_in(folder: Path, given: Source) -> PictureFolder:
    """Write the photographs of a source, and return them in the sender's order, whose table of labels is not sent."""
    if not given.photographs:
        return NO_PICTURES
    folder.mkdir()
    for name, content in given.photographs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)  # of a tree, below its class
        (folder / name).write_bytes(content)
    return PictureFolder(root=folder, names=tuple(name for name, _ in given.photographs))
