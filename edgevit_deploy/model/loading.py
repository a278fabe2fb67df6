"""Where the weights come from: a checkpoint file, or a seed; with the class names and preprocessing that belong to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.preprocessing import Told, settle
from edgevit_deploy.model.record import ModelRecord
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.spec import (
    DENSE_TASKS,
    MAX_LABELS_BYTES,
    MAX_SEED,
    HeadSpec,
    ModelSpec,
    Preprocess,
    PreprocessChoice,
    Size,
    Task,
)

if TYPE_CHECKING:
    from edgevit_deploy.model.dense import Network
    from edgevit_deploy.model.edgevit import EdgeViT


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrigin:
    """What the command line says about the model; None means not said.

    `preprocess` is what it says of the preprocessing, or all of it, as a bundle records it: then nothing of the file's is used.
    `task` is what the network is for: one of dense prediction has a head on its feature maps, which `head` describes where it
    is known.
    """

    model: str | None = None
    weights: Path | None = None
    num_classes: int | None = None
    image_size: Size | None = None
    labels: Path | None = None
    seed: int | None = None
    preprocess: PreprocessChoice | Preprocess | None = None
    task: Task = "classify"
    head: HeadSpec | None = None

    @property
    def wanted_head(self) -> HeadSpec | None:
        """The head that random weights are drawn for; None of a classifier."""
        return self.head or next((HeadSpec(kind=kind) for kind, task in DENSE_TASKS.items() if task == self.task), None)

    @classmethod
    def of(
        cls,
        record: ModelRecord,
        preprocess: Preprocess,
        *,
        weights: Path | None = None,
        labels: Path | None = None,
        seed: int | None = None,
    ) -> Self:
        """Return the source of the network that a bundle records; the weights, or their seed, are given."""
        return cls(
            model=record.variant,
            weights=weights,
            num_classes=record.num_classes,
            image_size=record.image_size,
            labels=labels,
            seed=seed,
            preprocess=preprocess,
            task=record.task,
            head=record.head,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A network in evaluation mode (float32, published graph) with everything known about it.

    `labels_are_placeholders` is True when nobody named the classes and `labels` reads `class 0`, `class 1`, ...; `told` is what
    of the preprocessing the checkpoint itself tells.
    """

    network: "Network"
    spec: ModelSpec
    record: ModelRecord
    labels: tuple[str, ...]
    labels_are_placeholders: bool
    notes: tuple[str, ...]
    told: Told

    @property
    def classifier(self) -> "EdgeViT":
        """The network, where it classifies.

        Raises:
            UsageError: it has a head for dense prediction.
        """
        from edgevit_deploy.model.edgevit import EdgeViT

        if not isinstance(self.network, EdgeViT):
            raise UsageError(f"this is about the parts of a classifier, and the network is for --task {self.spec.task}")
        return self.network


DEFAULT_SEED = 0


def load_model(source: ModelOrigin) -> LoadedModel:
    """Build the network and fill it from the checkpoint or from the seed.

    Raises:
        UsageError: unreadable checkpoint, unknown name, or a contradiction between the file and the command line.
    """
    if source.weights is None:
        return _random_model(source)
    return _checkpoint_model(source, source.weights)


def _random_model(source: ModelOrigin) -> LoadedModel:
    from edgevit_deploy.model import dense
    from edgevit_deploy.model.random_weights import randomise
    from edgevit_deploy.model.variants import create_model

    if source.model is None:
        raise UsageError("no model given; use --model edgevit_xxs (random weights) or --weights FILE")
    seed = DEFAULT_SEED if source.seed is None else source.seed
    check_seed(seed)
    num_classes = 1000 if source.num_classes is None else source.num_classes
    network: Network = create_model(source.model, num_classes=num_classes, image_size=source.image_size or (224, 224))
    if (head := source.wanted_head) is not None:
        network = dense.build(dense.with_head(network.spec, head, {}))
    network.spec, _ = settle(network.spec, Told(), None, source.preprocess)
    if isinstance(network, dense.DenseNetwork):
        dense.randomise_dense(network, seed)
    else:
        randomise(network, seed)
    note = f"random weights from seed {seed}: right for testing a toolchain, useless for classifying"
    return _loaded(network, source, labels=None, notes=(note,), told=Told(), sha256=None, seed=seed, dialect=None)


def _checkpoint_model(source: ModelOrigin, weights: Path) -> LoadedModel:
    from edgevit_deploy.model.checkpoint import load_network, read_checkpoint, reconcile

    if source.seed is not None:
        raise UsageError("--seed is for random weights and --weights gives real ones; drop one of them")
    checkpoint = read_checkpoint(weights, source.task)
    checkpoint = reconcile(checkpoint, model=source.model, num_classes=source.num_classes, task=source.task)
    network = load_network(checkpoint)
    network.spec, preprocess_notes = settle(checkpoint.spec, checkpoint.told, source.image_size, source.preprocess)
    return _loaded(
        network,
        source,
        labels=checkpoint.labels,
        notes=(*checkpoint.reading_notes, *checkpoint.open_notes, *preprocess_notes),
        told=checkpoint.told,
        sha256=checkpoint.sha256,
        seed=None,
        dialect=checkpoint.dialect,
    )


def _loaded(
    network: "Network",
    source: ModelOrigin,
    *,
    labels: tuple[str, ...] | None,
    notes: tuple[str, ...],
    told: Told,
    sha256: str | None,
    seed: int | None,
    dialect: str | None,
) -> LoadedModel:
    spec = network.spec
    if source.labels is not None:
        labels = read_labels_file(source.labels, spec.num_classes)
    record = ModelRecord(
        variant=spec.variant,
        depths=spec.depths,
        channels=spec.channels,
        head_dim=spec.head_dim,
        block=spec.block,
        num_classes=spec.num_classes,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        norm_eps=spec.norm_eps,
        inner_norm_eps=spec.inner_norm_eps,
        head_bias=spec.head_bias,
        image_size=spec.image_size,
        weights_sha256=sha256,
        random_seed=seed,
        dialect=dialect,
        head=spec.head,
    )
    placeholders = tuple(f"class {index}" for index in range(spec.num_classes))
    return LoadedModel(
        network=network,
        spec=spec,
        record=record,
        labels=labels or placeholders,
        labels_are_placeholders=labels is None,
        notes=notes,
        told=told,
    )


def check_seed(seed: int) -> None:
    """Refuse a seed that cannot be recorded.

    Raises:
        UsageError: it is below 0 or above MAX_SEED.
    """
    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is 0 or larger")
    if seed > MAX_SEED:
        raise UsageError(f"--seed: a seed is at most {MAX_SEED}, a larger one was given")


def read_labels_file(path: Path, num_classes: int) -> tuple[str, ...]:
    """Read class names, one a line, in class order; a byte order mark and empty lines at the end are no names.

    Raises:
        UsageError: unreadable, not UTF-8, an empty name, or not one name a class.
    """
    labels = read_label_lines(path)
    if len(labels) != num_classes:
        raise UsageError(f"--labels {path} has {len(labels)} lines but the model has {num_classes} classes; give one name a line")
    if "" in labels:
        raise UsageError(f"--labels {path}: line {labels.index('') + 1} is empty; give one name a line")
    return labels


def read_label_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a file of class names without blanks around them; they are not yet proven to be names.

    Raises:
        UsageError: unreadable, or not UTF-8.
    """
    try:
        text = read_bounded(path, MAX_LABELS_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--labels {path}: cannot be read ({error.strerror}); give a text file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--labels {path}: cannot be read as UTF-8 text ({error}); save it as UTF-8") from error
    return tuple(line.strip() for line in text.rstrip().splitlines())
