"""`calibration.json`: the ranges of one network in one form, of which pictures they are, and a seal over all of it."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.ranges import OperatorRanges, Range
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.spec import PROGRAM, Preprocess

CALIBRATION_NAME = "calibration.json"
MAX_CALIBRATION_BYTES = 4 * 2**20
LARGEST = 1e30
"""No activation is as large; float32 ends at 3.4e38, and a step of a grid must be a float32 number as well."""

Source = Literal["pictures", "synthetic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What one calibration found.

    Attributes:
        schema_version: of this file.
        model: the network, by its weights.
        preprocess: of the pictures.
        form: part -> choice of the deploy graph on which was observed.
        source: pictures of the user's, or drawn ones.
        pictures: SHA-256 of each file, sorted; empty for drawn ones.
        count: how many were observed.
        percentile: share of values that a range holds on either side, in percent; None for all of them.
        ranges: operator -> its ranges, in the order of the graph.
        seal: SHA-256 over all of the above, so that a change shows.
    """

    schema_version: Literal[1] = 1
    model: ModelRecord
    preprocess: Preprocess
    form: dict[str, str]
    source: Source
    pictures: tuple[str, ...]
    count: int
    percentile: float | None
    ranges: dict[str, OperatorRanges]
    seal: str = ""

    def sealed(self) -> "Calibration":
        """Return the same with its seal."""
        return replace(self, seal=seal_of(msgspec.json.decode(json_bytes(self))))

    def sentence(self) -> str:
        """Say of what the ranges are."""
        what = f"{self.count} {'calibration pictures' if self.source == 'pictures' else 'drawn pictures, not real ones,'}"
        how = "their true minimum and maximum" if self.percentile is None else f"percentile {self.percentile:g} on either side"
        return f"Activations are rounded by the ranges that {what} showed: {how}."


def seal_of(document: dict[str, Any]) -> str:
    """Return the seal of a document as it stands in its file: what this version would add to an older one is no part of it."""
    content = msgspec.json.format(msgspec.json.encode({**document, "seal": ""}), indent=2) + b"\n"
    return hashlib.sha256(content).hexdigest()


def calibration_bytes(calibration: Calibration) -> bytes:
    """Serialise a sealed calibration."""
    return json_bytes(calibration)


def read_calibration(path: Path) -> Calibration:
    """Read and check a file of ranges, by itself.

    Raises:
        UsageError: it cannot be read, is none, or was changed.
    """
    again = f"`{PROGRAM} TARGET --precision int8 --calibration DIR` writes one into its bundle"
    try:
        content = read_bounded(path, MAX_CALIBRATION_BYTES)
    except OSError as error:
        raise UsageError(f"--ranges {path} cannot be read ({error.strerror}); {again}") from error
    try:
        document = msgspec.json.decode(content)
        calibration: Calibration = msgspec.convert(document, type=Calibration)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"--ranges {path}: no {CALIBRATION_NAME} ({error}); {again}") from error
    if objection := next(_objections(calibration, seal_of(document)), None):
        raise UsageError(f"--ranges {path}: {objection}; {again}")
    return calibration


def _objections(calibration: Calibration, seal: str) -> Iterator[str]:
    for path, ranges in calibration.ranges.items():
        for end in (ranges.input, ranges.output):
            if not (math.isfinite(end.low) and math.isfinite(end.high) and -LARGEST <= end.low <= end.high <= LARGEST):
                yield f"the range of {path} is {end.low:g} to {end.high:g}, which is none"
    if calibration.count < 1:
        yield "it is of no picture"
    if calibration.seal != seal:
        yield "it was changed after it was written (its seal does not fit)"


def check_fits(calibration: Calibration, model: ModelRecord, preprocess: Preprocess, form: dict[str, str], where: Any) -> None:
    """Refuse ranges of another network, preprocessing or form.

    Args:
        calibration: whose ranges are to be used.
        model: the network at hand.
        preprocess: of its pictures.
        form: of its deploy graph.
        where: what the message calls the file.

    Raises:
        UsageError: naming what differs.
    """
    observe = "observe them anew with --calibration DIR"
    if calibration.model != model:
        raise UsageError(f"{where}: the ranges are of other weights or of another image size; {observe}")
    if calibration.preprocess != preprocess:
        raise UsageError(f"{where}: the ranges are of pictures that were prepared in another way; {observe}")
    observed = {**Form().choices(), **calibration.form}  # an older file has no word for what was done in one way only
    if observed != form:
        here = [f"{part} {choice}" for part, choice in form.items() if observed.get(part) != choice]
        raise UsageError(f"{where}: the ranges are of the graph in another form (here it has {', '.join(here)}); {observe}")


def equal_ranges(first: OperatorRanges, second: OperatorRanges, tolerance: float) -> bool:
    """Say whether two observations of one operator differ by no more than a share of their extent."""
    return all(_close(getattr(first, end), getattr(second, end), tolerance) for end in ("input", "output"))


def _close(first: Range, second: Range, tolerance: float) -> bool:
    extent = max(first.high - first.low, second.high - second.low)
    return max(abs(first.low - second.low), abs(first.high - second.high)) <= tolerance * extent
