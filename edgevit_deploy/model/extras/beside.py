"""What every reader of extras gives, and how they look at untrusted entries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.preprocessing import Told
from edgevit_deploy.spec import PUBLISHED_CROP_RATIO, Preprocess

Extras = Mapping[str, object]
"""What a file holds beside the weights, by name: untrusted, and typed only by the reader that wants it."""

Quad = tuple[int, int, int, int]
T = TypeVar("T")

PUBLISHED_SIZE = (224, 224)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known or assumed beside the structure.

    Attributes:
        preprocess: of the evaluation; its crop is the image size.
        told: which of that the file tells.
        labels: class names in class order; None when the file has none.
        notes: what else the file said.
        crop_ratio: as `spec.ModelSpec` has it.
        variant: of all that its tensors may be, the one that the file names; None where it names none.
    """

    preprocess: Preprocess
    told: Told = Told()  # noqa: RUF009 - frozen
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    crop_ratio: float | None = PUBLISHED_CROP_RATIO
    variant: str | None = None


def read_entry(extras: Extras, name: str, kind: type[T], writer: str) -> T | None:
    """Return one extra as `kind`, from an object or from JSON; None when the file does not have it.

    Raises:
        UsageError: it is not what the writer (`Birder's`) writes.
    """
    value = extras.get(name)
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=kind) if isinstance(value, str) else msgspec.convert(value, kind)
    except (msgspec.MsgspecError, OverflowError, RecursionError, UnicodeError) as error:
        raise UsageError(f"its `{name}` entry is not {writer}: {error}") from error


def is_one_line(label: str) -> bool:
    """Say whether a class name is one line of text without blanks around it."""
    return label.splitlines() == [label.strip()]
