"""Makes the network of a training round, and observes by which ranges."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from edgevit_deploy.calibration.record import CALIBRATION_NAME, calibration_bytes
from edgevit_deploy.calibration.source import CalibrationSource, open_calibration
from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.deploy.ranges import OperatorRanges, Ranges
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.deploy.trained import RoundedNetwork, training_graph
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.train.durable import replace_durably
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
        world: the processes.
        tell: is told how far it is.
    """

    def __init__(self, rounding: TrainedRounding, network: EdgeViT, world: World, tell: Callable[[str], None]) -> None:
        self.rounding, self.world, self.tell = rounding, world, tell
        spec = network.spec
        self._pictures = (
            open_calibration(rounding.calibration, spec.preprocess, spec.image_size, SEED) if rounding.scheme.calibrated else None
        )
        self.digests = self._pictures.digests if self._pictures else ()

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

    def write_calibration(self, folder: Path, weights: Path) -> None:
        """Write the ranges of a checkpoint as the conversion would observe them on the same pictures, for its `--ranges`.

        Raises:
            UsageError: the folder cannot be written.
        """
        if self._pictures is None:
            return
        model = load_model(ModelOrigin(weights=weights))
        source = CalibrationSource(self.rounding.calibration, model.record, model.spec.preprocess, SEED)
        graph = to_deploy_form(model.network, self.rounding.form).network
        calibration = source.calibration(self.rounding.form, graph, self.tell)
        replace_durably({folder / CALIBRATION_NAME: calibration_bytes(calibration)})

    def _observed(self, graph: nn.Module) -> Ranges | None:
        pictures = self._pictures
        if pictures is None:
            return None
        first = self.world.is_first
        return self.world.from_first(
            self.world.together(lambda: observe(graph, partial(pictures.batches, self.tell)) if first else None)
        )


def saved_ranges(ranges: Ranges | None) -> SavedRanges | None:
    """Return ranges as plain values, for a state."""
    return None if ranges is None else msgspec.to_builtins(dict(ranges))


def read_ranges(saved: SavedRanges) -> Ranges:
    """Return what `saved_ranges` was given."""
    return msgspec.convert(saved, type=dict[str, OperatorRanges])
