"""The grammar of fuzzed bundles: fields of a manifest, kinds of files, and golden data."""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.helpers.fuzzing import HOSTILE, replace_file

TEXTS = tuple(json.dumps(text) for text in HOSTILE)
"""With escapes, so that a control character is valid JSON."""

NUMBERS = (
    *("-1", "0", "1", "2", "1.5", "1.0", "-0.0", "65", "4097", "2147483648", "9223372036854775808", "1e308", "1e999", "5e-324"),
    *("1" + "0" * 30, "9" * 5000, "NaN", "Infinity", "-Infinity"),
)

OTHER_KINDS = (
    "null",
    "true",
    "[]",
    "{}",
    "[1]",
    '{"a": 1}',
    "[" * 500 + "]" * 500,
    '"\\ud800"',
    '"\\ud83d"',
    '"\\udcff"',
    '"\x1b[2J"',
    "",
)

OF_THE_BUNDLE = tuple(
    f'"{text}"'
    for text in (
        *("manifest.json", "README.md", "golden", "golden/input.f32", "golden/input.u8", "golden/output.f32", "labels.txt"),
        *(
            "model.fake",
            "fp16",
            "features",
            "probabilities",
            "dynamic",
            "image",
            "uint8",
            "passed",
            "failed",
            "logits",
            "batch",
            "height",
        ),
    )
)

UNKNOWN = "unknown \x1b[2J"
"""A field that a later version may have; it is left alone, so it proves nothing."""

PATHS = tuple(
    f'"{form}"'
    for form in (
        "../twin/@PATH@",
        "./@PATH@",
        "x/../@PATH@",
        "@PATH@/",
        "@PATH@\\u0000",
        "/@PATH@",
        "C:@PATH@",
        "..\\\\twin\\\\@PATH@",
        "../../outside/secret",
    )
)
"""Other ways to a file of that name: in the bundle, and in a copy beside it."""

SIZED = ("files", "inputs", "outputs", "labels", "golden")
"""Fields whose numbers say how much is read and computed."""

POOLS = {
    "any": (*TEXTS, *NUMBERS, *OTHER_KINDS, *OF_THE_BUNDLE),
    "number": NUMBERS,
    "path": (*PATHS, *OF_THE_BUNDLE),
    "record": OTHER_KINDS,
    "said": TEXTS,
    "size": NUMBERS,
    "text": (*TEXTS, *OF_THE_BUNDLE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of a document: what is done at a place in it; a value is JSON as it stands in the file."""

    kind: str
    place: tuple[str | int, ...]
    value: str


def places_in(node: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every leaf and every branch of a document."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in entries:
        yield (*here, key)
        yield from places_in(child, (*here, key))


def edited(document: Any, edits: list[Edit]) -> str:
    """The text of a document with changes in it."""
    document, raw = copy.deepcopy(document), list[str]()
    for edit in edits:
        *above, key = edit.place
        holder = document
        try:
            for step in above:
                holder = holder[step]
            if edit.kind == "set":
                holder[key] = f"@{len(raw)}@"
                raw.append(edit.value)
            elif edit.kind == "delete":
                del holder[key]
            elif isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            else:
                holder[UNKNOWN] = holder[key]
        except (KeyError, IndexError, TypeError):  # an earlier change has taken that place away
            continue
    text = json.dumps(document)
    for number, value in enumerate(raw):
        text = text.replace(f'"@{number}@"', value)
    return text


def edits_of(random: Random, document: Any) -> list[Edit]:
    """One or two changes; most put something of the same type there, which only its own check can tell from what was there."""
    groups, choose = places_by_type(document), random.choice
    edits = []
    for _ in range(choose((1, 1, 2))):
        group = choose(sorted(groups))
        place = choose(groups[group])
        kind = choose(("add", "add", "delete", "set") if group == "record" else ("set", "set", "set", "set", "delete", "add"))
        value = choose(POOLS[group]).replace("@PATH@", str(found_at(document, place)))
        edits.append(Edit(kind=kind, place=place, value=value))
    return edits


def places_by_type(document: Any) -> dict[str, list[tuple[str | int, ...]]]:
    recorded = {record["path"] for record in document["files"]}
    groups: dict[str, list[tuple[str | int, ...]]] = {
        "any": [],
        "number": [],
        "path": [],
        "record": [],
        "said": [],
        "size": [],
        "text": [],
    }
    for place in places_in(document):
        groups["any"].append(place)
        value = found_at(document, place)
        if isinstance(value, str):
            groups["path" if value in recorded else "said" if place[0] == "parity" else "text"].append(place)
        elif isinstance(value, dict) and isinstance(place[-1], int):
            groups["record"].append(place)
        elif isinstance(value, int | float):
            groups["size" if place[0] in SIZED else "number"].append(place)
    return groups


def found_at(document: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        document = document[step]
    return document


def record_again(bundle: Path, document: Any) -> None:
    """Record the present size and hash of every file that is one, as a stranger can."""
    for record in document["files"]:
        path = bundle / record["path"]
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**30:
            record |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        elif path.is_file():
            record |= {"bytes": path.stat().st_size}


MANIFEST_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "half": lambda data: data[: len(data) // 2],
    "no bytes": lambda data: b"",
    "blanks": lambda data: b" \n" * 1000,
    "5 MB of blanks": lambda data: data + b" " * 5_000_000,
    "5 MB of text": lambda data: b'{"schema_version": 2, "notes": ["' + b"x" * 5_000_000 + b'"]}',
    "deep": lambda data: b"[" * 100_000,
    "deep objects": lambda data: b'{"schema_version":' * 50_000,
    "deep notes": lambda data: data.replace(b'"facts": {', b'"facts": {"a": ' + b"[" * 900 + b"]" * 900 + b", "),
    "not UTF-8": lambda data: data.replace(b"a fake target", b"\xff\xfe\x80"),
    "zero bytes": lambda data: bytes(len(data)),
    "two documents": lambda data: data + data,
    "a key twice": lambda data: data.replace(b'"target": "fake"', b'"target": "fake", "target": "../x"'),
    "schema 1": lambda data: data.replace(b'"schema_version": 2', b'"schema_version": 1'),
    "schema 99 digits": lambda data: data.replace(b'"schema_version": 2', b'"schema_version": ' + b"9" * 5000),
    "a list": lambda data: b"[" + data + b"]",
    "an end of its own": lambda data: data.replace(b"\n", b"\r\n"),
}

FILE_FORMS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link outside": lambda path: path.symlink_to(path.parents[1] / "outside" / "secret"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("passed\n" * 3),
    "ten lines": lambda path: path.write_text("passed\n" * 10),
    "endless": lambda path: (path.touch(), os.truncate(path, 2**40)),
}

INPUT = "golden/input.*"
"""Of floats or of bytes, as the bundle has it."""

PLACES = ("manifest.json", INPUT, "golden/output.f32", "labels.txt", "model.fake", "README.md", "golden", "extra")
BESIDE = {".DS_Store": True, "._model.fake": True, "Thumbs.db": True, "golden/desktop.ini": True, "golden/extra": False}
BESIDE |= {".hidden": False, "a\x1b[2J": False, "\udcff": False, "deep/er/file": False}
"""Names of files beside those of a bundle, and whether one of that name does no harm."""


def form_of(random: Random) -> tuple[str, str, bool]:
    """Another manifest, another kind of file in a place, or a file more; and whether it is recorded as what it is."""
    kind = random.choice(("manifest", "file", "file", "beside"))
    if kind == "manifest":
        return "manifest.json", random.choice(sorted(MANIFEST_FORMS)), False
    if kind == "file":
        return random.choice(PLACES), random.choice((*sorted(FILE_FORMS), "ten lines", "ten lines")), random.random() < 0.5
    return random.choice(sorted(BESIDE)), "beside", False


def apply_form(form: tuple[str, str, bool], bundle: Path) -> bool:
    """Change a bundle; return whether it may still pass."""
    name, kind, recorded = form
    path = next(bundle.glob(name)) if name == INPUT else bundle / name
    if kind == "beside":
        replace_file(path, b"more")
        return BESIDE[name]
    if kind in MANIFEST_FORMS:
        before = path.read_bytes()
        replace_file(path, MANIFEST_FORMS[kind](before))
        return kind == "an end of its own" or kind.startswith("deep") or path.read_bytes() == before
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    FILE_FORMS[kind](path)
    if recorded and name != "manifest.json":
        document = json.loads((bundle / "manifest.json").read_text())
        record_again(bundle, document)
        replace_file(bundle / "manifest.json", json.dumps(document).encode())
    text_alone = name == "README.md" or (name == "labels.txt" and kind == "ten lines")
    return (text_alone and recorded) or (name == "extra" and kind in ("missing", "folder"))


def golden_change(random: Random) -> Callable[[Path, Any], None]:
    """Other golden numbers, with bounds to match."""
    name = random.choice(("golden/output.f32", INPUT))
    how = random.choice(("one", "all", "scale", "swap", "strange"))
    bound = random.choice((None, 1.0, 1e6, 1e30, 1e308))
    place, sign = random.randrange(20), random.choice((-1, 1))
    share, strange = 10 ** random.uniform(-1.7, 5), random.choice((np.nan, np.inf, -np.inf, 3e38, 1e6))

    def change(bundle: Path, document: Any) -> None:
        path = next(bundle.glob(name))
        of_bytes = path.suffix == ".u8"
        values = np.fromfile(path, "u1" if of_bytes else "<f4").astype("<f4")
        scale = np.abs(values).max()
        match how:
            case "one" if name == "golden/output.f32":
                values[place] += sign * share * scale
            case "scale":
                values *= 1 + share
            case "swap":
                values = values[::-1].copy()
            case "strange" if of_bytes:
                values[place] = 255 - values[place]
            case "strange":
                values[place] = strange
            case _:
                values += sign * share * scale
        replace_file(path, (values.clip(0, 255).astype("u1") if of_bytes else values).tobytes())
        if bound is not None:
            for diff in document["parity"]["diffs"]:
                diff["tolerance"] |= {"atol": bound, "noise": bound, "k": bound}
                diff["noise_ratio"] = 0.0

    return change
