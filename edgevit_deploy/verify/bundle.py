"""`verify`: prove again, from the bundle alone, that its files are those that were written and compute what they must."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.bundle.folder import open_bundle, read_golden, read_labels
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.data.preprocess import read_inputs
from edgevit_deploy.errors import BundleError, MissingError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.model.loading import LoadedModel
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.parity.bounds import NOISE_CEILING, NOISE_MULTIPLES
from edgevit_deploy.parity.gate import NOT_FINITE, ParityReport, Status, run_in_batches, top_classes
from edgevit_deploy.pipeline import SessionFinder, Step, Workbench, check_artifact, promised_batches

FLOAT32_HALF_ULP = 2.0**-24
"""Golden outputs are float64 rounded to float32: each may be off by this share of itself."""


MAX_AXIS = 2**16
"""No batch, side or class count of a real bundle is larger; a manifest may not make us allocate at will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """How a bundle's file reproduces its golden outputs on this host.

    `file` is the file that ran: the model, or the source that it was built from (status `built, not run`). `substitute` says
    what was executed in place of what the file asks for (then, too, it was not run).
    """

    status: Status
    runtime: str
    file: str
    max_abs: float | None
    atol: float
    substitute: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of verifying one bundle; `parity` is there when the weights were given, `top5` when pictures were."""

    bundle: Path
    manifest: Manifest
    golden: GoldenCheck
    parity: ParityReport | None = None
    top5: dict[str, list[tuple[str, float]]] | None = None

    @property
    def status(self) -> Status:
        """Failed if anything failed; passed only if the model itself ran."""
        statuses = [self.golden.status, *([self.parity.status] if self.parity else [])]
        if "failed" in statuses or self.manifest.parity.status == "failed":
            return "failed"
        return "built, not run" if "built, not run" in statuses else "passed"


def verify(
    bundle: Path,
    find_session: SessionFinder,
    step: Step,
    *,
    model: LoadedModel | None = None,
    pictures: Sequence[Path] = (),
) -> Verification:
    """Re-hash, load, run and compare one bundle; nothing in it is executed but the model file, by its runtime.

    Args:
        bundle: the folder, wherever it is now.
        find_session: finds the runtime of a target on this host.
        step: told the name of each step as it starts.
        model: the weights it was made from, for the whole parity check again.
        pictures: photographs to run to top-5.

    Raises:
        UsageError: not a bundle that this version reads, or weights that are not the bundle's.
        BundleError: a file is missing, changed or unrecorded.
        RunError: the runtime could not load or run the file.
    """
    step("hashing")
    manifest = open_bundle(bundle)
    labels = read_labels(bundle, manifest)
    artifact = artifact_of(bundle, manifest)
    step("replaying the golden inputs")
    golden = check_golden(bundle, manifest, artifact, find_session)
    parity = None
    if model is not None:
        step("checking parity against the weights")
        parity = _check_weights(manifest, artifact, model, find_session)
    top5 = None
    if pictures:
        step("running the pictures")
        top5 = classify_pictures(pictures, manifest, artifact, labels, find_session)
    return Verification(bundle=bundle, manifest=manifest, golden=golden, parity=parity, top5=top5)


def artifact_of(bundle: Path, manifest: Manifest) -> Artifact:
    """Return the artifact of a bundle as its manifest describes it.

    Raises:
        BundleError: a named file is not there.
    """
    source = None
    if manifest.source is not None:
        source = Artifact(
            target=manifest.source.target,
            path=bundle / manifest.source.path,
            inputs=manifest.source.inputs,
            outputs=manifest.source.outputs,
            tools={},
        )
    artifact = Artifact(
        target=manifest.target,
        path=bundle / manifest.path,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        tools=manifest.tools,
        source=source,
    )
    for part in (artifact, source):
        if part is not None and not part.path.exists():
            raise BundleError(f"{part.path} is missing; copy the whole folder again")
        if part is not None and not _is_classifier(part):
            raise UsageError(f"{bundle}: the manifest's inputs and outputs are not those of a classifier; convert again")
    return artifact


def _is_classifier(artifact: Artifact) -> bool:
    shapes = [spec.shape for spec in (*artifact.inputs, *artifact.outputs)]
    sizes = [axis for shape in shapes for axis in shape if isinstance(axis, int)]
    return [len(shape) for shape in shapes] == [4, 2] and all(1 <= size <= MAX_AXIS for size in sizes)


def runnable(artifact: Artifact, find_session: SessionFinder) -> Artifact | None:
    """Return the artifact itself if this host runs it, else its source if this host runs that, else None."""
    if find_session(artifact.target) is not None:
        return artifact
    return runnable(artifact.source, find_session) if artifact.source is not None else None


def check_golden(bundle: Path, manifest: Manifest, artifact: Artifact, find_session: SessionFinder) -> GoldenCheck:
    """Run the golden inputs, at each batch size that the file promises, and compare with the golden outputs."""
    inputs, expected = read_golden(bundle, manifest.golden)
    atol = golden_tolerance(manifest, expected)
    chosen = runnable(artifact, find_session)
    if chosen is None:
        return GoldenCheck(status="built, not run", runtime="none on this host", file="", max_abs=None, atol=atol)
    session_type = find_session(chosen.target)
    if session_type is None:
        raise MissingError(f"no runtime for {chosen.target} on this host; see `convert.py doctor`")
    with session_type(chosen.path, inputs=chosen.inputs, outputs=chosen.outputs) as session:
        errors = [np.abs(run_in_batches(session, inputs, batch) - expected) for batch in promised_batches(chosen)]
        substitute = session.substitute
    largest = float(np.max(errors))
    max_abs = largest if np.isfinite(largest) else NOT_FINITE
    good: Status = "passed" if chosen is artifact and not substitute else "built, not run"
    return GoldenCheck(
        status=good if max_abs <= atol else "failed",
        runtime=session_type.name,
        file=chosen.path.relative_to(bundle).as_posix(),
        max_abs=max_abs,
        atol=atol,
        substitute=substitute,
    )


def golden_tolerance(manifest: Manifest, expected: NDArray[np.float32]) -> float:
    """Return the bound recorded at conversion, but never more than this version's own rules allow for such outputs.

    A bundle may come from anywhere: a manifest that grants itself a wide bound does not get it.
    """
    scale = float(np.abs(expected).max())
    worst = manifest.parity.worst
    recorded = worst.tolerance.atol if worst else 0.0
    multiple = NOISE_MULTIPLES.get((manifest.target, manifest.precision))
    if multiple is None:
        raise UsageError(f"this edgevit-deploy knows no target {manifest.target!r} in {manifest.precision}; upgrade it")
    allowed = multiple.k * NOISE_CEILING[manifest.precision] * scale
    return min(recorded, allowed) + FLOAT32_HALF_ULP * scale


def classify_pictures(
    pictures: Sequence[Path],
    manifest: Manifest,
    artifact: Artifact,
    labels: tuple[str, ...],
    find_session: SessionFinder,
) -> dict[str, list[tuple[str, float]]]:
    """Run photographs through decoding, resize, crop, normalisation and the model; return the top-5 of each by file name.

    Raises:
        MissingError: no runtime of this host runs the bundle's model or its source.
    """
    chosen = runnable(artifact, find_session)
    session_type = find_session(chosen.target) if chosen else None
    if chosen is None or session_type is None:
        raise MissingError(f"no runtime for {artifact.target} on this host, so no picture can be run; see `convert.py doctor`")
    inputs = read_inputs(list(pictures), manifest.preprocess, manifest.input_form)
    with session_type(chosen.path, inputs=chosen.inputs, outputs=chosen.outputs) as session:
        outputs = run_in_batches(session, inputs, promised_batches(chosen)[0])
    return dict(zip((path.name for path in pictures), top_classes(outputs, labels), strict=True))


def _check_weights(manifest: Manifest, artifact: Artifact, model: LoadedModel, find_session: SessionFinder) -> ParityReport:
    check_same_weights(manifest, model)
    truths = Workbench(model).truths(
        model.spec.image_size,
        dynamic_size=isinstance(manifest.inputs[0].shape[2], str),
        input_form=manifest.input_form,
        output_form=manifest.output_form,
        precision=manifest.precision,
    )
    return check_artifact(artifact, truths, promised_batches(artifact), find_session)


def check_same_weights(manifest: Manifest, model: LoadedModel) -> None:
    """Compare a bundle's record of its network and weights with a loaded model's.

    Raises:
        UsageError: they differ.
    """
    if model.record != manifest.model:
        raise UsageError(
            f"these are not the bundle's weights: the bundle is {_describe(manifest.model)}, given is {_describe(model.record)}"
        )


def _describe(record: ModelRecord) -> str:
    weights = f"seed {record.random_seed}" if record.weights_sha256 is None else f"sha256 {record.weights_sha256[:12]}..."
    return f"{record.variant} with {record.num_classes} classes at {record.image_size}, {weights}"
