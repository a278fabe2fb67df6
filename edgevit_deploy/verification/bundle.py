"""`verify`: prove again, from the bundle alone, that its files are those that were written and compute what they must."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from edgevit_deploy.bundle.folder import open_bundle, read_labels, recorded_path
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.data.photographs import NO_PICTURES, PictureFolder
from edgevit_deploy.data.pictures import PassedOver
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.model.loading import LoadedModel
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.parity.gate import ParityReport, Status
from edgevit_deploy.parity.reference import Ends
from edgevit_deploy.process.sysroot import Sysroot
from edgevit_deploy.spec import RANK_OF, TensorSpec, second_size
from edgevit_deploy.verification.described import check_description
from edgevit_deploy.verification.golden import GoldenCheck, check_golden, runnable
from edgevit_deploy.verification.layers import LayerReport, check_layers
from edgevit_deploy.verification.pictures import Top5, classify_pictures
from edgevit_deploy.verification.replan import plan_of
from edgevit_deploy.verification.rounded import check_ranges, check_rounding
from edgevit_deploy.verification.sample import replay_in_sample
from edgevit_deploy.workbench import Host, Step, Workbench, quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of verifying one bundle.

    `parity` is there when the weights were given, `layers` when they were asked for (of a rounded file `losses` instead: the SQNR
    in dB where one operator alone is rounded), `top5` when pictures were given, and `right`
    when their folders tell the bundle's classes: how many have theirs first. `photographs` is what was in the folder. `sample`
    is the golden check of the C++ sample, where a sysroot has one beside the runtime that `golden` is of.
    """

    bundle: Path
    manifest: Manifest
    golden: GoldenCheck
    sample: GoldenCheck | None = None
    parity: ParityReport | None = None
    layers: LayerReport | None = None
    losses: dict[str, float] | None = None
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
        statuses = [part.status for part in (self.golden, self.sample, self.parity) if part is not None]
        if "failed" in statuses or self.manifest.verdict == "failed":
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
    calibration: Path | None = None,
    sysroot: Sysroot | None = None,
) -> Verification:
    """Re-hash, load, run and compare one bundle; nothing in it is executed but the model file, by its runtime.

    Args:
        bundle: the folder, wherever it is now.
        host: finds exporters and runtimes.
        step: told the name of each step as it starts.
        workbench: with the weights that it was made from, for the whole parity check again.
        layers: convert the graph once more with taps and compare each; needs a workbench.
        pictures: photographs to run to top-5.
        calibration: the pictures that a rounded file was calibrated on, to observe its ranges again; needs a workbench.
        sysroot: whose runtimes the host has, for its C++ sample.

    Raises:
        UsageError: not a bundle that this version reads, weights that are not the bundle's, or a bad picture.
        BundleError: a file is missing, changed or unrecorded, says something else of itself than the manifest, or has ranges that
            its pictures do not show.
        RunError: the runtime could not load or run the file.
    """
    step("hashing")
    manifest = open_bundle(bundle)
    labels = read_labels(bundle, manifest)
    artifact = artifact_of(bundle, manifest, host)
    check_description(bundle, manifest, labels, artifact, host)
    check_rounding(bundle, manifest, artifact, host)
    step("replaying the golden inputs")
    golden = check_golden(bundle, manifest, artifact, host)
    if sysroot is not None:
        step("replaying them in the C++ sample")
    sample = replay_in_sample(bundle, manifest, sysroot) if sysroot is not None else None
    if sample is not None and golden.max_abs is None:  # only the sample could run it
        golden, sample = sample, None
    parity = report = seen = losses = None
    if workbench is not None:
        check_same_weights(manifest, workbench.model)
        if calibration is not None:
            check_ranges(bundle, manifest, workbench, calibration)
        if layers and manifest.conversion.returns == "logits" and manifest.quantisation is None:
            step("computing the float64 truth")
            workbench.published_taps(manifest.conversion.takes)  # the whole file's truth is among them: one run for both
        step("checking parity against the weights")
        parity = check_weights(manifest, artifact, workbench)
        plan = plan_of(manifest, workbench.model, host.find_exporter(manifest.target)) if layers else None
        if plan is not None and plan.scheme is not None:
            losses = workbench.rounded.losses(plan)
        elif plan is not None:
            report = check_layers(workbench, plan)
    if pictures.names:
        seen = classify_pictures(pictures, manifest, runnable(artifact, host), labels, host, step)
    return Verification(
        bundle=bundle,
        manifest=manifest,
        golden=golden,
        sample=sample,
        parity=parity,
        layers=report,
        losses=losses,
        top5=seen.top5 if seen else None,
        right=seen.right if seen else None,
        photographs=seen.photographs if seen else NO_PICTURES,
    )


def artifact_of(bundle: Path, manifest: Manifest, host: Host) -> Artifact:
    """Return the artifact of a bundle as its manifest describes it: whoever runs a bundle's file asks here.

    Args:
        bundle: the folder.
        manifest: of it.
        host: finds the exporter, which knows what its files take.

    Raises:
        BundleError: a named file is not there, or not recorded.
        UsageError: inputs and outputs that are not those of the manifest's task, or an input that no file of the target has.
    """
    takes, refused = manifest.conversion.takes, host.find_exporter(manifest.target).refused_inputs(manifest.precision)
    if takes in refused:
        raise UsageError(
            f"{bundle}: the manifest says that the file takes {takes}, which no {manifest.target} file in {manifest.precision} "
            f"does ({refused[takes]}); convert again"
        )
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
    ranks = ([4], [RANK_OF[manifest.conversion.returns]] * len(manifest.outputs))
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


def check_weights(manifest: Manifest, artifact: Artifact, workbench: Workbench) -> ParityReport:
    """Compare a bundle's file with what its weights give, as at conversion.

    Raises:
        ExportError: a quantised file has other weights than the network's, rounded.
    """
    exporter = workbench.host.find_exporter(manifest.target)
    if manifest.precision == "fp16" and exporter.half_weights:
        return workbench.judge(artifact, workbench.truths(plan_of(manifest, workbench.model, exporter)))
    if manifest.quantisation is not None:
        plan = plan_of(manifest, workbench.model, exporter)
        workbench.rounded.check_stored(exporter, artifact, plan)
        return workbench.judge(artifact, workbench.truths(plan))
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
        field = next(f.name for f in fields(ModelRecord) if getattr(manifest.model, f.name) != getattr(model.record, f.name))
        raise UsageError(
            f"these are not the bundle's weights: the bundle is {_describe(manifest.model)}, given is {_describe(model.record)}; "
            f"the first difference is in {field}"
        )


def _describe(record: ModelRecord) -> str:
    weights = f"seed {record.random_seed}" if record.weights_sha256 is None else f"sha256 {record.weights_sha256[:12]}..."
    return f"{record.variant} with {record.num_classes} classes at {record.image_size}, {weights}"
