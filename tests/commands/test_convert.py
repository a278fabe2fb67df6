"""`convert.py TARGET` and `all`: what is done, skipped and failed, what is shown of it, and what is never called passed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy import host as hosts
from edgevit_deploy.cli import run
from edgevit_deploy.registry import Availability
from tests.helpers.fakes import FAKE_COMMAND, FakeExporter, FakeSession

ErrorCheck = Callable[..., str]


def test_all_counts_a_skip_as_no_pass(
    only_fake: None, expect_error: ErrorCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = Availability(ok=False, detail="fakelib not installed", fix="pip install fakelib")
    monkeypatch.setattr(FakeExporter, "probe", classmethod(lambda cls: missing))
    tokens = ("all", *FAKE_COMMAND[1:], "--output", str(tmp_path))
    assert run(tokens) == 0
    captured = capfd.readouterr().err
    assert "skipped" in captured
    assert "pip install fakelib" in captured
    message = expect_error(3, *tokens, "--require", "fake")
    assert "--require: skipped: fake: fakelib not installed; pip install fakelib" in message


def test_skipped_targets_are_one_line_and_a_narrow_terminal_gets_fewer_columns(
    fake_target: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every other target has nothing installed; what is left fits 80 columns, and in 160 nothing is left out."""
    import export

    missing = Availability(ok=False, detail="lib not installed", fix="pip install lib")
    for name, line in export.TARGETS.items():
        if name != "fake":
            monkeypatch.setattr(line.load(), "probe", classmethod(lambda cls: missing))
    tokens = ["all", *FAKE_COMMAND[1:], "--output", str(tmp_path / "a folder with a long name")]
    monkeypatch.setattr("edgevit_deploy.commands.console.WIDTH_OF_A_FILE", 80)
    assert run(tokens) == 0
    lines = capfd.readouterr().err.splitlines()
    table = [line for line in lines if line.startswith(("┏", "┃", "┡", "│", "└"))]
    assert len(table) == 5, "one row: no skipped target has one"
    assert max(map(len, table)) <= 80
    assert "x noise" in table[1]
    assert "bundle" not in table[1]
    (line,) = [line for line in lines if line.startswith("not installed: ")]
    names, extras = line.removeprefix("not installed: ").split(". pip install -e ")
    assert {"ncnn", "litert", "executorch", "openvino"} <= set(names.split(", "))
    assert {"ncnn", "litert", "executorch", "openvino"} <= set(extras.partition("[")[2].partition("]")[0].split(","))
    monkeypatch.setattr("edgevit_deploy.commands.console.WIDTH_OF_A_FILE", 200)
    assert run(tokens) == 0
    assert "ran on" in capfd.readouterr().err


def test_all_goes_on_after_a_failure_and_exits_1(only_fake: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgevit_deploy.errors import ExportError

    def export(self: FakeExporter, module: object, plan: object, folder: Path) -> None:
        raise ExportError("the converter fell over")

    monkeypatch.setattr(FakeExporter, "export", export)
    assert run(["all", *FAKE_COMMAND[1:], "--output", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []


def test_all_runs_what_can_run(only_fake: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["all", *FAKE_COMMAND[1:], "--output", str(tmp_path), "--require", "fake", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert [(row["target"], row["status"]) for row in document["rows"]] == [("fake", "passed")]


def test_built_but_not_run_is_not_passed(
    fake_target: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = Availability(ok=False, detail="no accelerator", fix="buy one")
    monkeypatch.setattr(FakeSession, "probe", classmethod(lambda cls: missing))
    hosts.find_session.cache_clear()
    try:
        assert run([*FAKE_COMMAND, "--output", str(tmp_path), "--json"]) == 0
        captured = capfd.readouterr()
        assert json.loads(captured.out)["rows"][0]["status"] == "built, not run"
        assert "no accelerator" in captured.err
        assert run(["verify", str(tmp_path / "fake-fp32")]) == 3
        assert "not run is not passed" in capfd.readouterr().err
    finally:
        hosts.find_session.cache_clear()


@pytest.mark.slow
def test_a_substitute_is_not_passed(
    fake_target: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file whose arithmetic this host lacks is run in another one, which is said everywhere and never called passed."""
    load = FakeSession._load

    def load_a_substitute(self: FakeSession) -> None:
        load(self)
        self.substitute = "this CPU has no bf16, so it was run in fp32"

    monkeypatch.setattr(FakeSession, "_load", load_a_substitute)
    assert run([*FAKE_COMMAND, "--output", str(tmp_path)]) == 0
    said = capfd.readouterr().err
    assert "built, not run: Checked instead: this CPU has no bf16, so it was run in fp32: passed" in " ".join(said.split())
    bundle = tmp_path / "fake-fp32"
    readme = (bundle / "README.md").read_text()
    assert "**Built, not run**" in readme
    assert "this CPU has no bf16" in readme
    assert run(["verify", str(bundle), "--layers", "--seed", "0"]) == 3
    said = capfd.readouterr().err
    assert "not run is not passed. this CPU has no bf16" in said
    assert "layers are within tolerance, but this CPU has no bf16" in said
    assert run(["bench", str(bundle)]) == 3
    assert "this CPU has no bf16, so it was run in fp32, whose speed is not the file's" in capfd.readouterr().err
    (tmp_path / "wrong").mkdir()
    assert run([*FAKE_COMMAND, "--fault", "bias", "--output", str(tmp_path / "wrong")]) == 1


@pytest.mark.slow
def test_dynamic_sizes_are_proven_at_a_second_one(fake_target: None, tmp_path: Path) -> None:
    from edgevit_deploy.bundle.manifest import read_manifest

    tokens = ("fake", "--model", "edgevit_xxs", "--num-classes", "10", "--image-size", "dynamic", "--batch", "dynamic")
    assert run([*tokens, "--output", str(tmp_path)]) == 0
    diffs = read_manifest(tmp_path / "fake-fp32").parity.diffs
    assert {(diff.batch, diff.image_size) for diff in diffs} == {
        (1, (224, 224)),
        (3, (224, 224)),
        (1, (256, 320)),
        (3, (256, 320)),
    }


@pytest.mark.slow
def test_the_file_of_form_says_how_the_graph_is_written(fake_target: None, tmp_path: Path) -> None:
    """As the operators of the written file show, beside those of the target's own form."""
    from edgevit_deploy.bundle.manifest import read_manifest

    form = tmp_path / "form.toml"
    form.write_text('sampler = "slice"\nlocal_prop = "kept"\nmeasured = "by nobody"\n')

    def written(*tokens: str) -> dict[str, int]:
        assert run([*FAKE_COMMAND, *tokens, "--output", str(tmp_path / "bundles")]) == 0
        manifest = read_manifest(tmp_path / "bundles" / "fake-fp32")
        assert manifest.parity.status == "passed"
        return manifest.operators  # type: ignore[return-value]

    own, by_file = written(), written("--form", str(form))
    assert (own["Sampler"], own["PixelShuffle"]) == (by_file["SlicedSampler"], by_file["LocalProp"])
    assert not {"SlicedSampler", "LocalProp"} & set(own)
    assert not {"Sampler", "PixelShuffle"} & set(by_file)
