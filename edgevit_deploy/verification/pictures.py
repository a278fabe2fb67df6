"""Photographs through a bundle, from the file to the best five classes, a batch at a time."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.photographs import PictureFolder, stream
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.parity.gate import run_in_batches, top_classes
from edgevit_deploy.spec import PROGRAM, task_of
from edgevit_deploy.workbench import Host, Step, promised_batches, quiet

Top5 = dict[str, list[tuple[str, float]]]
"""Of each picture, by its name in the folder: label and value, the best first; nothing where an output is not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What a bundle sees in a folder of pictures.

    Attributes:
        top5: of each picture that could be read.
        right: how many have the class of their folder first; None where the folders tell none, or not the bundle's.
        photographs: the folder, with what is broken passed over.
    """

    top5: Top5
    right: int | None
    photographs: PictureFolder


def classify_pictures(
    photographs: PictureFolder,
    manifest: Manifest,
    chosen: Artifact | None,
    labels: tuple[str, ...],
    host: Host,
    step: Step = quiet,
) -> Classified:
    """Run photographs through decoding, resize, crop, normalisation and the model.

    One batch of the file's own size is decoded and run at a time, however many pictures there are.

    Args:
        photographs: the folder.
        manifest: of the bundle.
        chosen: what this host runs of it, as `runnable` says.
        labels: of its classes.
        host: finds the runtime.
        step: told how far it is.

    Raises:
        UsageError: the bundle's network does not classify, its preprocessing is not for its model, no picture can be read, or one
            cannot where none may be passed over.
        MissingError: no runtime of this host runs the bundle's model or what it was built from.
    """
    if task_of(manifest.conversion.returns) != "classify":
        raise UsageError(f"--images shows classes, and this bundle returns {manifest.conversion.returns}; drop --images")
    session_type = host.find_session(chosen.target) if chosen else None
    if chosen is None or session_type is None:
        raise MissingError(f"no runtime for {manifest.target} on this host, so no picture can be run; see `{PROGRAM} doctor`")
    size, (crop_height, crop_width) = promised_batches(chosen)[0], manifest.preprocess.crop
    if not chosen.inputs[0].accepts((size, 3, crop_height, crop_width)):
        raise UsageError(f"the manifest crops to {crop_height} x {crop_width}, and its model takes another size; convert again")
    tell, top5, count = now_and_then(step), Top5(), len(photographs.names)
    broken: list[PassedOver] = []
    with (
        session_type(chosen.path, inputs=chosen.inputs, outputs=chosen.outputs) as session,
        closing(iter(stream(photographs, manifest.preprocess, size))) as batches,
    ):
        for batch in batches:
            tell(f"running the pictures: {len(top5) + len(broken)} of {count}")
            broken += batch.broken
            if len(batch.positions):
                inputs = normalise(batch.pixels, manifest.preprocess, manifest.conversion.takes)
                (outputs,) = run_in_batches(session, inputs, size).values()
                names = (photographs.names[position] for position in batch.positions.tolist())
                top5.update(zip(names, top_classes(outputs, labels), strict=True))
    readable = photographs.without(broken)
    return Classified(top5=top5, right=_right(top5, readable, labels), photographs=readable)


def _right(top5: Top5, photographs: PictureFolder, labels: Sequence[str]) -> int | None:
    if not photographs.labels or not set(photographs.labels) <= set(labels):
        return None
    firsts = [[first for first, _ in top5[name][:1]] for name in photographs.names]
    return sum(first == [label] for first, label in zip(firsts, photographs.labels, strict=True))
