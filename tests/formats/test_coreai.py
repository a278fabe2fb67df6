"""What is refused in a Core AI asset before a native library sees it, and that damaged programs end in one error."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats import coreai
from edgevit_deploy.formats.coreai import HASH, METADATA, PROGRAM, check_asset
from edgevit_deploy.formats.coreai.description import CREATOR, LABELS, PREPROCESS, TAKES, read_description
from edgevit_deploy.formats.coreai.program import RESOURCE
from edgevit_deploy.process.session_child import isolated
from edgevit_deploy.spec import Preprocess
from edgevit_deploy.spec.description import normalisation_of
from runtimes.coreai.reference import CoreAIReferenceSession
from tests.helpers.coreai import SMALL, rehash
from tests.helpers.targets import images

OURS = Preprocess(resize=(73, 73), crop=(64, 64), mean=(0.5, 0.4, 0.3))
SAID = {"assetVersion": "2.0", CREATOR: {PREPROCESS: asdict(OURS), TAKES: "tensor", LABELS: ["zebra", "ant"]}}


@pytest.fixture
def asset(tmp_path: Path) -> Path:
    """The files of an asset, with a program that no library has to read."""
    folder = tmp_path / "model.aimodel"
    folder.mkdir()
    (folder / PROGRAM).write_bytes(b"ML\xefR and more")
    (folder / METADATA).write_text(json.dumps(SAID))
    return rehash(folder)


def test_what_is_in_order_is_accepted_and_read(asset: Path) -> None:
    assert check_asset(asset)["assetVersion"] == "2.0"
    said = read_description(asset)
    assert (said.labels, said.normalisation) == (("zebra", "ant"), normalisation_of(OURS, "tensor"))


def _replace_by_link(asset: Path) -> None:
    shutil.move(asset / PROGRAM, asset.parent / "elsewhere")
    (asset / PROGRAM).symlink_to(asset.parent / "elsewhere")


def _replace_by_pipe(asset: Path) -> None:
    (asset / METADATA).unlink()
    os.mkfifo(asset / METADATA)


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda asset: (asset / PROGRAM).write_bytes(b"ML\xefR and less"), "is not the file whose hash is in main.hash"),
    (lambda asset: (asset / HASH).write_bytes(bytes(31)), "is not the file whose hash"),
    (lambda asset: (asset / HASH).write_bytes(bytes(33)), "cannot be read"),
    (lambda asset: (asset / HASH).unlink(), "expected main.mlirb, main.hash, metadata.json"),
    (lambda asset: (asset / "more.bin").write_bytes(b""), "holds main.hash, main.mlirb, metadata.json, more.bin"),
    (_replace_by_link, "main.mlirb is no plain file"),
    (_replace_by_pipe, "metadata.json is no plain file"),
    (lambda asset: (asset / METADATA).write_text("[" * 60_000), "cannot be read"),
    (lambda asset: (asset / METADATA).write_text('{"a": 1, "a": 2}'), "a name is there twice"),
    (lambda asset: (asset / METADATA).write_text("[]"), "no table"),
    (lambda asset: (asset / METADATA).write_text("{}"), "asset version None"),
    (lambda asset: (asset / METADATA).write_bytes(b" " * (2**20 + 1)), "cannot be read"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_a_folder_that_is_not_in_order_is_refused(asset: Path, fault: Callable[[Path], object], message: str) -> None:
    fault(asset)
    with pytest.raises(RunError, match=message.replace("(", r"\(")):
        check_asset(asset)


def test_a_program_larger_than_any_of_ours_is_refused(asset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreai, "MAX_PROGRAM_BYTES", 5)
    with pytest.raises(RunError, match="cannot be read"):
        check_asset(asset)


@pytest.mark.parametrize("wrong", [{PREPROCESS: "x"}, {PREPROCESS: asdict(OURS)}, {LABELS: [1]}, {LABELS: "zebra"}, []])
def test_a_description_of_another_kind_is_one_error(asset: Path, wrong: object) -> None:
    (asset / METADATA).write_text(json.dumps({"assetVersion": "2.0", CREATOR: wrong}))
    with pytest.raises(RunError, match="its own preprocessing cannot be read"):
        read_description(asset)


def test_resources_are_read_from_their_section() -> None:
    lines = ('constant_0: "0x0400000001020304",', '"a b": "0x04FF"')
    section = "{-#\n  dialect_resources: {\n    builtin: {\n      " + "\n      ".join(lines) + "\n    }\n  }\n#-}"
    found = [(each[1], each[2]) for each in RESOURCE.finditer(section)]
    assert found == [("constant_0", "0400000001020304"), ('"a b"', "04FF")]


@pytest.fixture(scope="module")
def real() -> Artifact:
    return SMALL.shared()


@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        "noise at the end",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("empty", "noise at the start", "text")),
    ],
)
def test_a_damaged_program_ends_in_an_error_in_a_child(real: Artifact, tmp_path: Path, damage: str) -> None:
    copy = Path(shutil.copytree(real.path, tmp_path / "model.aimodel"))
    program = bytearray((copy / PROGRAM).read_bytes())
    noise = hashlib.sha256(b"noise").digest() * 8
    if damage == "cut":
        program = program[: len(program) // 2]
    elif damage == "empty":
        program = bytearray()
    elif damage == "text":
        program = bytearray(b"module {}")
    else:
        start = 16 if damage.endswith("start") else len(program) - 4096
        program[start : start + len(noise)] = noise
    (copy / PROGRAM).write_bytes(program)
    session = isolated(CoreAIReferenceSession, "runtimes.coreai.reference:CoreAIReferenceSession")
    with pytest.raises(RunError), session(rehash(copy), inputs=real.inputs, outputs=real.outputs) as opened:
        opened.run({"input": images(1)})


def test_constants_are_those_of_the_network(real: Artifact) -> None:
    constants = [one.constant for one in coreai.load_program(real.path).main.operations if one.constant is not None]
    largest = max(constants, key=lambda array: array.size)
    weights = [value.numpy() for value in SMALL.module_for().state_dict().values() if value.numel() == largest.size]
    assert any(np.array_equal(np.sort(largest, axis=None), np.sort(value, axis=None)) for value in weights)


def test_a_program_that_kills_the_librarys_reader_is_one_line(real: Artifact, tmp_path: Path) -> None:
    """One byte of the table of sections: the library aborts its process, so no reader of an asset may be in ours."""
    from edgevit_deploy.exporter.child import WORKERS
    from edgevit_deploy.exporter.child import isolated as isolated_exporter
    from export.coreai import CoreAIExporter

    copy = Path(shutil.copytree(real.path, tmp_path / "model.aimodel"))
    program = bytearray((copy / PROGRAM).read_bytes())
    program[32] = 0xFF
    (copy / PROGRAM).write_bytes(program)
    exporter = isolated_exporter(CoreAIExporter, "export.coreai:CoreAIExporter")()
    try:
        with pytest.raises(RunError, match=r"model.aimodel could not be read: its process was killed by SIG"):
            exporter.stored(replace(real, path=rehash(copy)))
        assert exporter.stored(real).activations == ()
    finally:
        WORKERS.close()
