"""`--judge`: pictures kept apart, on which a quantised file must decide as its network does."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.calibration.choice import JudgeChoice
from edgevit_deploy.calibration.source import sha256_of
from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.photographs import find_pictures, stream
from edgevit_deploy.data.preprocess import normalise, read_pixels
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.model.loading import DEFAULT_SEED, LoadedModel
from edgevit_deploy.parity.decisions import NO_CLASS, Decisions, Flipped, Sample, first_classes, widest
from edgevit_deploy.parity.gate import run_in_batches
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Ends, Reference
from edgevit_deploy.session import Session
from edgevit_deploy.spec import Size, task_of

BATCH = 32

FEWEST_DRAWN, MOST_DRAWN = 200, 1000
PIXELS_DRAWN = 300 * 224**2
"""Of all pictures together that a file is evaluated on where nothing here executes it: operator by operator, XXS takes 15 ms for
64 x 64 pixels and 62 ms for 224 x 224, S 81 ms: 15 to 25 s of processor time. From 274 x 274 on it is FEWEST_DRAWN, and the time
grows with the area. 200 of 200 show an agreement of 98.1 %."""

Decided = tuple[int, float]
"""A first class, and by how much it leads the second."""


class Judge:
    """A folder of pictures, what the network says of each, and what it says of a file.

    Args:
        choice: of the user.
        model: the network.
        reference: of the network.
        step: tells how far it is.

    Raises:
        UsageError: no folder of pictures.
    """

    def __init__(self, choice: JudgeChoice, model: LoadedModel, reference: Reference, step: Callable[[str], None]) -> None:
        self._choice, self._model, self._reference, self._step = choice, model, reference, step
        self._folder = find_pictures(Path(choice.pictures), flag="--judge")
        self._probes: dict[str, Probes] = {}
        self._network: dict[int, Decided] = {}  # by position
        self._digests: tuple[str, ...] | None = None

    def check_apart(self, calibration: Sequence[str]) -> None:
        """Refuse pictures by which ranges were observed: a file would be judged on what it was fitted to.

        Raises:
            UsageError: naming one that is in both.
        """
        known = set(calibration)
        for position, digest in enumerate(self.digests()):
            if digest in known:
                raise UsageError(
                    f"--judge {self._choice.pictures}: {self._folder.names[position]} is among the calibration pictures; "
                    "judge on others"
                )

    def digests(self) -> tuple[str, ...]:
        """Return the SHA-256 of each picture."""
        if self._digests is None:
            tell, count = now_and_then(self._step), len(self._folder.names)
            found: list[str] = []
            for path in self._folder.paths:
                tell(f"hashing the pictures of --judge: {len(found)} of {count}")
                found.append(sha256_of(path))
            self._digests = tuple(found)
        return self._digests

    def probes(self, plan: ExportPlan[Any], count: int) -> Probes | None:
        """Return some of the pictures as probes, spread evenly; None where there are fewer, too few for a yardstick."""
        if plan.takes not in self._probes:
            positions, preprocess = self._folder.spread(count), self._model.spec.preprocess
            if len(positions) < count:
                return None
            pixels = np.stack([read_pixels(self._folder.path(position), preprocess) for position in positions])
            names = tuple(self._folder.names[position] for position in positions)
            self._probes[plan.takes] = Probes(names=names, inputs=normalise(pixels, preprocess, plan.takes))
        return self._probes[plan.takes]

    def decide(self, artifact: Artifact, plan: ExportPlan[Any], session_type: type[Session], batch: int) -> Decisions:
        """Run pictures through a file, and through the network those that it has not seen yet.

        Where nothing here executes the file and it is only evaluated, it is some of the pictures, drawn by a seed.

        Raises:
            RunError: the runtime could not load or run the file.
            UsageError: no picture can be decoded, or the network does not classify.
        """
        if task_of(plan.returns) != "classify":
            raise UsageError(f"--judge compares first classes, and this file returns {plan.returns}; drop --judge")
        said: dict[int, Decided] = {}
        positions: Sequence[int] = range(len(self._folder.names))
        if not session_type.executes_target:
            positions = self._folder.drawn(pictures_drawn(plan.image_size), DEFAULT_SEED)
        broken, tell, preprocess = 0, now_and_then(self._step), self._model.spec.preprocess
        with (
            session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session,
            closing(iter(stream(self._folder, preprocess, BATCH, positions))) as batches,
        ):
            for some in batches:
                tell(f"judging decisions: {len(said)} of {len(positions)} pictures")
                broken += len(some.broken)
                if not len(some.positions):
                    continue
                (outputs,) = run_in_batches(session, normalise(some.pixels, preprocess, plan.takes), batch).values()
                self._ask_network(some.positions, some.pixels)
                said.update(_by_position(some.positions, outputs))
        if not said:
            raise UsageError(f"--judge {self._choice.pictures}: no picture can be decoded; give others")
        drawn = Sample(of=len(self._folder.names), seed=DEFAULT_SEED, runtime=session_type.name)
        return self._compared(said, broken, None if session_type.executes_target else drawn)

    def _ask_network(self, positions: NDArray[np.int64], pixels: NDArray[np.uint8]) -> None:
        new = [row for row, position in enumerate(positions.tolist()) if position not in self._network]
        if not new:
            return
        ends = Ends(takes="tensor", returns="logits", outputs=("logits",))
        inputs = normalise(pixels[new], self._model.spec.preprocess, "tensor")
        self._network.update(_by_position(positions[new], self._reference.runner(ends, "fp32")(inputs)["logits"]))

    def _compared(self, said: dict[int, Decided], broken: int, sample: Sample | None) -> Decisions:
        flips = [position for position, (file, _) in said.items() if file != self._network[position][0] or file == NO_CLASS]
        return Decisions(
            pictures=len(said),
            agreeing=len(said) - len(flips),
            min_agreement=self._choice.min_agreement,
            digest=hashlib.sha256("".join(sorted(self.digests())).encode()).hexdigest(),
            broken=broken,
            flips=widest(self._flipped(position, *said[position]) for position in flips),
            network_right=sum(self._network[p][0] == self._labels[p] for p in said) if self._labels else None,
            right=sum(said[p][0] == self._labels[p] for p in said) if self._labels else None,
            sample=sample,
        )

    def _flipped(self, position: int, file: int, lead: float) -> Flipped:
        network, margin = self._network[position]
        return Flipped(
            picture=self._folder.names[position],
            network=network,
            file=file,
            margin=margin,
            file_margin=None if file == NO_CLASS else lead,
            label=self._labels[position] if self._labels else None,
            sha256=self.digests()[position],
        )

    @cached_property
    def _labels(self) -> list[int]:
        """Return the class of each picture by its place in the network's labels; none where the folder does not tell those."""
        names = self._folder.labels
        if self._model.labels_are_placeholders or not names or not set(names) <= set(self._model.labels):
            return []
        place = {label: index for index, label in enumerate(self._model.labels)}
        return [place[name] for name in names]


def pictures_drawn(size: Size) -> int:
    """Return how many pictures of a size a file is evaluated on."""
    return min(max(FEWEST_DRAWN, PIXELS_DRAWN // (size[0] * size[1])), MOST_DRAWN)


def _by_position(positions: NDArray[np.int64], outputs: NDArray[np.floating]) -> dict[int, Decided]:
    first, leads = first_classes(outputs)
    return dict(zip(positions.tolist(), zip(first.tolist(), leads.tolist(), strict=True), strict=True))
