"""`convert.py app`: a sample and a bundle become a project; bundles that a sample cannot show, or that prove nothing, do not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.apps import samples
from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.cli import run
from tests.helpers.bundles import edit_manifest

SAMPLE = """
title = "a desk"
bundle = "assets/bundle"
next = ["make", "./desk PICTURE"]
vectors = "tests"
[backends.{target}]
library = "fake runtime 1"
proof = "run here"
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Samples of two platforms: a desk, which loads what the fake target writes, and a wall, which does not."""
    for platform, target in (("desk", "fake"), ("wall", "other")):
        folder = tmp_path / "samples" / platform
        (folder / "src").mkdir(parents=True)
        (folder / "sample.toml").write_text(SAMPLE.format(target=target))
        (folder / "src/main.txt").write_text("reads assets/bundle")
        (folder / "build").mkdir()
    shutil.copy(samples.SAMPLES / samples.VECTORS_NAME, tmp_path / "samples")
    # This one first: it imports a module that takes the other one's value, which is then the true one to go back to.
    monkeypatch.setattr("edgevit_deploy.apps.write.SAMPLES", tmp_path / "samples")
    monkeypatch.setattr(samples, "SAMPLES", tmp_path / "samples")
    return tmp_path / "samples/desk"


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_bundle, tmp_path / "bundle")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_project_holds_the_sample_the_bundle_and_the_vectors(
    desk: Path, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["app", "desk", str(bundle), "--output", str(tmp_path / "out"), "--json"]) == 0
    out, err = capfd.readouterr()
    assert _files(tmp_path / "out") == {
        "src/main.txt",
        "tests/vectors.json",
        *(f"assets/bundle/{name}" for name in _files(bundle)),
    }
    assert open_bundle(tmp_path / "out/assets/bundle").target == "fake"
    document = json.loads(out)
    assert document["library"] == "fake runtime 1"
    assert document["warnings"] == []
    assert document["next"][0] == "make"
    assert "fake runtime 1; run here" in err
    assert "./desk PICTURE" in err
    assert [path.name for path in tmp_path.glob(".*")] == []


def _of_four(document: dict) -> None:
    document["conversion"]["batch"] = 4
    for tensor in (*document["inputs"], *document["outputs"]):
        tensor["shape"][0] = 4


def _padded(fit: str) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        document["preprocess"].update(fit=fit, resize=document["preprocess"]["crop"])

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_of_four, "takes 4 pictures a run"),
        (lambda document: document.update(target="other"), "give a bundle of those, or `"),
        (_padded("letterbox"), "were padded (resize mode letterbox), and no sample pads; convert with --resize-mode cover"),
        (_padded("pad"), "were padded (resize mode pad)"),
    ],
)
def test_a_bundle_that_the_sample_cannot_show(
    desk: Path, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], change: object, line: str
) -> None:
    edit_manifest(bundle, change)  # type: ignore[arg-type]
    assert run(["app", "desk", str(bundle), "--output", str(tmp_path / "out")]) == 2
    assert line in " ".join(capfd.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_sample_that_cannot_give_what_a_bundle_takes(
    desk: Path, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sample = desk / "sample.toml"
    text = sample.read_text()
    sample.write_text(text.replace("[backends", 'takes = ["image", "uint8"]\n[backends'))
    assert run(["app", "desk", str(bundle), "--output", str(tmp_path / "out")]) == 2
    line = " ".join(capfd.readouterr().err.split())
    assert "gives a file no tensor input" in line
    assert line.endswith("convert it with --input image or uint8")
    assert not (tmp_path / "out").exists()
    sample.write_text(text.replace("[backends", 'takes = ["tensor"]\n[backends'))
    assert run(["app", "desk", str(bundle), "--output", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(("status", "line"), [("failed", "failed parity"), ("built, not run", "was built and never run")])
def test_what_is_not_proven_needs_a_word(
    desk: Path, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], status: str, line: str
) -> None:
    edit_manifest(bundle, lambda document: document["parity"].update(status=status))
    command = ["app", "desk", str(bundle), "--output", str(tmp_path / "out")]
    assert run(command) == 1
    assert line in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run([*command, "--unproven"]) == 0
    assert "the bundle is unproven" in capfd.readouterr().err


def test_a_damaged_bundle_becomes_no_app(desk: Path, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (bundle / "labels.txt").write_text("changed\n")
    assert run(["app", "desk", str(bundle), "--output", str(tmp_path / "out"), "--unproven"]) == 1
    assert "changed since it was written" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_that_is_there_is_lost(desk: Path, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    command = ["app", "desk", str(bundle), "--output", str(tmp_path / "out")]
    assert run(command) == 0, "an empty folder is nothing"
    (tmp_path / "out/src/main.txt").write_text("mine")
    assert run(command) == 2
    assert "give another --output" in capfd.readouterr().err
    assert (tmp_path / "out/src/main.txt").read_text() == "mine"


def test_a_copy_that_fails_leaves_nothing(desk: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert run(["app", "desk", str(bundle), "--output", str(tmp_path / "below/out")]) == 2
    assert list((tmp_path / "below").iterdir()) == []


def test_an_unknown_platform(desk: Path, bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "dask", str(bundle)]) == 2
    assert "did you mean 'desk'?" in capfd.readouterr().err


@pytest.mark.parametrize("platform", samples.platforms())
def test_what_the_samples_say_of_themselves(platform: str) -> None:
    sample = samples.find_sample(platform)
    assert sample.backends
    assert sample.next
    assert sample.title
    assert not list(sample.folder.rglob("manifest.json")), "a bundle is nobody's business here"
