"""The one flow: checkpoint -> prepared module -> exporter -> artifact -> session -> parity -> bundle."""

import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch

from edgevit_deploy.bundle.disk import Needs
from edgevit_deploy.bundle.folder import (
    LABELS_NAME,
    README_NAME,
    record_files,
    write_golden,
    write_manifest,
)
from edgevit_deploy.bundle.manifest import (
    SCHEMA_VERSION,
    BuiltFromRecord,
    ConversionRecord,
    LabelsRecord,
    Manifest,
    ProbesRecord,
    QuantisationRecord,
)
from edgevit_deploy.bundle.place import StagedBundle, staged_bundle
from edgevit_deploy.bundle.readme import bundle_readme
from edgevit_deploy.calibration.record import CALIBRATION_NAME, Calibration, calibration_bytes
from edgevit_deploy.data.photographs import PictureFolder
from edgevit_deploy.errors import DeployError, UsageError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.parity.decisions import Decisions
from edgevit_deploy.parity.gate import ParityReport, Status, Truth
from edgevit_deploy.parity.probes import golden_rows
from edgevit_deploy.spec import BYTES_PER_WEIGHT, VERSION, Precision
from edgevit_deploy.spec.description import Described
from edgevit_deploy.spec.detection import decoding_of
from edgevit_deploy.workbench import Workbench
from edgevit_deploy.workbench.results import Progress, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What one conversion came to: where the bundle is, its manifest, the parity report and what must be known of the model.

    A bundle that failed lies beside its place, as `<target>-<precision>.failed`. `photographs` is what was in the folder of
    pictures, if one was given: at most 32 of its pictures are among the probes.
    """

    bundle: Path
    manifest: Manifest
    report: ParityReport
    model_notes: tuple[str, ...]
    duration_s: float
    photographs: PictureFolder

    @property
    def status(self) -> Status:
        """The status of the comparison, or failed where the decisions were not good enough."""
        return "failed" if self.manifest.verdict == "failed" else self.report.status


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One target in one precision, as `try_convert` left it; without a `conversion` where it was skipped or not built.

    `reason` says why; `extra` is what of this project's extras, beside others, would install what a skipped target needs.
    `worker` is the name of the worker that did it, and empty where this process did.
    """

    target: str
    precision: Precision
    status: Literal["passed", "failed", "built, not run", "skipped"]
    reason: str = ""
    extra: str = ""
    conversion: Conversion | None = None
    worker: str = ""


def convert(workbench: Workbench, plan: ExportPlan[Any], destination: Path) -> Conversion:
    """Convert one model to one target, judge the file and write its bundle.

    Args:
        workbench: with the model.
        plan: what to build; refused before any work if the target cannot.
        destination: the bundle's folder.

    Raises:
        UsageError: refused plan, no photograph that can be read, or the destination cannot be written.
        ExportError: the converter failed.
        RunError: a runtime of this host could not load or run the file.
    """
    exporter, step, start = workbench.host.find_exporter(plan.target), workbench.step, time.monotonic()
    exporter.refuse(plan)
    workbench.check_pictures(plan)
    with staged_bundle(destination, _needs(exporter, plan, workbench.model.record.parameters)) as staged:
        step("exporting")
        artifact = workbench.build(plan, folder=staged.folder)
        step("computing the float64 truth")
        truths = workbench.truths(plan)
        step("checking parity")
        report = workbench.judge(artifact, truths)
        decisions = None if report.status == "failed" else workbench.decide(artifact, plan)
        step("writing the bundle")
        manifest = _write_bundle(staged, workbench, plan, artifact, truths[0], Judged(report=report, decisions=decisions))
        bundle = staged.publish_failed() if manifest.verdict == "failed" else staged.publish()
    return Conversion(
        bundle=bundle,
        manifest=manifest,
        report=report,
        model_notes=workbench.model.notes,
        duration_s=time.monotonic() - start,
        photographs=workbench.photographs,
    )


def try_convert(workbench: Workbench, plan: ExportPlan[Any], destination: Path, progress: Progress = silent) -> Attempt:
    """Convert as `convert` does, where the target can; what stands in the way becomes the reason.

    Args:
        workbench: with the model.
        plan: what to build.
        destination: the bundle's folder.
        progress: shows each step, once it is known that the target can.

    Raises:
        UsageError: the destination cannot be written, or no photograph can be read; that would be so for every other target too.
    """
    exporter, target, precision = workbench.host.find_exporter(plan.target), plan.target, plan.precision
    availability = exporter.probe()
    if not availability.ok:
        reason = f"{availability.detail}; {availability.fix}"
        extra = exporter.extra if exporter.in_all else None
        return Attempt(target=target, precision=precision, status="skipped", reason=reason, extra=extra or "")
    try:
        exporter.refuse(plan)
    except UsageError as error:
        return Attempt(target=target, precision=precision, status="skipped", reason=str(error))
    with progress(f"{target} {precision}") as workbench.step:
        try:
            conversion = convert(workbench, plan, destination)
        except UsageError:
            raise
        except DeployError as error:
            return Attempt(target=target, precision=precision, status="failed", reason=str(error))
    return Attempt(target=target, precision=precision, status=conversion.status, conversion=conversion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found out about a file: its errors, and where it was judged by them, its decisions."""

    report: ParityReport
    decisions: Decisions | None


def _write_bundle(
    staged: StagedBundle,
    workbench: Workbench,
    plan: ExportPlan[Any],
    artifact: Artifact,
    truth: Truth,
    judged: Judged,
) -> Manifest:
    folder, model, exporter = staged.folder, workbench.model, workbench.host.find_exporter(plan.target)
    said, head = exporter.description(artifact), model.spec.head
    graph_notes = (workbench.deploy_form(plan.form).note(),) if plan.graph == "deploy" else ()
    (folder / LABELS_NAME).write_text("".join(f"{label}\n" for label in model.labels), encoding="utf-8")
    rows = np.arange(golden_rows(plan.batch, [outputs[:1].size for outputs in truth.outputs.values()])) % len(truth.probes.names)
    golden = write_golden(
        folder,
        tuple(truth.probes.names[row] for row in rows),
        truth.probes.inputs[rows],
        {name: outputs[rows] for name, outputs in truth.outputs.items()},
    )
    calibration = workbench.rounded.calibration(plan)
    if calibration is not None:
        (folder / CALIBRATION_NAME).write_bytes(calibration_bytes(calibration))
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        target=artifact.target,
        precision=plan.precision,
        path=artifact.path.relative_to(folder).as_posix(),
        files=(),
        model=model.record,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        preprocess=model.spec.preprocess,
        labels=LabelsRecord(path=LABELS_NAME, count=len(model.labels), placeholders=model.labels_are_placeholders),
        golden=golden,
        conversion=conversion_record(plan),
        options=recorded_options(plan.options),
        tools=dict(sorted({**_own_tools(), **artifact.tools}.items())),
        parity=judged.report,
        operators=artifact.operators,
        placements=artifact.placements,
        facts=msgspec.to_builtins(artifact.facts),
        notes=model.notes + graph_notes + rounding_notes(plan, calibration) + artifact.notes,
        built_from=_built_from(artifact, folder),
        probes=_probes_record(workbench, plan) if plan.scheme is None else None,
        quantisation=_quantisation_record(workbench, plan, calibration),
        decisions=judged.decisions,
        described=None if said is None else Described.by(said),
        decoding=decoding_of(head.anchors, plan.image_size) if plan.returns == "detections" and head else None,
    )
    (folder / README_NAME).write_text(bundle_readme(manifest, exporter.usage), encoding="utf-8")
    manifest = replace(manifest, files=record_files(folder))
    write_manifest(folder, manifest)
    return manifest


def _needs(exporter: Exporter[Any], plan: ExportPlan[Any], parameters: int) -> Needs:
    """Return what a bundle takes of the disk."""
    return Needs(
        kept_bytes=BYTES_PER_WEIGHT[plan.precision] * parameters,
        passing_bytes=exporter.copies_on_disk * BYTES_PER_WEIGHT["fp32"] * parameters,
    )


def conversion_record(plan: ExportPlan[Any]) -> ConversionRecord:
    """Return what is common to all targets of a conversion as it was decided, for the manifest."""
    return ConversionRecord(
        batch="dynamic" if plan.dynamic_batch else plan.batch,
        image_size="dynamic" if plan.dynamic_size else plan.image_size,
        takes=plan.takes,
        returns=plan.returns,
        graph=plan.graph,
        form=plan.form.choices() if plan.graph == "deploy" else None,
    )


def _probes_record(workbench: Workbench, plan: ExportPlan[Any]) -> ProbesRecord:
    """Return what is compared at the model's own size."""
    size, sets = workbench.model.spec.image_size, workbench.probe_sets
    photographs = len(workbench.photographs_at(size))
    return ProbesRecord(
        synthetic=len(sets.given(size, plan.takes).names) - photographs,
        photographs=photographs,
        noisiest=len(sets.noisiest(size, plan.takes).names) if plan.precision == "fp32" else 0,
    )


def _quantisation_record(
    workbench: Workbench, plan: ExportPlan[Any], calibration: Calibration | None
) -> QuantisationRecord | None:
    if plan.scheme is None:
        return None
    place = CALIBRATION_NAME if calibration else None
    return QuantisationRecord(scheme=plan.scheme, calibration=place, sqnr_db=workbench.rounded.losses(plan))


def rounding_notes(plan: ExportPlan[Any], calibration: Calibration | None) -> tuple[str, ...]:
    """Say of a quantised file what its weights and activations are."""
    if plan.scheme is None:
        return ()
    return (plan.scheme.sentence(), *((calibration.sentence(),) if calibration else ()))


def recorded_options(options: Any) -> dict[str, Any]:
    """Return a target's own options as they were used; of a file only the name, so that no machine path is recorded."""
    return {name: value.name if isinstance(value, Path) else value for name, value in asdict(options).items()}


def _own_tools() -> dict[str, str]:
    return {"edgevit-deploy": VERSION, "python": platform.python_version(), "torch": str(torch.__version__)}


def _built_from(artifact: Artifact, folder: Path) -> BuiltFromRecord | None:
    origin = artifact.built_from
    if origin is None:
        return None
    path = origin.path.relative_to(folder).as_posix()
    return BuiltFromRecord(target=origin.target, path=path, inputs=origin.inputs, outputs=origin.outputs)
