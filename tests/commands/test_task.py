"""`--task features`: bundles of the four stages' maps from the command line, and what other commands say of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from tests.helpers.fakes import FAKE_COMMAND
from tests.helpers.pictures import gradient, save

ErrorCheck = Callable[..., str]
FEATURES = ("fake", "--model", "edgevit_xxs", "--num-classes", "10", "--image-size", "32x64", "--task", "features")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    save(folder / "a.png", gradient(40, 70))
    return folder


@pytest.mark.parametrize("command", [FEATURES, ("all", *FEATURES[1:])], ids=["one", "all"])
def test_the_maps_of_a_rectangle_pass_and_photographs_join_the_probes(
    only_fake: None, command: tuple[str, ...], pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tokens = [*command, "--images", str(pictures), "--output", str(tmp_path), "--json"]
    assert run(tokens) == 0
    document = json.loads(capfd.readouterr().out)
    assert [row["status"] for row in document["rows"] if row["precision"] == "fp32"] == ["passed"]
    assert document["top5"] == {}, "there are no classes to show"
    manifest = read_manifest(tmp_path / "fake-fp32")
    assert manifest.probes.photographs == 1
    assert [spec.shape for spec in manifest.outputs] == [(1, 36, 8, 16), (1, 72, 4, 8), (1, 144, 2, 4), (1, 288, 1, 2)]
    bounds = {diff.output: diff.tolerance.atol for diff in manifest.parity.diffs[:4]}
    assert list(bounds) == ["stage1", "stage2", "stage3", "stage4"]
    assert len(set(bounds.values())) == 4, "each has a bound of its own"


def test_without_the_flag_it_classifies(fake_target: None, tmp_path: Path) -> None:
    assert run([*FAKE_COMMAND, "--output", str(tmp_path)]) == 0
    assert [spec.name for spec in read_manifest(tmp_path / "fake-fp32").outputs] == ["logits"]


def test_targets_that_cannot_are_skipped_by_name(
    fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.helpers.fakes.FakeExporter.tasks", ("classify",))
    assert run([*FEATURES, "--output", str(tmp_path / "out")]) == 2
    assert "fake cannot hold a network that returns features; it has the task classify" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("--task", "feature"), "features"),
        (
            ("--task", "features", "--precision", "int8", "--calibration", "synthetic"),
            "features have none; use --precision fp32",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    fake_target: None, expect_error: ErrorCheck, tmp_path: Path, tokens: tuple[str, ...], said: str
) -> None:
    assert said in expect_error(2, *FAKE_COMMAND, *tokens, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_commands_take_such_a_bundle_or_say_that_they_need_classes(
    fake_target: None, pictures: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    assert run([*FEATURES, "--output", str(tmp_path)]) == 0
    bundle = tmp_path / "fake-fp32"
    for tokens in (("verify",), ("inspect",), ("report", "--output", f"{bundle}.html")):
        assert run([*tokens, str(bundle)]) == 0
    assert "this bundle returns features; drop --images" in expect_error(2, "verify", bundle, "--images", pictures)
    assert "returns features" in expect_error(2, "evaluate", bundle, "--data", pictures)
    message = expect_error(2, "app", "cpp", bundle, "--output", tmp_path / "app")
    assert "the cpp sample loads" in message or "a sample shows classes" in message


@pytest.mark.nightly
def test_bench_times_backbones_beside_the_peers_of_the_same_size_and_names_those_without(
    fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgevit_deploy.measure.make_contests.PEERS", {"MobileNetV2": "", "DeiT-Ti": ""})
    assert run([*FEATURES, "--output", str(tmp_path)]) == 0
    bundle = str(tmp_path / "fake-fp32")
    capfd.readouterr()
    assert run(["bench", bundle, "--against", "peers", "--runs", "20", "--json"]) == 0
    (contest,) = json.loads(capfd.readouterr().out)["against"]
    assert {entry["label"] for entry in contest["standings"]} == {bundle, "MobileNetV2"}
    assert [entry["label"] for entry in contest["rejected"]] == ["DeiT-Ti"]
