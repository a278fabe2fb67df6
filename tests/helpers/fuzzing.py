"""Fuzzing of what comes from outside: how a counterexample is sought, and what must hold of every answer of the command line."""

import hashlib
import json
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgevit_deploy.cli import run
from tests.helpers.fakes import FakeSession

HEADROOM_BYTES = 2**30
"""What a property may take beside what this process already has. A bundle's check takes less than a fifth of it."""

HOSTILE = (
    "",
    " ",
    "\0",
    "a\nb",
    "\x1b[2J\x1b[31mpassed",
    "\x9b2Jpassed",
    "\x7f",
    "\u202egpj.exe",
    "\u2028error: none",
    "\ufeff",
    "\x85",
    "\u200b",
    "\u2066x\u2069",
    "\U000e0041",
    "[bold]passed[/]",
    "%s{0}",
    "../x",
    "../../outside/secret",
    "a/../b",
    "a//b",
    "./a",
    "a/",
    "C:\\x",
    "..\\x",
    "C:x",
    "~",
    "x" * 5000,
    "é" * 300,
    "1.5",
    "1e3",
    "0x1",
    "-1",
    "\u0661",
    "²",
    str(2**31),
    str(2**63),
    str(10**30),
    "9" * 5000,
    "nan",
)
"""Text that has confused programs; no path of the system is among it, since a command may write where it is told to."""


Case = TypeVar("Case")


class FindingError(AssertionError):
    """A counterexample: what did not hold."""


def expect(holds: bool, otherwise: str) -> None:
    """Tell hypothesis of a counterexample; Python's own assertions look different each time."""
    if not holds:
        raise FindingError(otherwise)


def varied(build: Callable[[Random], Case]) -> st.SearchStrategy[Case]:
    """Return cases by one random number each.

    Left to itself, hypothesis varies what it had before, so that most fields of a manifest are not reached, and takes constants
    from the source of whatever is loaded, so that cases are others in each run. No source has numbers of this size.
    """
    return st.integers(2**70, 2**71).map(lambda seed: build(Random(seed)))


def seek(cases: st.SearchStrategy[Case], check: Callable[[Case], None], examples: int, *, shrinks: bool = True) -> None:
    """Let a property be checked on generated cases, the same ones in each run; however long each takes, time fails nothing.

    Raises:
        FindingError: one case for which it does not hold, the smallest that was found in the neighbourhood.
    """

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=examples,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
    )
    @given(cases)
    def holds(case: Case) -> None:
        try:
            check(case)
        except FindingError as error:
            raise FindingError(f"{error}\nin {case!r}") from error

    holds()


def must_find(cases: st.SearchStrategy[Case], check: Callable[[Case], None], examples: int, what: str) -> None:
    """Seek where a cure was taken away, until the first finding; there must be one, and of this kind."""
    with pytest.raises(FindingError, match=what):
        seek(cases, check, examples, shrinks=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command line ended with."""

    code: int
    out: bytes
    err: str

    @property
    def document(self) -> Any:
        """What is on stdout under `--json`; None where nothing is."""
        return json.loads(self.out) if self.out else None

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.split("\n") if line.startswith("error:")]


class Asker:
    """Runs command lines in a world of its own, and holds each answer, and what it left there, against what must hold.

    Args:
        root: the world: no file of it may change, and none may appear; what is executed by mistake leaves one too.
        capture: of both streams, as a terminal would get them.
    """

    def __init__(self, root: Path, capture: pytest.CaptureFixture[bytes]) -> None:
        self.root = root
        self._capture = capture

    def ask(self, tokens: Sequence[str], *, may_write: Callable[[str], bool] = lambda _: False) -> Answer:
        """Run one command line.

        Args:
            tokens: of it.
            may_write: whether a path below the root is one that a run which ends well may make or replace.

        Raises:
            FindingError: something does not hold.
        """
        before = look_at(self.root)
        self._capture.readouterr()
        try:
            code = run(tokens)
        except (Exception, SystemExit) as error:
            self._tidy(before)
            raise FindingError(f"raised {type(error).__name__}: {error}") from error
        captured = self._capture.readouterr()
        answer = Answer(code=code, out=captured.out, err=captured.err.decode("utf-8", "replace"))
        after = self._tidy(before)
        check_answer(answer, says_json="--json" in tokens)
        changed = [path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
        left = [path for path in changed if code not in (0, 1) or not may_write(path)]
        expect(not left, f"files were changed or left: {left[:3]}")
        return answer

    def _tidy(self, before: Mapping[str, object]) -> Mapping[str, object]:
        """Return what is there, and remove what was not there before: the same case must come to the same end again."""
        after = look_at(self.root)
        for path in sorted(after.keys() - before.keys(), reverse=True):
            found = self.root / path
            found.rmdir() if found.is_dir() and not found.is_symlink() else found.unlink()
        return after


def check_answer(answer: Answer, *, says_json: bool) -> None:
    """Hold what was said against what must hold of any answer.

    Raises:
        FindingError: something does not.
    """
    expect(answer.code in (0, 1, 2, 3), f"exit code {answer.code}")
    obeyed = {character for character in answer.err + answer.out.decode() if is_obeyed(character)}
    expect(not obeyed, f"a terminal would obey {sorted(map(ascii, obeyed))}")
    expect("Traceback" not in answer.err, "a traceback was printed")
    expect(not re.search("memory ran out|MemoryError", answer.err), "memory was taken for what a file claims")
    expect(len(answer.err) < 50_000, "the answer has no end")
    if says_json:
        try:
            document = answer.document
        except ValueError as error:
            raise FindingError(f"stdout is not one JSON document: {error}") from error
        refused = document is None
    else:
        expect(not answer.out, "something is on stdout without --json")
        refused = answer.code > 1 or (answer.code == 1 and bool(answer.errors))
    expect(len(answer.errors) == int(refused), f"{len(answer.errors)} error lines with exit code {answer.code}")
    expect(answer.code != 0 or not refused, "ended well without a word")


def is_obeyed(character: str) -> bool:
    """Say whether a terminal does something at a character but show it: controls, format characters (bidi too), separators."""
    return character != "\n" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def look_at(root: Path) -> Mapping[str, object]:
    """Return what is below a folder: of small files the content, of others what tells a change."""
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            small = stat.S_ISREG(status.st_mode) and status.st_size < 2**20
            content = (
                hashlib.sha256(path.read_bytes()).hexdigest() if small else (status.st_size, status.st_ino, status.st_mtime_ns)
            )
            found[os.path.relpath(path, root)] = (stat.S_IFMT(status.st_mode), None if stat.S_ISDIR(status.st_mode) else content)
    return found


def link_tree(source: Path, place: Path) -> Path:
    """Copy a folder by names alone; whoever changes a file replaces it."""
    for path in sorted(source.rglob("*")):
        inside = place / path.relative_to(source)
        inside.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            os.link(path, inside)
    return place


def replace_file(path: Path, content: bytes) -> None:
    """Write a file anew: other names of the old one keep what they had."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextmanager
def bounded_memory(headroom_bytes: int = HEADROOM_BYTES) -> Iterator[None]:
    """Let this process have not much more memory than it has now; only Linux counts it that way."""
    if sys.platform != "linux":
        yield
        return
    import resource

    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    present = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (present + headroom_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class RememberingSession(FakeSession):
    """The fake runtime, which loads the same file once: most of the time of a check goes there."""

    _loaded: dict[tuple[int, ...], torch.jit.ScriptModule] = {}  # noqa: RUF012

    def _load(self) -> None:
        status = self.path.stat()
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in self._loaded:
            super()._load()
            self._loaded[key] = self._module
        self._module = self._loaded[key]
