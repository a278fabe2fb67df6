"""Finished shards in a folder, so that none is run twice: each is one file, written beside its place and renamed.

Its first line is the SHA-256 of the rest, in hex; its second is JSON: what it is of, which pictures, which shape. The outputs
follow, raw little-endian float32.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.accuracy.identity import Tools
from edgevit_deploy.measure.accuracy.shards import Shard, ShardLogits
from edgevit_deploy.outside.files import read_bounded, unfinished
from edgevit_deploy.outside.text import writable

SUFFIX = ".shard"
MAX_SHARD_BYTES = 2**31
"""Of one file: 500 pictures of a million classes."""

DIGITS = 16
"""Of the hashes in a file's name: the data's, then the shard's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    key: str
    runtime: str
    tools: Tools
    positions: tuple[int, ...]
    shape: tuple[int, int]
    broken: tuple[PassedOver, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStore:
    """A folder of finished shards."""

    folder: Path

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
        except (OSError, ValueError, msgspec.DecodeError):
            return None
        if header.key != shard.key or len(header.positions) != len(logits):
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

    def keep(self, shard: Shard, result: ShardLogits) -> None:
        """Write a shard's result, whole or not at all.

        Raises:
            UsageError: the folder cannot be written.
        """
        header = _Header(
            key=result.key,
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
            raise UsageError(f"--output: {self.folder} cannot be written ({error.strerror}); give another place") from error

    def of_other_data(self, data_digest: str) -> int:
        """Return how many finished shards are here of other pictures, or of these before they changed."""
        return sum(not path.name.startswith(data_digest[:DIGITS]) for path in self.folder.glob(f"*{SUFFIX}"))

    def _place(self, shard: Shard) -> Path:
        return self.folder / f"{shard.data_digest[:DIGITS]}-{shard.key[:DIGITS]}{SUFFIX}"
