"""Where ranges come from: a folder of pictures, drawn pictures, or a file of ranges that were observed before."""

import copy
import hashlib
from collections.abc import Callable, Iterator
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
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.record import ModelRecord
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
    """

    digests: tuple[str, ...]
    count: int

    def batches(self, step: Step) -> Iterator[NDArray[np.float32]]: ...  # noqa: D102


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
    return _Drawn(preprocess, size, seed) if choice.synthetic else _Folder(Path(choice.pictures), preprocess)


class _Drawn:
    """Seeded pictures with the spectrum of natural ones."""

    digests: tuple[str, ...] = ()
    count = DRAWN_PICTURES

    def __init__(self, preprocess: Preprocess, size: Size, seed: int) -> None:
        rng = np.random.default_rng([seed, *size, DRAWN_PICTURES])
        drawn = [natural_picture(size, rng, CONTRASTS[place % len(CONTRASTS)]) for place in range(DRAWN_PICTURES)]
        self._inputs = normalise(np.stack(drawn), preprocess, "tensor")

    def batches(self, step: Step) -> Iterator[NDArray[np.float32]]:
        step("observing ranges on drawn pictures")
        yield from np.split(self._inputs, DRAWN_PICTURES // BATCH)


class _Folder:
    """Pictures of a folder, or of a tree of labelled ones: at most MOST_PICTURES, spread evenly."""

    def __init__(self, root: Path, preprocess: Preprocess) -> None:
        self._folder = find_pictures(root, flag="--calibration")
        self._positions = self._folder.spread(MOST_PICTURES)
        self._preprocess = preprocess
        if len(self._positions) < FEWEST_PICTURES:
            raise UsageError(
                f"--calibration {root}: {len(self._positions)} pictures, expected {FEWEST_PICTURES} or more, better "
                f"{MOST_PICTURES}; `--calibration {SYNTHETIC}` needs none"
            )
        self.digests = tuple(sorted(sha256_of(self._folder.path(position)) for position in self._positions))
        self.count = len(self._positions)

    def batches(self, step: Step) -> Iterator[NDArray[np.float32]]:
        stream = PictureStream(path=self._folder.path, positions=self._positions, preprocess=self._preprocess, batch=BATCH)
        tell, done = now_and_then(step), 0
        with closing(iter(stream)) as batches:
            for batch in batches:
                tell(f"observing ranges: {done} of {self.count} pictures")
                if batch.broken:
                    raise UsageError(f"--calibration: {batch.broken[0].file} {batch.broken[0].why}; remove it")
                done += len(batch.pixels)
                yield normalise(batch.pixels, self._preprocess, "tensor")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a picture's file, in hex.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
