"""Text from outside on its way out: to a terminal, and into JSON. A file's contents and its name may be anyone's.

A terminal obeys control characters: with them a bundle could repaint its own verdict. JSON holds no lone surrogates, which is how
Python spells a file name that is not UTF-8, and XML neither these nor most control characters.
"""

import sys
import unicodedata
from collections.abc import Iterable
from html import escape
from pathlib import PurePath
from typing import Any

import msgspec

MAX_LINE_LENGTH = 500
MAX_SHOWN = 60
MAX_DEPTH = 100
"""Of lists and objects in each other, in a document that is to be written again; ours have less than ten."""


def printable(text: str) -> str:
    """Return text in which nothing is left that a terminal could obey or that could pass for another line: escapes are shown."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_shown(character) else _escaped(character) for character in text)


def one_line(text: str) -> str:
    """Return text from a child or a library as one line, printable and not endless; breaks and controls become blanks."""
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return " ".join(words)[:MAX_LINE_LENGTH]


def shortened(text: str, most: int = MAX_SHOWN) -> str:
    """Return what a flag was given, for an error line, or what a picture shows, not endless."""
    return text if len(text) <= most else f"{text[:most]}..."


def figure(value: float, digits: int = 2) -> str:
    """Return a number for people; an error that is not finite is kept as the largest number there is (`parity.gate`)."""
    return f"{value:.{digits}g}" if abs(value) < sys.float_info.max else "not finite"


def xml_text(text: str) -> str:
    """Return text for an element or an attribute of XML, an SVG's too: what XML cannot hold stands there as escapes."""
    return escape(printable(text))


def writable(text: str) -> str:
    """Return text that UTF-8 can hold: the bytes of a file name that are none become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_too_deep(document: object) -> bool:
    """Say whether a document that was read as JSON has more levels than can be written again."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
    return bool(level)


def _inside(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def json_bytes(document: object) -> bytes:
    """Serialise: two-space indent, keys in the order of the dataclasses, final newline; no name makes it fail."""
    plain = _writable(msgspec.to_builtins(document, order="deterministic", enc_hook=_plain))
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def json_for_a_terminal(document: object) -> bytes:
    """Serialise as `json_bytes`: the same document, but what a terminal could obey stands there as escapes of JSON."""
    lines = json_bytes(document).decode("utf-8").split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_json_escaped, line)) for line in lines).encode("utf-8")


def _json_escaped(character: str) -> str:
    if _is_shown(character):
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _plain(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _writable(value: object) -> object:
    match value:
        case str():
            return writable(value)
        case dict():
            return {_writable(key): _writable(item) for key, item in value.items()}
        case list() | tuple():
            return [_writable(item) for item in value]
        case _:
            return value
