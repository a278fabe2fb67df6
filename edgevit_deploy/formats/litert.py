"""A `.tflite` file: its identifier, its one signature, and what goes in and out of that."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevit_deploy.errors import RunError
from edgevit_deploy.spec import TensorSpec

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

IDENTIFIER = b"TFL3"
"""At bytes 4 to 7 of every .tflite, as FlatBuffers place it."""

SIGNATURE = "serving_default"
"""The only one that a file of ours has."""


def check_identifier(path: Path) -> None:
    """Refuse what is no `.tflite` before LiteRT sees it.

    Raises:
        RunError: with the bytes that are there instead.
    """
    with path.open("rb") as file:
        identifier = file.read(8)[4:]
    if identifier != IDENTIFIER:
        raise RunError(f"it is no .tflite file: bytes 4 to 7 are {identifier!r}, expected {IDENTIFIER!r}")


def find_signature(interpreter: "Interpreter") -> Any:
    """Return what runs the one signature of a loaded file.

    Raises:
        RunError: it has another one, none or several.
    """
    signatures = sorted(interpreter.get_signature_list())
    if signatures != [SIGNATURE]:
        raise RunError(f"it has the signatures {signatures}, expected [{SIGNATURE!r}]; convert it again")
    return interpreter.get_signature_runner(SIGNATURE)


def read_ends(details: Mapping[str, dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return what a signature says of its inputs or its outputs (`get_input_details`, `get_output_details`)."""
    return tuple(
        TensorSpec(name=name, shape=tuple(int(size) for size in detail["shape"]), dtype=detail["dtype"].__name__)
        for name, detail in details.items()
    )
