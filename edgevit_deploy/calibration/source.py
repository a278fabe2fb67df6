"""Where ranges come from: a folder of pictures, drawn pictures, or a file of ranges that were observed before."""

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgevit_deploy.calibration.choice import SYNTHETIC, CalibrationChoice
from edgevit_deploy.calibration.record import Calibration, check_fits, read_calibration
from edgevit_deploy.data.batches import PictureStream
from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.photographs import find_pictures
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.data.preprocess import Images, normalise
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.outside.files import open_regular
from edgevit_deploy.parity.probes import natural_picture
from edgevit_deploy.spec import Preprocess, Size

MOST_PICTURES = 256
"""Spread evenly over the folder: on a trained network 16 pictures cost 1.8 dB against 256; more cost only time."""

FEWEST_PICTURES = 8
"""Of fewer, the largest values that other pictures reach are not seen."""

DRAWN_PICTURES = 32
BATCH = 16
CONTRASTS = (0.22, 0.12, 0.06, 0.3)
"""Of drawn pictures, in turn: standard deviation of the brightness, as a share of the full range."""

Step = Callable[[str], None]


class CalibrationSource:
    """The ranges of one network, observed once for each form of its graph.

    Args:
        choice: where from.
        model: the network's record.
        preprocess: of its pictures.
        seed: of drawn pictures.
    """

    def __init__(self, choice: CalibrationChoice, model: ModelRecord, preprocess: Preprocess, seed: int) -> None:
        self.choice = choice
        self._model, self._preprocess, self._seed = model, preprocess, seed
        self._found: dict[Form, Calibration] = {}
        self._pictures: CalibrationPictures | None = None

    def calibration(self, form: Form, network: nn.Module, step: Step) -> Calibration:
        """Return the ranges of a graph.

        Args:
            form: of the graph.
            network: the graph; observed in float32.
            step: told how far it is.

        Raises:
            UsageError: nothing was given to take ranges from, or ranges that are not this network's in this form.
        """
        if form not in self._found:
            self._found[form] = self._read(form) if self.choice.ranges is not None else self._observe(form, network, step)
        return self._found[form]

    def check(self) -> None:
        """Refuse what no range can be taken from, before any work.

        Raises:
            UsageError: nothing was given, too few pictures, or a file that holds no ranges.
        """
        _ = self.pictures

    @property
    def pictures(self) -> tuple[str, ...]:
        """SHA-256 of each picture by which ranges are, or were, observed; none of drawn ones."""
        return self._opened().digests if self.choice.ranges is None else read_calibration(self.choice.ranges).pictures

    def _read(self, form: Form) -> Calibration:
        assert self.choice.ranges is not None
        calibration = read_calibration(self.choice.ranges)
        check_fits(calibration, self._model, self._preprocess, form.choices(), f"--ranges {self.choice.ranges}")
        return calibration

    def _observe(self, form: Form, network: nn.Module, step: Step) -> Calibration:
        pictures = self._opened()
        ranges = observe(copy.deepcopy(network).float().eval(), partial(pictures.batches, step), self.choice.percentile)
        return Calibration(
            model=self._model,
            preprocess=self._preprocess,
            form=form.choices(),
            source="synthetic" if self.choice.synthetic else "pictures",
            pictures=pictures.digests,
            count=pictures.count,
            percentile=self.choice.percentile,
            ranges=ranges,
        ).sealed()

    def _opened(self) -> "CalibrationPictures":
        if self._pictures is None:
            self._pictures = open_calibration(self.choice, self._preprocess, self._model.image_size, self._seed)
        return self._pictures


class CalibrationPictures(Protocol):
    """What ranges are observed on.

    Attributes:
        digests: SHA-256 of each file, sorted; none of drawn pictures.
        count: how many there are.
        broken: file -> why, of those that turned out to be unreadable and were passed over; the two above are without them.
    """

    broken: dict[str, str]

    @property
    def digests(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def count(self) -> int: ...  # noqa: D102

    def batches(self, step: Step) -> Iterator[Images]: ...  # noqa: D102


def open_calibration(choice: CalibrationChoice, preprocess: Preprocess, size: Size, seed: int) -> CalibrationPictures:
    """Find the pictures by which ranges are to be observed.

    Args:
        choice: where from.
        preprocess: of the pictures.
        size: of drawn ones.
        seed: of drawn ones.

    Raises:
        UsageError: nothing was given, or too few pictures.
    """
    if choice.pictures is None:
        raise UsageError(
            "rounding to eight bits needs the ranges of activations; add --calibration DIR with pictures as the network "
            "was trained on (never those of --judge), or --ranges FILE"
        )
    if choice.synthetic:
        return _Drawn(preprocess, size, seed)
    folder, said = find_pictures(Path(choice.pictures), flag="--calibration"), f"--calibration {choice.pictures}"
    return SpreadPictures(folder.path, range(len(folder.names)), preprocess, said=said)


class _Drawn:
    """Seeded pictures with the spectrum of natural ones."""

    digests: tuple[str, ...] = ()
    count = DRAWN_PICTURES
    broken: dict[str, str] = {}  # noqa: RUF012 - none ever is

    def __init__(self, preprocess: Preprocess, size: Size, seed: int) -> None:
        rng = np.random.default_rng([seed, *size, DRAWN_PICTURES])
        drawn = [natural_picture(size, rng, CONTRASTS[place % len(CONTRASTS)]) for place in range(DRAWN_PICTURES)]
        self._inputs = normalise(np.stack(drawn), preprocess, "tensor")

    def batches(self, step: Step) -> Iterator[Images]:
        step("observing ranges on drawn pictures")
        yield from np.split(self._inputs, DRAWN_PICTURES // BATCH)


class SpreadPictures:
    """Some pictures of a folder: at most MOST_PICTURES, spread evenly.

    Args:
        path: from a position to a file.
        positions: of the pictures among which is chosen.
        preprocess: of every picture.
        said: how the user named them, for the messages.
        passes_over: leave out what cannot be read; else it is refused.

    Raises:
        UsageError: too few, or one that cannot be opened.
    """

    def __init__(
        self,
        path: Callable[[int], Path],
        positions: Sequence[int] | NDArray[np.int64],
        preprocess: Preprocess,
        *,
        said: str,
        passes_over: bool = False,
    ) -> None:
        self._path, self._preprocess, self._said, self._passes_over = path, preprocess, said, passes_over
        count = min(MOST_PICTURES, len(positions))
        self._positions = [int(positions[index * len(positions) // count]) for index in range(count)]
        self.broken: dict[str, str] = {}
        self._check_count(count)
        self._digests = dict(self._hashed())

    @property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each file that is not known to be broken, sorted."""
        return tuple(sorted(digest for file, digest in self._digests.items() if file not in self.broken))

    @property
    def count(self) -> int:
        """How many are not known to be broken."""
        return len(self._positions) - len(self.broken)

    def batches(self, step: Step) -> Iterator[Images]:
        """Yield the inputs of all that can be read.

        Raises:
            UsageError: one cannot be read and may not be passed over, or too few can.
        """
        stream = PictureStream(path=self._path, positions=self._positions, preprocess=self._preprocess, batch=BATCH)
        tell, done = now_and_then(step), 0
        with closing(iter(stream)) as batches:
            for batch in batches:
                tell(f"observing ranges: {done} of {len(self._positions)} pictures")
                for item in batch.broken:
                    self._pass_over(item)
                done += len(batch.pixels)
                if len(batch.pixels):
                    yield normalise(batch.pixels, self._preprocess, "tensor")
        self._check_count(done)

    def _hashed(self) -> Iterator[tuple[str, str]]:
        for position in self._positions:
            path = self._path(position)
            try:
                yield str(path), sha256_of(path)
            except UsageError:
                if not self._passes_over:
                    raise
                self.broken[str(path)] = "cannot be opened"

    def _pass_over(self, item: PassedOver) -> None:
        if not self._passes_over:
            raise UsageError(f"{self._said}: {item.file} cannot be read ({item.why}); copy it again, or remove it")
        self.broken[item.file] = item.why

    def _check_count(self, count: int) -> None:
        if count < FEWEST_PICTURES:
            readable = " that can be read" if self.broken else ""
            raise UsageError(
                f"{self._said}: {count} pictures{readable}, expected {FEWEST_PICTURES} or more, better {MOST_PICTURES}; "
                f"`--calibration {SYNTHETIC}` needs none"
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a picture's file, in hex.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
