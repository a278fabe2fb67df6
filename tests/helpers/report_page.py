"""A report page as a test reads it."""

import re
from html.parser import HTMLParser
from pathlib import Path

from edgevit_deploy.cli import run

VOID = {"meta", "link", "br", "img", "input", "hr"}
TEMPLATE_CODE = "{status}{0.__class__}{{ 7 * 7 }}{% for %}{#"
HOSTILE = """</style></pre><script>alert(1)</script><img src=x onerror='alert(2)' alt="q">&""" + TEMPLATE_CODE
"""Text that a page must show and neither a browser nor a template may obey."""


class Page(HTMLParser):
    """Elements, attributes and text of a page; refuses one whose tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report(*bundles: Path, flags: tuple[str, ...] = (), expected: int = 0) -> str:
    """Write the page of some bundles, and return its text."""
    path = bundles[0].parent / "page.html"
    assert run(["report", *map(str, bundles), *flags, "--output", str(path)]) == expected
    return path.read_text(encoding="utf-8")


def badges(page: str) -> list[str]:
    """The colours of its verdicts."""
    return re.findall(r'<span class="badge (\w+)">', page)
