"""What can be said of Swift sources and an Xcode project without Swift or a Mac: that nothing is left open or undefined."""

import re
from collections.abc import Iterator

from edgevit_deploy.apps.samples import SAMPLES

SAMPLE = SAMPLES / "ios"
CLOSES = {")": "(", "]": "[", "}": "{"}
_WORDS = re.compile(
    r'//[^\n]*|"""\n.*?\n *"""|"(?:\\[^(\n]|\\\((?:[^()"\n]|\([^()\n]*\)|"[^"\n]*")*\)|[^"\\\n])*"|[()\[\]{}]|"', re.DOTALL
)
"""Comments, texts of several lines, texts of one line (an interpolation may hold a text), brackets, and a quote left over."""


def unclosed(source: str) -> list[str]:
    """Return what is wrong with the brackets and quotes of a Swift source, a line for each fault."""
    faults, open_ones = [], []
    for match in _WORDS.finditer(source):
        word, line = match.group(), source.count("\n", 0, match.start()) + 1
        if word == '"':
            faults.append(f"line {line}: a text is not closed")
        elif word in CLOSES.values():
            open_ones.append((word, line))
        elif word in CLOSES and (not open_ones or open_ones.pop()[0] != CLOSES[word]):
            faults.append(f"line {line}: {word} closes nothing")
    return [*faults, *(f"line {line}: {word} is not closed" for word, line in open_ones)]


def undefined(project: str) -> set[str]:
    """Return the identifiers of a `project.pbxproj` that are used and not defined, or defined and not used."""
    code = re.sub(r"/\*.*?\*/", "", project)
    defined = set(re.findall(r"^\t\t([0-9A-F]{24}) *= *\{", code, re.MULTILINE))
    used = set(_used(code))
    return defined ^ used


def _used(code: str) -> Iterator[str]:
    for identifier in re.finditer(r"[0-9A-F]{24}", code):
        if not re.match(r" *= *\{", code[identifier.end() :]):
            yield identifier.group()
