"""`all --on ADDRESS` with workers in processes of their own: the rows, files and folders of a run here, and nothing unproven."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import export
from edgevit_deploy.cli import run
from edgevit_deploy.fleet import convert, dispatch
from edgevit_deploy.fleet.jobs import ConvertJob, Source
from edgevit_deploy.fleet.parcel import Parcel
from edgevit_deploy.spec import PreprocessChoice
from tests.helpers.fakes import FAKE_COMMAND
from tests.helpers.fleet import KilledInTheMiddle, contents
from tests.helpers.trained import WEIGHTS, write_pictures


def rows(capfd: pytest.CaptureFixture[str], *tokens: object) -> list[dict[str, Any]]:
    capfd.readouterr()
    assert run([str(token) for token in (*tokens, "--json")]) == 0
    found: list[dict[str, Any]] = json.loads(capfd.readouterr().out)["rows"]
    return found


@pytest.mark.parametrize("target", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
def test_the_files_and_rows_are_those_of_a_run_here(
    target: str, address: str, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in set(export.TARGETS) - {target}:
        monkeypatch.delitem(export.TARGETS, name)
    images = write_pictures(tmp_path / "pictures", "val", 3, ("bag",)) / "bag"
    tokens = ("all", "--weights", WEIGHTS, "--precision", "fp32", "--images", images)
    here = rows(capfd, *tokens, "--output", tmp_path / "here")
    there = rows(capfd, *tokens, "--output", tmp_path / "there", "--on", address)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert [row["worker"] for row in here] == [""]
    assert [row["worker"] for row in there] == ["red"], "blue cannot build it"
    for row in (*here, *there):
        row.pop("worker")
        row.pop("duration_s")
        row["bundle"] = Path(row["bundle"]).name
    assert there == here


def test_a_conversion_that_is_killed_in_the_middle_is_done_again(
    only_fake: None, address: str, cluster: Any, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same machine here, since only one worker builds it: its process is started again."""
    honest = dispatch.Order
    monkeypatch.setattr(convert, "Order", lambda *, job, **rest: honest(job=KilledInTheMiddle(folder=empty, job=job), **rest))
    assert run(["all", *FAKE_COMMAND[1:], "--on", address, "--output", str(tmp_path / "out")]) == 0
    assert len(list(empty.iterdir())) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fake-fp32"]
    assert run(["verify", str(tmp_path / "out" / "fake-fp32")]) == 0


@pytest.mark.parametrize("fault", [("--image-size", "33"), ("--weights", "/nowhere.pth")])
def test_wrong_arguments_are_one_line_before_anything_is_sent(
    only_fake: None, address: str, cluster: Any, expect_error: Callable[..., str], tmp_path: Path, fault: tuple[str, str]
) -> None:
    expect_error(2, "all", "--model", "edgevit_xxs", *fault, "--on", address, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["a file/below", "occupied"])
def test_a_place_that_cannot_be_used_is_said_before_anything_is_sent(
    only_fake: None, address: str, cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "a file").write_text("x")
    (tmp_path / "occupied" / "fake-fp32.failed").mkdir(parents=True)
    assert run(["all", *FAKE_COMMAND[1:], "--on", address, "--output", str(tmp_path / place)]) == 2
    said = capfd.readouterr().err
    assert "so nothing can be written below it" in said or "exists and is not a bundle" in said
    assert "conversions on" not in said


def test_what_no_worker_builds_is_skipped_by_name_and_counts_as_no_pass(
    only_fake: None, address: str, cluster: Any, expect_error: Callable[..., str], tmp_path: Path
) -> None:
    tokens = ("all", *FAKE_COMMAND[1:], "--on", address, "--output", tmp_path)
    line = expect_error(3, *tokens, "--needs", "macos")
    assert "--needs: no worker has macos; start `edgevit-deploy worker ADDRESS` on a machine that has it" in line
    line = expect_error(3, *tokens, "--needs", "blue", "--require", "fake")
    assert "--require: skipped: fake: no worker has all of blue, build-fake" in line


def test_a_bundle_that_was_changed_on_its_way_is_a_failed_row_and_is_not_written(
    only_fake: None,
    address: str,
    cluster: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    honest = dispatch.Dispatch._outcome

    def tampered(self: Any, attempt: Any, future: Any) -> Any:
        outcome = honest(self, attempt, future)
        assert outcome is not None
        files = {**outcome.result.parcel.files}
        files["model.fake"] = files["model.fake"] + b"x"
        return replace(outcome, result=replace(outcome.result, parcel=Parcel(files=files)))

    monkeypatch.setattr(dispatch.Dispatch, "_outcome", tampered)
    assert run(["all", *FAKE_COMMAND[1:], "--on", address, "--output", str(tmp_path / "out")]) == 1
    assert "what worker red sent is not a bundle as its manifest says (model.fake was changed" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


OTHERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "model": lambda fields: fields.update(origin=replace(fields["origin"], seed=7)),
    "conversion": lambda fields: fields.update(request=replace(fields["request"], batch=2)),
    "preprocess": lambda fields: fields.update(origin=replace(fields["origin"], preprocess=PreprocessChoice(mean=(0.1,) * 3))),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_whole_bundle_of_something_else_is_refused(
    only_fake: None,
    address: str,
    cluster: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    what: str,
) -> None:
    """Hashed rightly, but not what was asked for: as if the worker were given something else."""
    honest = ConvertJob.__init__

    def other(self: ConvertJob, **fields: Any) -> None:
        OTHERS[what](fields)
        honest(self, **fields)

    monkeypatch.setattr(ConvertJob, "__init__", other)
    assert run(["all", *FAKE_COMMAND[1:], "--on", address, "--output", str(tmp_path / "out")]) == 1
    assert f"what worker red sent is not the bundle that was asked for ({what})" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", ["abcdefghik", "abcdefghij"])
def test_labels_of_something_else_are_refused(
    only_fake: None, address: str, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    """As many names, all real, the last one another; the same ones are no reason."""
    asked, sent = tmp_path / "asked.txt", "\n".join(names).encode()
    asked.write_text("\n".join("abcdefghij"))
    monkeypatch.setattr(convert, "Source", lambda *, labels, **rest: Source(labels=("asked.txt", sent), **rest))
    tokens = ["all", *FAKE_COMMAND[1:], "--labels", str(asked), "--on", address, "--output", str(tmp_path / "out")]
    assert run(tokens) == (0 if names == "abcdefghij" else 1)
    assert (tmp_path / "out").exists() == (names == "abcdefghij")
