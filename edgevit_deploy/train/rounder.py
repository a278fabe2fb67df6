"""Makes the network of a training round, and observes by which ranges."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from edgevit_deploy.calibration.record import Calibration, calibration_bytes
from edgevit_deploy.calibration.source import CalibrationPictures, SpreadPictures, open_calibration
from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.deploy.ranges import OperatorRanges, Ranges
from edgevit_deploy.deploy.trained import RoundedNetwork, training_graph
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.spec import ModelSpec
from edgevit_deploy.train.pictures import Share
from edgevit_deploy.train.rounding import TrainedRounding
from edgevit_deploy.train.world import World

SEED = 0
"""Of drawn pictures that show ranges; as a conversion that names no seed has it."""

SavedRanges = dict[str, Any]


class Rounder:
    """Makes a network round, and observes by which ranges.

    Ranges are observed by the first process and told to the others, so that no difference of a last bit parts them.

    Args:
        rounding: for which files.
        network: that is to be trained.
        share: the pictures that are trained on; ranges are observed on these alone where no others are named.
        world: the processes.
        tell: is told how far it is.
        strict: refuse one of the share that cannot be read, instead of leaving it out.

    Raises:
        UsageError: there are too few pictures to show ranges, or one of those that were named cannot be opened.
    """

    def __init__(
        self,
        rounding: TrainedRounding,
        network: EdgeViT,
        share: Share,
        world: World,
        tell: Callable[[str], None],
        *,
        strict: bool = False,
    ) -> None:
        self.rounding, self.world, self.tell = rounding, world, tell
        self._pictures = _opened(rounding, network.spec, share, strict=strict) if rounding.scheme.calibrated else None
        self.digests = self._pictures.digests if self._pictures else ()

    @property
    def broken(self) -> dict[str, str]:
        """File -> why, of the pictures that could not be read and show no range; the first process alone knows."""
        return self._pictures.broken if self._pictures else {}

    def rounded(self, network: EdgeViT) -> RoundedNetwork:
        """Return what is trained in place of a network.

        Raises:
            RunError: a value is not finite.
        """
        graph = training_graph(network, self.rounding.form)
        return RoundedNetwork(graph, network.spec, self.rounding.scheme, self._observed(graph))

    def observe(self, network: RoundedNetwork) -> None:
        """Let a network round by the ranges that its weights of now have.

        Raises:
            RunError: a value is not finite.
        """
        if self._pictures is not None:
            ranges = self._observed(network.unrounded())
            assert ranges is not None
            network.round_by(ranges)

    def calibration(self, network: RoundedNetwork, weights: Path) -> bytes | None:
        """Return the ranges by which a network rounds now as a file for the conversion's `--ranges`; None where it needs none.

        Args:
            network: whose operators have the paths that they have in the files' own graph.
            weights: its checkpoint.
        """
        if self._pictures is None or network.ranges is None:
            return None
        model, choice = load_model(ModelOrigin(weights=weights)), self.rounding.calibration
        calibration = Calibration(
            model=model.record,
            preprocess=model.spec.preprocess,
            form=self.rounding.form.choices(),
            source="synthetic" if choice.synthetic else "pictures",
            pictures=self._pictures.digests,
            count=self._pictures.count,
            percentile=choice.percentile,
            ranges=dict(network.ranges),
        )
        return calibration_bytes(calibration.sealed())

    def _observed(self, graph: nn.Module) -> Ranges | None:
        pictures = self._pictures
        if pictures is None:
            return None
        first, batches = self.world.is_first, partial(pictures.batches, self.tell)
        percentile = self.rounding.calibration.percentile
        return self.world.from_first(self.world.together(lambda: observe(graph, batches, percentile) if first else None))


def _opened(rounding: TrainedRounding, spec: ModelSpec, share: Share, *, strict: bool) -> CalibrationPictures:
    if rounding.calibration.given:
        return open_calibration(rounding.calibration, spec.preprocess, spec.image_size, SEED)
    folder, said = share.folder, f"--data {share.folder.root}{' --strict' if strict else ''}"
    return SpreadPictures(folder.path, share.positions, spec.preprocess, said=said, passes_over=not strict)


def saved_ranges(ranges: Ranges | None) -> SavedRanges | None:
    """Return ranges as plain values, for a state."""
    return None if ranges is None else msgspec.to_builtins(dict(ranges))


def read_ranges(saved: SavedRanges) -> Ranges:
    """Return what `saved_ranges` was given."""
    return msgspec.convert(saved, type=dict[str, OperatorRanges])
