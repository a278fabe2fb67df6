"""What a Core AI asset says of its pixels and classes, among what its metadata leave to whoever made it."""

from pathlib import Path
from typing import Any

import msgspec

from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.coreai import check_asset
from edgevit_deploy.spec import InputKind, Preprocess
from edgevit_deploy.spec.description import Description, normalisation_of

CREATOR = "creatorDefinedMetadata"
PREPROCESS, TAKES, LABELS = "edgevit_deploy.preprocess", "edgevit_deploy.takes", "edgevit_deploy.labels"
"""Under which the metadata have the preprocessing as the manifest of a bundle has it, what the input holds, and the labels."""


def read_description(asset: Path) -> Description:
    """Return the labels, where any were given, and by what pixels are normalised.

    Raises:
        RunError: it cannot be read.
    """
    said = check_asset(asset).get(CREATOR, {})
    try:
        labels = msgspec.convert(said.get(LABELS, []), type=tuple[str, ...])
        return Description(labels=labels, normalisation=_normalisation(said) if PREPROCESS in said else None)
    except (msgspec.MsgspecError, ArithmeticError, AttributeError, ValueError) as error:
        raise RunError(f"{asset.name}: its own preprocessing cannot be read ({first_line(error)}); convert again") from error


def _normalisation(said: dict[str, Any]) -> Any:
    takes = msgspec.convert(said.get(TAKES), type=InputKind)
    return normalisation_of(msgspec.convert(said[PREPROCESS], type=Preprocess), takes)
