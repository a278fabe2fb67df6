"""What marks a `.tflite`."""

from pathlib import Path

from edgevit_deploy.errors import RunError

IDENTIFIER = b"TFL3"
"""At bytes 4 to 7 of every .tflite, as FlatBuffers place it."""


def check_identifier(path: Path) -> None:
    """Refuse what is no `.tflite` before LiteRT sees it.

    Raises:
        RunError: with the bytes that are there instead.
    """
    with path.open("rb") as file:
        identifier = file.read(8)[4:]
    if identifier != IDENTIFIER:
        raise RunError(f"it is no .tflite file: bytes 4 to 7 are {identifier!r}, expected {IDENTIFIER!r}")
