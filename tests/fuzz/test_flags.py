"""Every command with any flag and any value: done, or refused in one line; and nothing is taken for what it is not."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import strategies as st

from edgevit_deploy import cli, request
from edgevit_deploy.bundle import place
from edgevit_deploy.commands import console
from edgevit_deploy.errors import ExportError
from tests.helpers.fakes import FakeExporter
from tests.helpers.fuzzing import HOSTILE, Answer, Asker, FindingError, check_answer, expect, link_tree, must_find, seek, varied
from tests.helpers.pictures import gradient, save
from tests.helpers.small import tiny_weights

pytestmark = pytest.mark.slow

EXAMPLES = 700

GOOD: dict[str, tuple[str, ...]] = {
    "fake": ("--model", "edgevit_xxs", "--image-size", "32"),
    "all": ("--weights", "weights.safetensors", "--image-size", "32"),
    "verify": ("bundle",),
    "inspect": ("bundle",),
    "report": ("bundle",),
}
"""Commands that end soon, and what each would do something with; nothing is exported."""

REFUSED: dict[str, tuple[str, ...]] = {
    "evaluate": ("bundle", "--data", "photos"),
    "bench": ("no-such-bundle",),
    "tune": ("fake", "--model", "no-such-model"),
    "pareto": ("no-such-record",),
    "friendliness": ("--model", "no-such-model", "--targets", "fake"),
    "doctor": ("--no-such-flag",),
    "train": ("--data", "empty"),
    "energy": ("text",),
    "worker": ("ftp://nowhere",),
    "app": ("no-such-platform", "bundle"),
    "demo": ("no-such-bundle",),
}
"""Commands that compute for long, and what each refuses, whatever else is said."""

NUMBERS = ("1.5", "1.0", "1e3", "0x1", "-1", "+1", " 1", "1 ", "1_0", "\u0661", "\u00b2", "--1", "1", "3", "10", str(2**31))
SIZES = ("dynamic", "32", "64", "33", "32x32", "32x", "x", "x32", "32x32x32", "32\u00d732", "0", "-32", "32.0", "9" * 5000)
WORDS = ("fp32", "fp16", "deploy", "original", "tensor", "image", "edgevit_xxs", "edgevit_xx", "fake", "None", "true", "a,b")
FILES = ("bundle", "weights.safetensors", "labels.txt", "photos", "empty", "pipe", "loop", "device", "endless", "nothing", "text")
PLACES = ("new", "new/page.html", "page.html", "bundle/page.html", "pipe/x", "loop/page.html", "empty", "text/x.html")
NO_NAMES = ("\0", "a\0.html", "\ud800", "bundle\0")
POOL = (*HOSTILE, *HOSTILE, *NUMBERS, *SIZES, *WORDS, *FILES, *PLACES, *NO_NAMES, "\udcff.pth", "x" * 300, "a/" * 2100)
UNKNOWN = ("--no-such", "--no-such=1", "--Seed", "--seed\0", "--\x1b[2J", "-x", "-", "--no-json", "--\u202e", "---", "-\udcff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag of a command: which texts it may ever take, None where any is worth a try, and what it is mostly given."""

    name: str
    takes: Callable[[str], bool] | None
    mostly: tuple[str, ...]
    switch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A command line, and whether something in it must be refused."""

    tokens: tuple[str, ...]
    wrong: str


def flags_of(command: str) -> tuple[Flag, ...]:
    """Every flag, from the parser itself: one that is new is fuzzed too."""
    arguments = cli.build_app([command])[command].assemble_argument_collection()
    return tuple(
        Flag(
            name=argument.names[0],
            takes=texts_of(argument.hint),
            mostly=likely(argument.hint),
            switch=argument.hint is bool,
        )
        for argument in arguments
        if argument.names[0].startswith("--")
    )


def texts_of(hint: Any) -> Callable[[str], bool] | None:
    kinds = (hint, *get_args(hint))
    if int in kinds:
        return lambda text: re.fullmatch(r"[+-]?[0-9]+", text) is not None
    choices = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())
    return (lambda text: text in choices) if choices else None


def likely(hint: Any) -> tuple[str, ...]:
    kinds = (hint, *get_args(hint))
    if int in kinds:
        return NUMBERS
    if Path in kinds:
        return (*FILES, *PLACES, *NO_NAMES)
    choices = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())
    return (*choices, *choices, "", "fp32 ", "FP16") if choices else (*SIZES, *WORDS)


def line_of(random: Random, flags: dict[str, tuple[Flag, ...]]) -> Line:
    command = random.choice((*GOOD, *GOOD, *REFUSED))
    given, wrong = list((GOOD | REFUSED)[command]), "" if command in GOOD else "it is never done here"
    if random.random() < 0.1 and command in GOOD:
        given = []
    known = [flag for flag in flags[command] if flag.name not in given or command in GOOD]
    tokens: list[str] = []
    for flag in random.choices(known, k=random.choice((1, 1, 2, 3))):
        if flag.switch:
            tokens.append(flag.name)
            continue
        text = random.choice(flag.mostly if random.random() < 0.7 else POOL)
        joined = random.random() < 0.3 or text.startswith("-")
        tokens += [f"{flag.name}={text}"] if joined else [flag.name, text]
        if flag.takes is not None and not flag.takes(text):
            wrong = f"{flag.name} takes no {text[:20]!r}"
    if random.random() < 0.1:
        tokens.append(random.choice(UNKNOWN))
    if random.random() < 0.1 and given and command in ("verify", "inspect", "report"):
        given = [random.choice((*FILES, *(text for text in HOSTILE if not text.startswith("-"))))]
    if random.random() < 0.2 and command == "bench":
        given = [random.choice([name for name in FILES if name != "bundle"])]
    return Line(tokens=(command, *given, *tokens), wrong=wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A working folder with one of everything that a flag may name."""

    asker: Asker
    lines: st.SearchStrategy[Line]

    def check(self, line: Line) -> None:
        page = re.compile(r"here/now/((new/)?page\.html|new|report\.html)")
        answer = self.asker.ask(line.tokens, may_write=lambda path: page.fullmatch(path) is not None)
        expect(not line.wrong or answer.code in (2, 3), f"exit code {answer.code}, though {line.wrong}")


@pytest.fixture
def world(asker: Asker, only_fake: None, small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    def export(*_: object) -> None:
        raise ExportError("nothing is exported here")

    monkeypatch.setattr(FakeExporter, "export", export)
    link_tree(small_bundle, Path("bundle"))
    os.link(tiny_weights(), "weights.safetensors")
    Path("labels.txt").write_text("a\n" * 10)
    Path("text").write_text("[form]\n")
    Path("photos").mkdir()
    save(Path("photos/a.png"), gradient(40, 40))
    Path("empty").mkdir()
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("device").symlink_to("/dev/zero")
    Path("endless").touch()
    os.truncate("endless", 2**40)
    flags = {command: flags_of(command) for command in (*GOOD, *REFUSED)}
    return World(asker=asker, lines=varied(lambda random: line_of(random, flags)))


def test_every_command_is_fuzzed() -> None:
    assert {*GOOD, *REFUSED} == {"fake", *cli.COMMANDS}


def test_any_flag_may_have_any_value(world: World) -> None:
    seek(world.lines, world.check, EXAMPLES)


CURES = {
    "whole numbers are read as such": (cli, "WHOLE_NUMBER", re.compile(r".*", re.DOTALL), "though --"),
    "long numbers are refused": (request, "MAX_DIGITS", 10**9, "raised|though --"),
    "what is said is shown, not obeyed": (console, "printable", str, "a terminal would obey"),
    "names that no disk takes are refused": (cli, "_can_be_a_name", lambda text: True, "raised"),
    "nothing half-written stays": (place, "_clear", lambda destination: None, "files were changed or left"),
}
"""Cures by what they do: where each is, what stands there without it, and what is found then."""


@pytest.mark.parametrize("cure", CURES)
def test_without_the_cure_a_line_is_found(cure: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, found = CURES[cure]
    monkeypatch.setattr(module, name, instead)
    must_find(world.lines, world.check, EXAMPLES, found)


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "raises": (lambda: [][0], "raised IndexError"),
    "exits": (lambda: os.sys.exit(4), "raised SystemExit"),
    "two lines": (lambda: [console.print_error("a"), console.print_error("b")], "2 error lines"),
    "colours": (lambda: os.write(2, b"\x1b[31m"), "a terminal would obey"),
    "turns text round": (lambda: os.write(1, "\u202e".encode()), "a terminal would obey"),
    "traceback": (lambda: os.write(2, b"Traceback (most recent call last):\n"), "a traceback"),
    "words on stdout": (lambda: os.write(1, b"passed\n"), "not one JSON document"),
    "file left": (lambda: Path("left").touch(), "files were changed or left"),
    "file changed": (lambda: Path("labels.txt").write_text("other"), "files were changed or left"),
    "gs started": (lambda: os.system("gs"), "files were changed or left: .'gs-was-started'"),
    "memory": (lambda: bytearray(2**33), "memory was taken"),
}
"""What a command might do, and what is said of it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_the_harness_sees(fault: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    do, found = FAULTS[fault]
    world.asker.ask(["inspect", "bundle", "--json"])
    monkeypatch.setattr(cli, "_check_command", lambda tokens: do())
    with pytest.raises(FindingError, match=found):
        world.asker.ask(["inspect", "bundle", "--json"])


@pytest.mark.parametrize(
    ("code", "err", "found"),
    [
        (130, "error: a\n", "exit code 130"),
        (2, "", "0 error lines"),
        (0, "", "0 error lines"),
        (0, "error: a\n", "without a word"),
        (2, "error: " + "a" * 99999, "no end"),
    ],
)
def test_the_harness_knows_an_answer_that_is_none(code: int, err: str, found: str) -> None:
    with pytest.raises(FindingError, match=found):
        check_answer(Answer(code=code, out=b"", err=err), says_json=True)
