"""The one flow: checkpoint -> prepared module -> exporter -> artifact -> session -> parity -> bundle."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from edgevit_deploy import __version__
from edgevit_deploy.bundle.folder import (
    LABELS_NAME,
    README_NAME,
    StagedBundle,
    record_files,
    staged_bundle,
    write_golden,
    write_manifest,
)
from edgevit_deploy.bundle.manifest import SCHEMA_VERSION, LabelsRecord, Manifest, SourceRecord
from edgevit_deploy.bundle.readme import bundle_readme
from edgevit_deploy.data.preprocess import read_inputs
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import DeployForm, to_deploy_form
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.model.loading import DEFAULT_SEED, LoadedModel
from edgevit_deploy.parity.gate import ParityReport, Truth, check_session
from edgevit_deploy.parity.probes import GOLDEN_PROBES, Probes, make_probes
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.session import Session
from edgevit_deploy.spec import DYNAMIC_BATCHES, Graph, InputForm, OutputForm, Precision, Size, second_size

Step = Callable[[str], None]

SessionFinder = Callable[[str], type[Session] | None]
"""Target -> the runtime that reads its files on this host, or None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What one conversion came to: where the bundle is, its manifest and the parity report.

    A bundle that failed parity lies beside its place, as `<target>-<precision>.failed`.
    """

    bundle: Path
    manifest: Manifest
    report: ParityReport


class Workbench:
    """One loaded model with its probes and truths, shared by every target that is converted from it.

    Args:
        model: the loaded network.
        photographs: picture files that join the probes.
    """

    def __init__(self, model: LoadedModel, photographs: Sequence[Path] = ()) -> None:
        self.model = model
        self.reference = Reference(model.network, model.spec.preprocess)
        self.photographs = tuple(photographs)
        self._probes: dict[tuple[Size, InputForm], Probes] = {}
        self._forms: dict[Form, DeployForm] = {}

    def network(self, graph: Graph, form: Form) -> nn.Module:
        """Return the network as it is exported: the original, or rewritten to a form; the truth is always the original's."""
        return self.deploy_form(form).network if graph == "deploy" else self.model.network

    def deploy_form(self, form: Form) -> DeployForm:
        """Return the network rewritten to a form, made once for each."""
        if form not in self._forms:
            self._forms[form] = to_deploy_form(self.model.network, form)
        return self._forms[form]

    def probes(self, size: Size, input_form: InputForm) -> Probes:
        """Return the probes of a size, the same object each time; photographs join at the model's own size."""
        key = (size, input_form)
        if key not in self._probes:
            preprocess = self.model.spec.preprocess
            probes = make_probes(size, preprocess, input_form, DEFAULT_SEED)
            if self.photographs and size == self.model.spec.image_size:
                names = tuple(path.name for path in self.photographs)
                probes = probes.join(names, read_inputs(list(self.photographs), preprocess, input_form))
            self._probes[key] = probes
        return self._probes[key]

    def truths_of(self, plan: ExportPlan[Any], output_form: OutputForm) -> list[Truth]:
        """Return the truth that a file of this plan is compared with, at each size that it promises."""
        return self.truths(
            plan.image_size,
            dynamic_size=plan.dynamic_size,
            input_form=plan.input_form,
            output_form=output_form,
            precision=plan.precision,
        )

    def truths(
        self,
        image_size: Size,
        *,
        dynamic_size: bool,
        input_form: InputForm,
        output_form: OutputForm,
        precision: Precision,
    ) -> list[Truth]:
        """Return the truth at one size and, when the size is dynamic, at a second one that is not square."""
        sizes = [image_size, second_size(image_size)] if dynamic_size else [image_size]
        return [self.reference.truth(self.probes(size, input_form), input_form, output_form, precision) for size in sizes]


def convert(
    bench: Workbench,
    exporter: Exporter[Any],
    plan: ExportPlan[Any],
    destination: Path,
    find_session: SessionFinder,
    step: Step,
) -> Conversion:
    """Convert one model to one target, judge the file and write its bundle.

    Args:
        bench: the model and its truths.
        exporter: of the target.
        plan: what to build; refused before any work if the target cannot.
        destination: the bundle's folder.
        find_session: finds the runtime of a target on this host.
        step: told the name of each step as it starts.

    Raises:
        UsageError: refused plan, or the destination cannot be written.
        ExportError: the converter failed.
        RunError: a runtime of this host could not load or run the file.
    """
    exporter.refuse(plan)
    with staged_bundle(destination) as staged:
        step("exporting")
        artifact = export(bench, exporter, plan, staged.folder)
        step("computing the float64 truth")
        truths = bench.truths_of(plan, exporter.output_form(plan.options))
        step("checking parity")
        report = check_artifact(artifact, truths, promised_batches(artifact), find_session)
        step("writing the bundle")
        manifest = _write_bundle(staged, bench, exporter, plan, artifact, truths[0], report)
        bundle = staged.publish_failed() if report.status == "failed" else staged.publish()
    return Conversion(bundle=bundle, manifest=manifest, report=report)


def export(bench: Workbench, exporter: Exporter[Any], plan: ExportPlan[Any], folder: Path) -> Artifact:
    """Write the file of a plan, in the graph and form it asks for; raises what the exporter raises."""
    network, output_form = bench.network(plan.graph, plan.form), exporter.output_form(plan.options)
    module = prepare(network, bench.model.spec.preprocess, plan.input_form, output_form, torch.float32)
    return exporter.export(module, plan, folder)


def promised_batches(artifact: Artifact) -> tuple[int, ...]:
    """Return the batch sizes at which a file must be right: its own, or two where the batch is free."""
    batch = artifact.inputs[0].shape[0]
    return (batch,) if isinstance(batch, int) else DYNAMIC_BATCHES


def check_artifact(
    artifact: Artifact, truths: Sequence[Truth], batches: Sequence[int], find_session: SessionFinder
) -> ParityReport:
    """Run an artifact on this host's runtime and compare; where none can run it, check its source instead and say so."""
    session_type = find_session(artifact.target)
    if session_type is not None:
        with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
            return check_session(session, truths, artifact.target, batches)
    if artifact.source is None:
        return ParityReport(status="built, not run", runtime="none on this host", diffs=(), instead="nothing")
    judged = check_artifact(artifact.source, truths, batches, find_session)
    name = artifact.source.path.name
    if judged.status == "passed":
        instead = f"{name}, from which it was built, passed on {judged.runtime}"
        return ParityReport(status="built, not run", runtime="none on this host", diffs=judged.diffs, instead=instead)
    instead = f"{name}, from which it was built: {judged.status} on {judged.runtime}"
    return ParityReport(status=judged.status, runtime=judged.runtime, diffs=judged.diffs, instead=instead)


def _write_bundle(
    staged: StagedBundle,
    bench: Workbench,
    exporter: Exporter[Any],
    plan: ExportPlan[Any],
    artifact: Artifact,
    truth: Truth,
    report: ParityReport,
) -> Manifest:
    folder, model = staged.folder, bench.model
    graph_notes = (bench.deploy_form(plan.form).note(),) if plan.graph == "deploy" else ()
    (folder / LABELS_NAME).write_text("".join(f"{label}\n" for label in model.labels), encoding="utf-8")
    golden_rows = np.arange(-(-GOLDEN_PROBES // plan.batch) * plan.batch) % len(truth.probes.names)
    golden = write_golden(
        folder,
        tuple(truth.probes.names[row] for row in golden_rows),
        truth.probes.inputs[golden_rows],
        truth.outputs[golden_rows],
    )
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        target=artifact.target,
        precision=plan.precision,
        graph=plan.graph,
        path=artifact.path.relative_to(folder).as_posix(),
        files=(),
        model=model.record,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        input_form=plan.input_form,
        output_form=exporter.output_form(plan.options),
        preprocess=model.spec.preprocess,
        labels=LabelsRecord(path=LABELS_NAME, count=len(model.labels), placeholders=model.labels_are_placeholders),
        golden=golden,
        options=resolved_options(plan),
        tools=dict(sorted({**_own_tools(), **artifact.tools}.items())),
        parity=report,
        facts=msgspec.to_builtins(artifact.facts),
        notes=model.notes + graph_notes + artifact.notes,
        source=_source_record(artifact, folder),
    )
    (folder / README_NAME).write_text(bundle_readme(manifest, exporter.usage), encoding="utf-8")
    manifest = replace(manifest, files=record_files(folder))
    write_manifest(folder, manifest)
    return manifest


def resolved_options(plan: ExportPlan[Any]) -> dict[str, Any]:
    """Return every setting of a conversion as it was used; of a file only the name, so that no machine path is recorded."""
    own = {name: value.name if isinstance(value, Path) else value for name, value in asdict(plan.options).items()}
    common = {
        "batch": "dynamic" if plan.dynamic_batch else plan.batch,
        "image_size": "dynamic" if plan.dynamic_size else plan.image_size,
        "input": plan.input_form,
        "precision": plan.precision,
    }
    form = {"form": plan.form.choices()} if plan.graph == "deploy" else {}
    return {**common, **form, **own}


def _own_tools() -> dict[str, str]:
    return {"edgevit-deploy": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}


def _source_record(artifact: Artifact, folder: Path) -> SourceRecord | None:
    source = artifact.source
    if source is None:
        return None
    path = source.path.relative_to(folder).as_posix()
    return SourceRecord(target=source.target, path=path, inputs=source.inputs, outputs=source.outputs)
