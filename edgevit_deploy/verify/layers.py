"""Parity by layer: the graph of a bundle, written once more with taps, run on the target's runtime, each tap against float64."""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.exporter import Exporter, ExportPlan
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.model.loading import LoadedModel
from edgevit_deploy.parity.gate import OutputDiff, Truth, compare, run_in_batches
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.parity.reference import Arithmetic, Reference
from edgevit_deploy.parity.taps import Tap, TappedNetwork
from edgevit_deploy.pipeline import SessionFinder, Step, Workbench, promised_batches
from edgevit_deploy.spec import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDiff:
    """One tap's comparison; `scale` is the largest true value there."""

    tap: Tap
    scale: float
    diff: OutputDiff


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """Every tap in the order of computation, as the runtime computed it.

    `substitute` says what was executed in place of what the file asks for, as `session.Session` has it.
    """

    runtime: str
    layers: tuple[LayerDiff, ...]
    substitute: str = ""

    @property
    def first_failed(self) -> LayerDiff | None:
        """The first tap out of tolerance: what was computed since the tap before is at fault."""
        return next((layer for layer in self.layers if not layer.diff.ok), None)

    @property
    def ok(self) -> bool:
        """Whether every tap is within its tolerance."""
        return self.first_failed is None


def plan_of(manifest: Manifest, model: LoadedModel, exporter: Exporter[Any]) -> ExportPlan[Any]:
    """Return the conversion that made a bundle, for one image size; a file named in its options (a cache) is left out.

    Raises:
        UsageError: options that this version does not have.
    """
    recorded, kinds = manifest.options, get_type_hints(exporter.options_type)
    own = {name: recorded[name] for name, kind in kinds.items() if name in recorded and Path not in get_args(kind)}
    try:
        options = msgspec.convert(own, type=exporter.options_type)
    except msgspec.ValidationError as error:
        raise UsageError(f"the manifest's options are not this version's ({error}); convert again") from error
    batch = manifest.inputs[0].shape[0]
    return ExportPlan(
        spec=model.spec,
        precision=manifest.precision,
        batch=batch if isinstance(batch, int) else 1,
        dynamic_batch=not isinstance(batch, int),
        image_size=model.spec.image_size,
        dynamic_size=False,
        graph=graph_of(manifest),
        form=form_of(manifest),
        input_form=manifest.input_form,
        labels=(),
        options=options,
    )


def graph_of(manifest: Manifest) -> Graph:
    """Return which graph a bundle's file was written from; a manifest's own word is text, whatever it says."""
    return "original" if manifest.graph == "original" else "deploy"


def form_of(manifest: Manifest) -> Form:
    """Return the form in which a bundle's deploy graph was written; the default one for an original graph.

    Raises:
        UsageError: parts or choices that this version does not have.
    """
    try:
        return Form.read(msgspec.convert(manifest.options.get("form", {}), type=dict[str, str]))
    except msgspec.ValidationError as error:
        raise UsageError(f"the manifest's form is not one of this version's ({error}); convert again") from error


def check_layers(
    bench: Workbench,
    exporter: Exporter[Any],
    plan: ExportPlan[Any],
    find_session: SessionFinder,
    folder: Path,
    step: Step,
) -> LayerReport:
    """Convert the tapped graph as planned, run it on this host, and compare every tap with float64.

    A tap that the published graph shares is compared with that graph, so a wrong rewrite shows too; any other with the float64
    run of the exported graph itself. Each bound is the target's multiple of PyTorch's own noise at that tap.

    Args:
        bench: the model.
        exporter: of the target.
        plan: the conversion to look into, at one image size.
        find_session: finds the runtime of a target on this host.
        folder: scratch space for the file.
        step: told the name of each step as it starts.

    Raises:
        UsageError: a file that returns probabilities.
        MissingError: no runtime of this host runs the target's files.
        ExportError: the converter cannot convert the tapped graph.
        RunError: the runtime cannot load or run it.
    """
    session_type = find_session(exporter.target)
    if session_type is None:
        raise MissingError(f"nothing here runs {exporter.target} files, so layers cannot be checked; see `convert.py doctor`")
    if exporter.output_form(plan.options) != "logits":
        raise UsageError("taps need a file that returns logits; convert without the classifier and check that bundle's layers")
    network = TappedNetwork(bench.network(plan.graph, plan.form), plan.graph)
    taps = network.taps(plan.image_size)
    step(f"converting with {len(taps)} taps")
    wide = replace(plan, spec=replace(plan.spec, num_classes=sum(tap.values for tap in taps)), labels=())
    module = prepare(network, bench.model.spec.preprocess, plan.input_form, "logits", torch.float32)
    artifact = exporter.export(module, wide, folder)
    step("computing the float64 truth of every tap")
    probes = bench.probes(plan.image_size, plan.input_form)
    truths = _truths(bench, plan, network, taps, probes)
    step(f"running on {session_type.name}")
    batch = promised_batches(artifact)[0]
    with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        outputs = _by_tap(run_in_batches(session, probes.inputs, batch), taps)
        substitute = session.substitute
    layers = [
        LayerDiff(
            tap=tap,
            scale=float(np.abs(truths[tap.name].outputs).max()),
            diff=compare(outputs[tap.name], truths[tap.name], exporter.target, batch),
        )
        for tap in taps
    ]
    return LayerReport(runtime=session_type.name, layers=tuple(layers), substitute=substitute)


def _truths(
    bench: Workbench, plan: ExportPlan[Any], network: TappedNetwork, taps: tuple[Tap, ...], probes: Probes
) -> dict[str, Truth]:
    """Return the truth and the noise of each tap; the published graph's truth where it has the same tap."""

    def outputs(tapped: TappedNetwork, arithmetic: Arithmetic) -> dict[str, NDArray[np.float64]]:
        judge = Reference(tapped, bench.model.spec.preprocess)
        return _by_tap(judge.outputs(probes, plan.input_form, "logits", arithmetic), tapped.taps(plan.image_size))

    exact, own = outputs(network, "fp64"), outputs(network, plan.precision)
    published = exact if plan.graph == "original" else outputs(TappedNetwork(bench.model.network, "original"), "fp64")
    return {
        tap.name: Truth(
            probes=probes,
            outputs=published[tap.name] if tap.shared else exact[tap.name],
            noise=float(np.abs(own[tap.name] - exact[tap.name]).max()),
            precision=plan.precision,
        )
        for tap in taps
    }


def _by_tap(rows: NDArray[Any], taps: tuple[Tap, ...]) -> dict[str, NDArray[Any]]:
    """(images, values of all taps) -> tap -> (images, values)."""
    edges = np.cumsum([0, *(tap.values for tap in taps)])
    return {tap.name: rows[:, start:end] for tap, (start, end) in zip(taps, pairwise(edges), strict=True)}
