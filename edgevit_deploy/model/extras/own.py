"""Our own checkpoints: safetensors whose metadata hold, as JSON, everything that a conversion needs beside the weights."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.extras.beside import Beside, Extras, is_one_line, read_entry
from edgevit_deploy.model.preprocessing import NAMES, Told, objections
from edgevit_deploy.spec import PUBLISHED_CROP_RATIO, Precision, Preprocess, Size, check_image_size, resized

METADATA_KEY = "edgevit_deploy"
METADATA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFor:
    """For which files weights were trained that learnt their rounding."""

    target: str
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMetadata:
    """What must be there; training writes more (the recipe, the data), which is for people."""

    version: int
    variant: str
    image_size: Size
    labels: tuple[str, ...]
    preprocess: Preprocess
    trained_for: TrainedFor | None = None


def read_own(extras: Extras, variants: Sequence[str], num_classes: int) -> Beside:
    """Read the metadata of one of our own files.

    Raises:
        UsageError: they contradict the tensors or themselves, or are of another version.
    """
    where = f"`{METADATA_KEY}`"
    metadata = read_entry(extras, METADATA_KEY, OwnMetadata, "what this program writes")
    if metadata is None or metadata.version != METADATA_VERSION:
        version = metadata and metadata.version
        raise UsageError(f"its {where} entry is of version {version}, and this program reads {METADATA_VERSION}; upgrade it")
    if metadata.variant not in variants:
        raise UsageError(f"its {where} entry says {metadata.variant} but its tensors are those of {variants[0]}")
    if len(metadata.labels) != num_classes:
        raise UsageError(f"its {where} entry names {len(metadata.labels)} classes but its head has {num_classes}")
    broken = next((label for label in metadata.labels if not is_one_line(label)), None)
    if broken is not None:
        raise UsageError(f"its class name {broken!r} is not one line of text without blanks around it")
    preprocess = metadata.preprocess
    objection = next(objections(preprocess), None)
    if objection is not None:
        raise UsageError(f"its {where} entry is unusable: {objection}")
    check_image_size(*metadata.image_size)
    if metadata.image_size != preprocess.crop:
        raise UsageError(f"its {where} entry says image size {metadata.image_size} but crops to {preprocess.crop}")
    published = preprocess.resize == resized(preprocess.crop, PUBLISHED_CROP_RATIO)
    return Beside(
        preprocess=preprocess,
        told=Told(size=where, fields=dict.fromkeys(NAMES, where)),
        labels=metadata.labels,
        notes=_trained_for(metadata.trained_for),
        crop_ratio=PUBLISHED_CROP_RATIO if published else None,
        variant=metadata.variant,
    )


def _trained_for(files: TrainedFor | None) -> tuple[str, ...]:
    if files is None:
        return ()
    if not is_one_line(files.target):
        raise UsageError(f"its target {files.target!r} is not one line of text without blanks around it")
    return (f"trained to be rounded as {files.target} {files.precision} is",)
