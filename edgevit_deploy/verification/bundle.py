"""`verify`: prove again, from the bundle alone, that its files are those that were written and compute what they must."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevit_deploy.bundle.folder import open_bundle, read_golden, read_labels, recorded_path
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.errors import BundleError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.model.loading import LoadedModel
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.parity.bounds import NOISE_CEILING, NoiseMultiple
from edgevit_deploy.parity.gate import NOT_FINITE, ParityReport, Status, run_in_batches
from edgevit_deploy.parity.reference import Ends
from edgevit_deploy.spec import TensorSpec, second_size, task_of
from edgevit_deploy.verification.layers import LayerReport, check_layers
from edgevit_deploy.verification.pictures import Top5, classify_pictures
from edgevit_deploy.verification.replan import plan_of
from edgevit_deploy.workbench import Host, Step, Workbench, promised_batches, quiet

FLOAT32_HALF_ULP = 2.0**-24
"""Golden outputs are float64 rounded to float32: each may be off by this share of itself."""


MAX_GOLDEN = 1e6
"""No output of a network that anyone serves is larger: half precision ends at 65504. The bound grows with the outputs."""


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
    """The result of verifying one bundle.

    `parity` is there when the weights were given, `layers` when they were asked for, `top5` when pictures were given, and `right`
    when their folders tell the bundle's classes: how many have theirs first. `photographs` is what was in the folder.
    """

    bundle: Path
    manifest: Manifest
    golden: GoldenCheck
    parity: ParityReport | None = None
    layers: LayerReport | None = None
    top5: Top5 | None = None
    right: int | None = None
    photographs: PictureFolder = NO_PICTURES

    @property
    def passed_over(self) -> tuple[PassedOver, ...]:
        """What was in the folder of pictures and was not run."""
        return self.photographs.passed_over

    @property
    def status(self) -> Status:
        """Failed if the bundle failed anything; passed only if the model itself ran. Layers are of another file."""
        statuses = [self.golden.status, *([self.parity.status] if self.parity else [])]
        if "failed" in statuses or self.manifest.parity.verdict == "failed":
            return "failed"
        return "built, not run" if "built, not run" in statuses else "passed"


def verify(
    bundle: Path,
    host: Host,
    step: Step = quiet,
    *,
    workbench: Workbench | None = None,
    layers: bool = False,
    pictures: PictureFolder = NO_PICTURES,
) -> Verification:
    """Re-hash, load, run and compare one bundle; nothing in it is executed but the model file, by its runtime.

    Args:
        bundle: the folder, wherever it is now.
        host: finds exporters and runtimes.
        step: told the name of each step as it starts.
        workbench: with the weights that it was made from, for the whole parity check again.
        layers: convert the graph once more with taps and compare each; needs a workbench.
        pictures: photographs to run to top-5.

    Raises:
        UsageError: not a bundle that this version reads, weights that are not the bundle's, or a bad picture.
        BundleError: a file is missing, changed or unrecorded.
        RunError: the runtime could not load or run the file.
    """
    step("hashing")
    manifest = open_bundle(bundle)
    labels = read_labels(bundle, manifest)
    artifact = artifact_of(bundle, manifest)
    step("replaying the golden inputs")
    golden = check_golden(bundle, manifest, artifact, host)
    parity = report = seen = None
    if workbench is not None:
        check_same_weights(manifest, workbench.model)
        if layers and manifest.conversion.returns == "logits":
            step("computing the float64 truth")
            workbench.published_taps(manifest.conversion.takes)  # the whole file's truth is among them: one run for both
        step("checking parity against the weights")
        parity = check_weights(manifest, artifact, workbench)
        if layers:
            report = check_layers(workbench, plan_of(manifest, workbench.model, host.find_exporter(manifest.target)))
    if pictures.names:
        seen = classify_pictures(pictures, manifest, runnable(artifact, host), labels, host, step)
    return Verification(
        bundle=bundle,
        manifest=manifest,
        golden=golden,
        parity=parity,
        layers=report,
        top5=seen.top5 if seen else None,
        right=seen.right if seen else None,
        photographs=seen.photographs if seen else NO_PICTURES,
    )


def artifact_of(bundle: Path, manifest: Manifest) -> Artifact:
    """Return the artifact of a bundle as its manifest describes it.

    Raises:
        BundleError: a named file is not there, or not recorded.
        UsageError: inputs and outputs that are not those of the manifest's task.
    """
    built_from = None
    if manifest.built_from is not None:
        built_from = Artifact(
            target=manifest.built_from.target,
            path=recorded_path(bundle, manifest, manifest.built_from.path),
            inputs=manifest.built_from.inputs,
            outputs=manifest.built_from.outputs,
            tools={},
        )
    artifact = Artifact(
        target=manifest.target,
        path=recorded_path(bundle, manifest, manifest.path),
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        tools=manifest.tools,
        built_from=built_from,
    )
    ranks = ([4], [2]) if task_of(manifest.conversion.returns) == "classify" else ([4], [4] * len(manifest.outputs))
    golden = {array.name: array.shape for array in (manifest.golden.input, *manifest.golden.outputs)}
    for part in (artifact, built_from):
        if part is not None and (
            (_ranks(part.inputs), _ranks(part.outputs)) != ranks or not _answer(golden, (*part.inputs, *part.outputs))
        ):
            raise UsageError(
                f"{bundle}: the manifest's inputs and outputs are not those of a network that returns "
                f"{manifest.conversion.returns}; convert again"
            )
    return artifact


def _answer(golden: Mapping[str, tuple[int, ...]], specs: Sequence[TensorSpec]) -> bool:
    """Say whether there are golden data for each input and output, of its shape but for the batch, and no others."""
    return [spec.name for spec in specs] == list(golden) and all(
        replace(spec, shape=("batch", *spec.shape[1:])).accepts(golden[spec.name]) for spec in specs
    )


def _ranks(specs: tuple[TensorSpec, ...]) -> list[int]:
    """Return the number of axes of each."""
    return [len(spec.shape) for spec in specs]


def runnable(artifact: Artifact, host: Host) -> Artifact | None:
    """Return the artifact itself if this host runs it, else what it was built from if this host runs that, else None."""
    if host.find_session(artifact.target) is not None:
        return artifact
    return runnable(artifact.built_from, host) if artifact.built_from is not None else None


def check_golden(bundle: Path, manifest: Manifest, artifact: Artifact, host: Host) -> GoldenCheck:
    """Run the golden inputs, at each batch size that the file promises, and compare with the golden outputs.

    Raises:
        BundleError: golden data that cannot be read, or that are too large to prove anything.
        RunError: the runtime could not load or run the file.
    """
    inputs, expected = read_golden(bundle, manifest)
    for name, values in expected.items():
        if (largest := float(np.abs(values).max())) > MAX_GOLDEN:
            raise BundleError(f"{bundle}: its golden {name} reach {largest:.2g}, and no bound can grow with that; convert again")
    bounds = golden_bounds(manifest, expected, host)
    chosen = runnable(artifact, host)
    session_type = host.find_session(chosen.target) if chosen else None
    if chosen is None or session_type is None:
        atol = next(iter(bounds.values()))
        return GoldenCheck(status="built, not run", runtime="none on this host", file="", max_abs=None, atol=atol)
    with session_type(chosen.path, inputs=chosen.inputs, outputs=chosen.outputs) as session:
        errors = dict.fromkeys(expected, 0.0)
        for batch in promised_batches(chosen):
            for name, outputs in run_in_batches(session, inputs, batch).items():
                errors[name] = max(errors[name], _largest_error(outputs, expected[name]))
        substitute = session.substitute
    worst = max(errors, key=lambda name: (errors[name] > bounds[name], errors[name]))
    good: Status = "passed" if chosen is artifact and not substitute else "built, not run"
    return GoldenCheck(
        status=good if errors[worst] <= bounds[worst] else "failed",
        runtime=session_type.name,
        file=chosen.path.relative_to(bundle).as_posix(),
        max_abs=errors[worst],
        atol=bounds[worst],
        substitute=substitute,
    )


def _largest_error(outputs: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference; anything that is not finite, on either side, is the largest number there is."""
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(outputs - expected).max())
    return largest if np.isfinite(largest) else NOT_FINITE


def golden_bounds(manifest: Manifest, expected: Mapping[str, NDArray[np.float32]], host: Host) -> dict[str, float]:
    """Return, for each output, the bound recorded for the given probes, but never more than this version's own rules allow.

    Golden inputs are some of these probes, so the wider bound for other pictures is not theirs.
    A bundle may come from anywhere: a manifest that grants itself a wide bound does not get it.

    Raises:
        UsageError: a target or a precision that this version does not have.
    """
    bounds = {}
    for name, values in expected.items():
        given = manifest.parity.given(name, manifest.model.image_size)
        recorded = given[0].tolerance.atol if given else 0.0
        bounds[name] = min(recorded, most_allowed(manifest, values, host)) + FLOAT32_HALF_ULP * float(np.abs(values).max())
    return bounds


def most_allowed(manifest: Manifest, values: NDArray[np.float32], host: Host) -> float:
    """Return the widest bound that this version allows a bundle whose golden outputs are these.

    Raises:
        UsageError: a target or a precision that this version does not have.
    """
    return bound_of(manifest, host).k * NOISE_CEILING[manifest.precision] * float(np.abs(values).max())


def bound_of(manifest: Manifest, host: Host) -> NoiseMultiple:
    """Return the multiple of noise that this version allows a bundle's target in its precision.

    Raises:
        UsageError: a target or a precision that this version does not have.
    """
    unknown = f"this edgevit-deploy knows no target {manifest.target!r} in {manifest.precision}; upgrade it"
    try:
        precisions = host.find_exporter(manifest.target).precisions
    except UsageError as error:
        raise UsageError(unknown) from error
    if manifest.precision not in precisions:
        raise UsageError(unknown)
    return precisions[manifest.precision]


def check_weights(manifest: Manifest, artifact: Artifact, workbench: Workbench) -> ParityReport:
    """Compare a bundle's file with what its weights give, as at conversion."""
    size = workbench.model.spec.image_size
    dynamic = manifest.conversion.image_size == "dynamic"
    ends = Ends(
        takes=manifest.conversion.takes,
        returns=manifest.conversion.returns,
        outputs=tuple(spec.name for spec in manifest.outputs),
    )
    truths = workbench.truths_at([size, second_size(size)] if dynamic else [size], ends, manifest.precision)
    return workbench.judge(artifact, truths)


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
