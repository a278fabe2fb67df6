"""Whether a quantised file decides as its network does: how often both name the same first class, on pictures kept for that."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.parity.statistics import pictures_for_share, wilson

MIN_AGREEMENT = 0.98
"""Default of --min-agreement. The recipes here flip 0.4 to 0.9 % of a trained network's decisions; twice as many is too many."""

SHOWN_FLIPS = 24
NO_CLASS = -1
"""Of outputs that are not finite; it agrees with nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flipped:
    """A picture for which the file names another first class.

    Attributes:
        picture: its name in the folder.
        network: the network's first class, by its place in the labels; so `file`.
        file: the file's first class; -1 where its outputs are not finite.
        margin: by how much the network's first class leads its second.
        file_margin: by how much the file's does; None where its outputs are not finite, or an earlier version has not kept it.
        label: the true class, by its place in the labels; None where the folder does not tell the network's classes.
        sha256: of the picture's file, by which it is known again; empty where an earlier version has not kept it.
    """

    picture: str
    network: int
    file: int
    margin: float
    file_margin: float | None = None
    label: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Which pictures were judged where only an evaluation, and no device of the file's own, could run it.

    Attributes:
        of: how many pictures the folder has.
        seed: by which some of them were drawn.
        runtime: what evaluated the file.
    """

    of: int
    seed: int
    runtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """How a file decides beside its network, picture by picture.

    Attributes:
        pictures: how many were compared.
        agreeing: how many have the same first class.
        min_agreement: what the lower end of the interval of the agreement must reach.
        digest: SHA-256 over the hashes of all pictures, sorted.
        broken: pictures that could not be decoded.
        flips: pictures with another first class, the widest margin first; at most 24 of them.
        network_right: how many the network is right about; None where the folder does not tell the network's classes.
        right: how many the file is right about; None likewise.
        sample: the file was evaluated, on pictures drawn from more or on all; None where its own runtime ran all of them.
    """

    pictures: int
    agreeing: int
    min_agreement: float
    digest: str
    broken: int
    flips: tuple[Flipped, ...]
    network_right: int | None = None
    right: int | None = None
    sample: Sample | None = None

    @property
    def agreement(self) -> float:
        """The share of pictures with the same first class."""
        return self.agreeing / self.pictures if self.pictures else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval (Wilson)."""
        return wilson(self.agreeing, self.pictures)

    @property
    def top1_interval(self) -> tuple[float, float] | None:
        """The 95 % interval (Wilson) of the share that the file is right about."""
        return None if self.right is None else wilson(self.right, self.pictures)

    @property
    def ok(self) -> bool:
        """Whether the whole interval is above the bound."""
        return self.interval[0] >= self.min_agreement

    @property
    def drawn(self) -> bool:
        """Whether the folder has pictures beyond those that were judged, and those that could not be decoded."""
        return self.sample is not None and self.pictures + self.broken < self.sample.of

    @property
    def failed(self) -> bool:
        """Whether they are not good enough: not shown to be, or where pictures were drawn, shown not to be.

        So many are drawn as an evaluation allows, so nobody could mend a sample that is too small to show the bound; a folder
        that is too small its owner can.
        """
        return self.interval[1] < self.min_agreement if self.drawn else not self.ok

    def sentence(self) -> str:
        """Say what was found, and where it is not enough, what would be."""
        low, high = self.interval
        found = f"the first class is the network's on {self.agreeing} of {self.pictures} pictures (95 %: {low:.2%} to {high:.2%})"
        if self.sample is not None:
            drawn = f" drawn from {self.sample.of:,} by seed {self.sample.seed}," if self.drawn else ""
            found = f"{found},{drawn} by {self.sample.runtime}"
        if self.ok:
            return f"{found}, at least {self.min_agreement:.2%} asked for"
        if self.drawn:
            rules = "which rules out" if self.failed else "which neither shows nor rules out"
            return f"{found}, {rules} the {self.min_agreement:.2%} asked for"
        needed = pictures_for_share(self.agreement, self.min_agreement)
        more = f"; with {needed} pictures of which as many agree it would pass" if needed else ""
        return f"{found}, and the lower end must reach {self.min_agreement:.2%}{more}"


def first_classes(outputs: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first class of each row (n, classes), and by how much it leads the second; NO_CLASS where one is not finite."""
    finite = np.isfinite(outputs).all(axis=1)
    first = np.where(finite, outputs.argmax(axis=1), NO_CLASS)
    top_two = np.sort(np.where(np.isfinite(outputs), outputs, 0.0), axis=1)[:, -2:]
    return first.astype(np.int64), (top_two[:, -1] - top_two[:, 0]).astype(np.float64)


def widest(flips: Iterator[Flipped]) -> tuple[Flipped, ...]:
    """Return the flips with the widest margins, widest first."""
    return tuple(sorted(flips, key=lambda flip: (-flip.margin, flip.picture))[:SHOWN_FLIPS])
