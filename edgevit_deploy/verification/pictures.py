"""Photographs through a bundle, from the file to the best five classes, a batch at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.data.counting import now_and_then
from edgevit_deploy.data.preprocess import read_inputs
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.parity.gate import run_in_batches, top_classes
from edgevit_deploy.session import Session
from edgevit_deploy.spec import PROGRAM, task_of
from edgevit_deploy.workbench import Host, Step, promised_batches, quiet


def classify_pictures(
    pictures: Sequence[Path],
    manifest: Manifest,
    chosen: Artifact | None,
    labels: tuple[str, ...],
    host: Host,
    step: Step = quiet,
) -> dict[str, list[tuple[str, float]]]:
    """Run photographs through decoding, resize, crop, normalisation and the model; return the top-5 of each by file name.

    One batch of the file's own size is decoded and run at a time, however many pictures there are.

    Args:
        pictures: their files.
        manifest: of the bundle.
        chosen: what this host runs of it, as `runnable` says.
        labels: of its classes.
        host: finds the runtime.
        step: told how far it is.

    Raises:
        UsageError: the bundle's network does not classify, its preprocessing is not for its model, or a picture is bad.
        MissingError: no runtime of this host runs the bundle's model or what it was built from.
    """
    if task_of(manifest.conversion.returns) != "classify":
        raise UsageError(f"--images shows classes, and this bundle returns {manifest.conversion.returns}; drop --images")
    session_type = host.find_session(chosen.target) if chosen else None
    if chosen is None or session_type is None:
        raise MissingError(f"no runtime for {manifest.target} on this host, so no picture can be run; see `{PROGRAM} doctor`")
    batch, (crop_height, crop_width) = promised_batches(chosen)[0], manifest.preprocess.crop
    if not chosen.inputs[0].accepts((batch, 3, crop_height, crop_width)):
        raise UsageError(f"the manifest crops to {crop_height} x {crop_width}, and its model takes another size; convert again")
    tell, top5 = now_and_then(step), dict[str, list[tuple[str, float]]]()
    with session_type(chosen.path, inputs=chosen.inputs, outputs=chosen.outputs) as session:
        for start in range(0, len(pictures), batch):
            tell(f"running the pictures: {start} of {len(pictures)}")
            paths = pictures[start : start + batch]
            outputs = _outputs(paths, manifest, session, batch)
            top5.update(zip((path.name for path in paths), top_classes(outputs, labels), strict=True))
    return top5


def _outputs(paths: Sequence[Path], manifest: Manifest, session: Session, batch: int) -> NDArray[Any]:
    """Run one batch; its inputs are gone when the next is decoded."""
    inputs = read_inputs(paths, manifest.preprocess, manifest.conversion.takes)
    (outputs,) = run_in_batches(session, inputs, batch).values()
    return outputs
