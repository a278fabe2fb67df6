"""Who is evaluated: bundles, the network that they were made from, and the names of their classes; refused before any work."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from edgevit_deploy.bundle.folder import open_bundle, read_golden, read_labels
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.accuracy.identity import identity_of, runtime_tools, tools_with, weights_identity
from edgevit_deploy.measure.accuracy.result import Outputs
from edgevit_deploy.measure.accuracy.shards import Reference, Subject
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model, read_labels_file
from edgevit_deploy.model.preprocessing import completed
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.outside.files import real_path
from edgevit_deploy.spec import Preprocess, Task, task_of
from edgevit_deploy.verification.bundle import artifact_of, check_same_weights
from edgevit_deploy.verification.golden import most_allowed
from edgevit_deploy.workbench import promised_batches

PreprocessOf = Literal["checkpoint", "bundle"]

NETWORK_BATCH = 32
DENSE_BATCH = 1
"""Of a network with an answer for each pixel: its maps are large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How subjects are run.

    Attributes:
        reference: arithmetic of the network.
        preprocess: whose preprocessing the network's pictures get; what the checkpoint does not tell is the bundle's.
        batch: pictures a run of the network and of bundles whose batch is free; None is 32 (of a
            segmenter 1) and the smallest.
        threads: of each runtime and of PyTorch; None leaves their own.
        workers: processes that decode.
    """

    reference: Reference = "fp32"
    preprocess: PreprocessOf = "checkpoint"
    batch: int | None = None
    threads: int | None = None
    workers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A bundle whose hashes hold and which classifies.

    Attributes:
        label: what tables call it.
        bundle: its folder.
        manifest: of it.
        subject: what is run.
        network: what it is paired with; None without weights.
        outputs: what it returns.
        bound: that it was proven within and that holds on pictures; None where it was not.
        notes: what must be known to read the figures.
    """

    label: str
    bundle: Path
    manifest: Manifest
    subject: Subject
    network: Subject | None
    outputs: Outputs
    bound: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """All of them, with the names of their classes in class order."""

    contestants: tuple[Contestant, ...]
    classes: tuple[str, ...]

    def networks(self) -> tuple[Subject, ...]:
        """Return the network, once for each size and preprocessing."""
        return tuple(dict.fromkeys(each.network for each in self.contestants if each.network))

    def network_labels(self) -> dict[Subject, str]:
        """Return what tables call each network."""
        networks = self.networks()
        return {network: "network" if len(networks) == 1 else f"network {number}" for number, network in enumerate(networks, 1)}

    def subjects(self) -> tuple[Subject, ...]:
        """Return everything that is run, the network first."""
        return (*self.networks(), *(each.subject for each in self.contestants))


def read_field(
    bundles: Sequence[Path], weights: Path | None, labels: Path | None, way: Way, host: ThisHost, task: Task = "classify"
) -> Field:
    """Open bundles and prove that they can be compared.

    Args:
        bundles: the folders.
        weights: the checkpoint that they were made from.
        labels: file with the names of the classes in class order.
        way: how they are run.
        host: finds runtimes.
        task: that all of them must have.

    Raises:
        UsageError: no bundle, one given twice, one that has another task, of other weights or classes, or classes without names.
        BundleError: a damaged bundle.
    """
    if not bundles:
        raise UsageError("no bundle is named, so there is nothing to evaluate; give one at least")
    resolved = [real_path(bundle) for bundle in bundles]
    for index, bundle in enumerate(bundles):
        if resolved[index] in resolved[:index]:
            raise UsageError(f"{bundle} is given twice; give it once")
    manifests = {bundle: open_bundle(bundle) for bundle in bundles}
    for bundle, manifest in manifests.items():
        if task_of(manifest.conversion.returns) != task:
            other = "so it has no accuracy" if task == "classify" else f"and the others are for --task {task}"
            raise UsageError(f"{bundle} returns {manifest.conversion.returns}, {other}; drop it")
    models = _models(manifests, weights)
    return Field(
        contestants=tuple(
            _contestant(bundle, manifest, models.get(manifest.model), weights, way, host)
            for bundle, manifest in manifests.items()
        ),
        classes=_classes(manifests, next(iter(models.values()), None), labels),
    )


def _models(manifests: dict[Path, Manifest], weights: Path | None) -> dict[ModelRecord, LoadedModel]:
    """Return the network of each record; bundles that differ by their size alone have one each."""
    models: dict[ModelRecord, LoadedModel] = {}
    for bundle, manifest in manifests.items():
        if weights is None or manifest.model in models:
            continue
        try:
            loaded = load_model(_origin(manifest.model, weights))
            check_same_weights(manifest, loaded)
        except UsageError as error:
            raise UsageError(f"{bundle}: {error}") from error
        models[manifest.model] = loaded
    return models


def _origin(record: ModelRecord, weights: Path) -> ModelOrigin:
    """Return the network of a bundle as its checkpoint has it: the preprocessing is the checkpoint's, not the bundle's."""
    return ModelOrigin(
        model=record.variant, weights=weights, num_classes=record.num_classes, image_size=record.image_size, task=record.task
    )


def _contestant(
    bundle: Path, manifest: Manifest, model: LoadedModel | None, weights: Path | None, way: Way, host: ThisHost
) -> Contestant:
    artifact, size = artifact_of(bundle, manifest, host), manifest.preprocess.crop
    fixed = manifest.inputs[0].shape[0]
    free_batch = way.batch or promised_batches(artifact)[0]
    batch = fixed if isinstance(fixed, int) else free_batch
    if not artifact.inputs[0].accepts((batch, 3, *size)):
        raise UsageError(
            f"{bundle}: the manifest crops to {size[0]} x {size[1]}, and its model takes another size; convert again"
        )
    network = None
    if model is not None and weights is not None:
        own = completed(model.told, model.spec.preprocess, manifest.preprocess)
        network = _network(model, own if way.preprocess == "checkpoint" else manifest.preprocess, weights, way)
    return Contestant(
        label=str(bundle),
        bundle=bundle,
        manifest=manifest,
        subject=Subject(
            kind="bundle",
            path=bundle,
            identity=identity_of(manifest),
            tools=runtime_tools(manifest.target, host),
            image_size=size,
            preprocess=manifest.preprocess,
            batch=batch,
            threads=way.threads,
        ),
        network=network,
        outputs="probabilities" if manifest.conversion.returns == "probabilities" else "logits",
        bound=_bound(bundle, manifest, host),
        notes=(
            *_preprocess_notes(manifest.preprocess, network),
            *([f"it {manifest.failure}"] if manifest.failure else []),
        ),
    )


def _bound(bundle: Path, manifest: Manifest, host: ThisHost) -> float | None:
    """Return the bound that holds on pictures, none wider than this version allows; None where the file itself was not proven."""
    bound = manifest.bound_on_pictures if manifest.parity.verdict == "passed" else None
    if bound is None:
        return None
    (expected,) = read_golden(bundle, manifest)[1].values()  # a network that classifies has one output
    return min(bound.atol, most_allowed(manifest, expected, host))


def _network(model: LoadedModel, preprocess: Preprocess, weights: Path, way: Way) -> Subject:
    return Subject(
        kind="network",
        path=weights,
        identity=weights_identity(model.record),
        tools=tools_with(["torch"]),
        image_size=model.spec.image_size,
        preprocess=preprocess,
        batch=way.batch or (NETWORK_BATCH if model.spec.task == "classify" else DENSE_BATCH),
        reference=way.reference,
        threads=way.threads,
        task=model.spec.task,
        model=model.record.variant,
    )


def _preprocess_notes(preprocess: Preprocess, network: Subject | None) -> list[str]:
    if network is None or network.preprocess == preprocess:
        return []
    differing = [
        f"{field.name} {getattr(preprocess, field.name)} against {getattr(network.preprocess, field.name)}"
        for field in fields(preprocess)
        if getattr(preprocess, field.name) != getattr(network.preprocess, field.name)
    ]
    return [
        f"it prepares pictures in another way than its checkpoint says ({', '.join(differing)}), so the "
        "network did not see the same pixels; if the bundle's way is right, add --preprocess bundle"
    ]


def _classes(manifests: dict[Path, Manifest], model: LoadedModel | None, labels: Path | None) -> tuple[str, ...]:
    """Return the names of the classes in class order: of --labels, else the checkpoint's, else of the first bundle with any."""
    first, *others = manifests
    count = manifests[first].model.num_classes
    for bundle in others:
        if (other := manifests[bundle].model.num_classes) != count:
            raise UsageError(f"{bundle} has {other} classes and {first} has {count}; evaluate them in runs of their own")
    named = {bundle: read_labels(bundle, manifest) for bundle, manifest in manifests.items() if not manifest.labels.placeholders}
    if labels is not None:
        source, names = f"--labels {labels}", read_labels_file(labels, count)
    elif model is not None and not model.labels_are_placeholders:
        source, names = "the checkpoint", model.labels
    elif named:
        source, names = str(next(iter(named))), next(iter(named.values()))
    elif manifests[first].model.head is not None:  # masks have numbers, so names are for people only
        return read_labels(first, manifests[first])
    else:
        raise UsageError(f"{first} does not know the names of its classes; give them in class order with --labels FILE")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise UsageError(f"{source} names two classes {twice[0]!r}; give a name of its own to each with --labels FILE")
    for bundle, own in named.items():
        if own != names and (labels is None or set(own) == set(names)):
            _refuse_labels(bundle, own, source, names)
    return names


def _refuse_labels(bundle: Path, own: Sequence[str], source: str, names: Sequence[str]) -> None:
    line = next(index for index, pair in enumerate(zip(own, names, strict=True)) if pair[0] != pair[1])
    what = "in another order" if set(own) == set(names) else "by other names"
    raise UsageError(
        f"{bundle} has its classes {what} than {source}: line {line + 1} is {own[line]!r}, expected {names[line]!r}; "
        "convert it again with the right --labels"
    )
