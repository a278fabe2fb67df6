"""Shards: some hundred pictures through one file or through the network, self-contained, so that any process can run one."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.data.batches import PictureBatch, PictureStream
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.errors import MissingError, RunError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.accuracy.identity import Tools, digest_of, identity_of, tools_with, weights_identity
from edgevit_deploy.measure.machine import check_threads
from edgevit_deploy.outside.text import writable
from edgevit_deploy.parity.gate import run_in_batches
from edgevit_deploy.spec import Preprocess, Size, Task, returned_for
from edgevit_deploy.verification.bundle import artifact_of

Reference = Literal["fp32", "fp64"]

PICTURES = 500
"""Of one shard: seconds of work, so that little is lost when a run is killed, and far more than opening a session takes."""

DECODED = 32
"""Pictures that are decoded at a time, at least: whole runs of the subject, so that none but the last is filled up."""

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What pictures are run through, with all that its outputs depend on.

    Attributes:
        kind: a bundle, or the published network in PyTorch.
        path: the bundle's folder, or the file of weights.
        identity: hash of the files it is made of; a path may lead to something else one day.
        tools: names and versions of what runs it, as the host knows them that asks.
        image_size: (height, width) in pixels.
        preprocess: of the pictures.
        batch: pictures a run.
        reference: arithmetic of the network.
        threads: of the runtime, or of PyTorch; None leaves their own default.
        task: of the network.
        model: variant of the network, which its tensors alone need not tell; None of a bundle.
    """

    kind: Literal["bundle", "network"]
    path: Path
    identity: str
    tools: Tools
    image_size: Size
    preprocess: Preprocess
    batch: int
    reference: Reference = "fp32"
    threads: int | None = None
    task: Task = "classify"
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Some pictures of a folder, to be run through one subject; a worker elsewhere replaces the two paths by its own copies.

    Attributes:
        subject: what they are run through.
        data: the folder.
        data_digest: of the whole folder, as `ImageFolder.digest` gives it.
        positions: of the pictures in the folder's order.
        files: their names, relative to `data`.
        stamp: of these files, as `store.stamp_of` gives it; outputs that are kept are of files with this stamp.
        workers: processes that decode; 0 decodes in this one.
    """

    subject: Subject
    data: Path
    data_digest: str
    positions: tuple[int, ...]
    files: tuple[str, ...]
    stamp: str
    workers: int = 0

    def picture(self, index: int) -> Path:
        """Return where the picture at a place of `files` lies."""
        return self.data / self.files[index]

    @property
    def key(self) -> str:
        """A hash of everything that may decide the outputs, the order of sums over threads too; not of paths or processes."""
        subject = self.subject
        facts = [subject.identity, subject.tools, subject.image_size, subject.preprocess, subject.batch, subject.reference]
        return digest_of([*facts, subject.threads, self.data_digest, self.positions])


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLogits:
    """What a subject made of the pictures of a shard.

    Attributes:
        key: of the shard.
        status: not run: this host has nothing that runs the file as it is; failed: the runtime could not.
        reason: why it did not run.
        runtime: what ran it.
        tools: names and versions of what ran it, there where it ran.
        positions: of the pictures that could be decoded, int64 (n,).
        logits: what the subject returned for each, float32 (n, classes).
        broken: pictures that could not be decoded, by their names in the folder.
        seconds: wall clock, decoding included, opening the session not.
    """

    key: str
    status: Literal["ran", "not run", "failed"]
    positions: NDArray[np.int64]
    logits: Logits
    reason: str = ""
    runtime: str = ""
    tools: Tools = ()
    broken: tuple[PassedOver, ...] = ()
    seconds: float = 0.0

    @classmethod
    def without(cls, shard: Shard, status: Literal["not run", "failed"], reason: str) -> "ShardLogits":
        """Return what is said of a shard that was not run."""
        empty = np.empty(0, np.int64)
        return cls(key=shard.key, status=status, reason=reason, positions=empty, logits=np.empty((0, 0), np.float32))


RunShards = Callable[[Sequence[Shard]], Iterator[ShardLogits]]
"""Runs shards, in any order and anywhere; what comes after one that did not run may be left out for its subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A subject that is ready: uint8 (n, height, width, 3) -> float32 (n, classes), or (n, classes, height, width)."""

    runtime: str
    tools: Tools
    run: Callable[[Pixels], Logits]


def run_shard(shard: Shard) -> ShardLogits:
    """Open the subject of a shard, run its pictures and close it again; nothing else of this process is needed.

    Raises:
        UsageError: more threads than this process has cores; whoever sent the shard may have others.
    """
    if shard.subject.threads is not None:
        check_threads(shard.subject.threads)
    (result,) = run_in_turn([shard])
    return result


def run_in_turn(shards: Sequence[Shard]) -> Iterator[ShardLogits]:
    """Run shards one after the other in this process: one subject is open at a time, for all of its shards in a row."""
    for subject, group in groupby(shards, key=lambda shard: shard.subject):
        with ExitStack() as stack:
            opened: Opened | None = None
            for shard in group:
                try:
                    opened = opened or stack.enter_context(open_subject(subject))
                    result = _run(shard, opened)
                except MissingError as error:
                    result = ShardLogits.without(shard, "not run", str(error))
                except RunError as error:
                    result = ShardLogits.without(shard, "failed", str(error))
                yield result
                if result.status != "ran":
                    break


def _run(shard: Shard, opened: Opened) -> ShardLogits:
    start = time.perf_counter()
    stream = PictureStream(
        path=shard.picture,
        positions=range(len(shard.files)),
        preprocess=shard.subject.preprocess,
        batch=-(-DECODED // shard.subject.batch) * shard.subject.batch,
        workers=shard.workers,
    )
    rows, places, broken = [], [], list[PassedOver]()
    with closing(_batches(stream)) as batches:
        for batch in batches:
            broken += batch.broken
            if len(batch.positions):
                rows.append(opened.run(batch.pixels))
                places.append(batch.positions)
    return ShardLogits(
        key=shard.key,
        status="ran",
        runtime=opened.runtime,
        tools=opened.tools,
        positions=np.array(shard.positions, dtype=np.int64)[np.concatenate(places)] if places else np.empty(0, np.int64),
        logits=np.concatenate(rows) if rows else np.empty((0, 0), np.float32),
        broken=tuple(_named_in(shard.data, item) for item in broken),
        seconds=time.perf_counter() - start,
    )


def _batches(stream: PictureStream) -> Generator[PictureBatch, None, None]:
    """Return the batches of a stream; closing this early ends its workers too."""
    yield from stream


def _named_in(data: Path, item: PassedOver) -> PassedOver:
    return PassedOver(file=writable(Path(item.file).relative_to(data).as_posix()), why=writable(item.why))


@contextmanager
def open_subject(subject: Subject) -> Iterator[Opened]:
    """Open a subject.

    Raises:
        MissingError: nothing on this host runs the file as it is.
        RunError: the runtime cannot load it, or it is not what it was when the evaluation began.
    """
    with _open_bundle(subject) if subject.kind == "bundle" else _open_network(subject) as opened:
        yield opened


@contextmanager
def _open_bundle(subject: Subject) -> Iterator[Opened]:
    manifest = open_bundle(subject.path)
    _check_unchanged(subject, identity_of(manifest))
    session_type = THIS_HOST.find_session(manifest.target)
    if session_type is None:
        raise MissingError(THIS_HOST.why_not_run(manifest.target) or f"no runtime for {manifest.target}")
    artifact = artifact_of(subject.path, manifest, THIS_HOST)
    with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=subject.threads) as session:
        if session.substitute:
            raise MissingError(session.substitute)

        def run(pixels: Pixels) -> Logits:
            inputs = normalise(pixels, subject.preprocess, manifest.conversion.takes)
            (outputs,) = run_in_batches(session, inputs, subject.batch).values()
            return np.asarray(outputs, dtype=np.float32)

        yield Opened(runtime=session_type.name, tools=tools_with(session_type.packages), run=run)


def _check_unchanged(subject: Subject, identity: str) -> None:
    if identity != subject.identity:
        raise RunError(f"{subject.path} is not what it was when the evaluation began; run it again")


@contextmanager
def _open_network(subject: Subject) -> Iterator[Opened]:
    import torch

    from edgevit_deploy.model.ends import prepare
    from edgevit_deploy.model.loading import ModelOrigin, load_model

    source = ModelOrigin(model=subject.model, weights=subject.path, image_size=subject.image_size, task=subject.task)
    loaded = load_model(source)
    _check_unchanged(subject, weights_identity(loaded.record))
    dtype = torch.float64 if subject.reference == "fp64" else torch.float32
    module = prepare(loaded.network, subject.preprocess, "tensor", returned_for(subject.task), dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(subject.threads or before)

    def run(pixels: Pixels) -> Logits:
        inputs = torch.from_numpy(normalise(pixels, subject.preprocess, "tensor")).to(dtype)
        with torch.inference_mode():
            rows: list[Any] = [module(part).float().numpy() for part in torch.split(inputs, subject.batch)]
        return np.concatenate(rows)

    try:
        yield Opened(runtime=f"PyTorch {subject.reference}", tools=tools_with(["torch"]), run=run)
    finally:
        torch.set_num_threads(before)
