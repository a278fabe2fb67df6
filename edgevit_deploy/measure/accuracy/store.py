"""Finished shards in a folder, so that none is run twice: each is one file, written beside its place and renamed.

A shard is of pictures as they were: where one has been written since, or could not be read and now can, it is computed again.

Its first line is the SHA-256 of the rest, in hex; its second is JSON: what it is of, which pictures, which shape. The outputs
follow, raw little-endian float32.
"""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.data.preprocess import read_pixels
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.accuracy.identity import Tools
from edgevit_deploy.measure.accuracy.shards import Shard, ShardLogits
from edgevit_deploy.outside.files import read_bounded, unfinished
from edgevit_deploy.outside.text import writable
from edgevit_deploy.spec import Preprocess

SUFFIX = ".shard"
MAX_SHARD_BYTES = 2**31
"""Of one file: 500 pictures of a million classes."""

DIGITS = 16
"""Of the hashes in a file's name: the data's, then the shard's."""


def stamp_of(paths: Iterable[str]) -> str:
    """Return a hash of when files were last written: another picture may have the same name and size."""
    return hashlib.sha256(repr([_written_ns(path) for path in paths]).encode()).hexdigest()


def _written_ns(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - a million `Path`s take half a minute
    except OSError:
        return None


def _readable(path: Path, preprocess: Preprocess) -> bool:
    try:
        read_pixels(path, preprocess)
    except UsageError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    key: str
    stamp: str
    runtime: str
    tools: Tools
    positions: tuple[int, ...]
    shape: tuple[int, int]
    broken: tuple[PassedOver, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStore:
    """A folder of finished shards; a temporary one ends with the run."""

    folder: Path
    temporary: bool = False

    def find(self, shard: Shard) -> ShardLogits | None:
        """Return a shard's result; None where there is none, or a damaged one, which is then computed again."""
        try:
            data = read_bounded(self._place(shard), MAX_SHARD_BYTES)
            seal, _, rest = data.partition(b"\n")
            if seal.decode() != hashlib.sha256(rest).hexdigest():
                return None
            line, _, raw = rest.partition(b"\n")
            header = msgspec.json.decode(line, type=_Header)
            logits = np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(header.shape)
        except (OSError, ValueError, RecursionError, msgspec.DecodeError):
            return None
        if (header.key, header.stamp) != (shard.key, shard.stamp) or len(header.positions) != len(logits):
            return None
        return ShardLogits(
            key=header.key,
            status="ran",
            runtime=header.runtime,
            tools=header.tools,
            positions=np.array(header.positions, dtype=np.int64),
            logits=logits,
            broken=header.broken,
            seconds=header.seconds,
        )

    def holds(self, shard: Shard) -> bool:
        """Say whether a shard is finished, and no picture that could not be read then can be read by now.

        A disk may fail for a moment, and what was forbidden may be allowed, without anything being written to the file.
        """
        found = self.find(shard)
        if found is None:
            return False
        read = set(found.positions.tolist())
        broken = [index for index, position in enumerate(shard.positions) if position not in read]
        return not any(_readable(shard.picture(index), shard.subject.preprocess) for index in broken)

    def keep(self, shard: Shard, result: ShardLogits) -> None:
        """Write a shard's result, whole or not at all.

        Raises:
            UsageError: the folder cannot be written.
        """
        header = _Header(
            key=result.key,
            stamp=shard.stamp,
            runtime=writable(result.runtime),
            tools=tuple((writable(name), writable(version)) for name, version in result.tools),
            positions=tuple(result.positions.tolist()),
            shape=(result.logits.shape[0], result.logits.shape[1]),
            broken=result.broken,
            seconds=result.seconds,
        )
        rest = msgspec.json.encode(header) + b"\n" + result.logits.astype("<f4").tobytes()
        place = self._place(shard)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = unfinished(place)
            try:
                beside.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
                beside.replace(place)
            finally:
                with suppress(OSError):
                    beside.unlink(missing_ok=True)
        except OSError as error:
            what = f"{self.folder} cannot be written ({error.strerror})"
            if self.temporary:
                raise UsageError(f"what is computed is kept until the end, and {what}; keep it with --output DIR") from error
            raise UsageError(f"--output: {what}; give another place") from error

    def of_other_data(self, data_digest: str) -> int:
        """Return how many finished shards are here of other pictures, or of these before they changed."""
        return sum(not path.name.startswith(data_digest[:DIGITS]) for path in self.folder.glob(f"*{SUFFIX}"))

    def _place(self, shard: Shard) -> Path:
        return self.folder / f"{shard.data_digest[:DIGITS]}-{shard.key[:DIGITS]}{SUFFIX}"
