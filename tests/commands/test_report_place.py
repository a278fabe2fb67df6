"""Where the report page goes, and that nothing else is overwritten or left there half-written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.cli import run

ErrorCheck = Callable[..., str]


def test_default_place_is_beside_the_first_bundle(fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(fake_bundle), "--json"]) == 0
    path = fake_bundle.parent / "report.html"
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(capfd.readouterr().out) == {"report": str(path), "verdicts": {str(fake_bundle): "passed"}}


def test_a_changed_file_is_refused_and_no_page_is_written(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    (fake_bundle / "labels.txt").write_text("something else\n")
    assert "changed since it was written" in expect_error(1, "report", fake_bundle)
    assert not (fake_bundle.parent / "report.html").exists()


def test_a_page_inside_a_bundle_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    inside = fake_bundle / "golden" / "report.html"
    assert "would then no longer verify" in expect_error(2, "report", fake_bundle, "--output", inside)
    assert run(["verify", str(fake_bundle)]) == 0


def test_only_files_named_html_are_overwritten(fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    folder, link, weights = tmp_path / "dir.html", tmp_path / "link.html", tmp_path / "weights.pth"
    folder.mkdir()
    weights.write_text("precious")
    link.symlink_to(weights)
    for path in (folder, link):
        assert "exists and is not a file" in expect_error(2, "report", fake_bundle, "--output", path)
    assert "a name that ends in .html" in expect_error(2, "report", fake_bundle, "--output", weights)
    assert weights.read_text() == "precious"
    page = tmp_path / "page.html"
    page.write_text("old")
    assert run(["report", str(fake_bundle), "--output", str(page)]) == 0
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_an_interrupted_write_leaves_the_old_page(
    fake_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_error: ErrorCheck
) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "cannot be written (No space left on device)" in expect_error(2, "report", fake_bundle, "--output", page)
    assert page.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_place_that_cannot_be_written(fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in expect_error(2, "report", fake_bundle, "--output", tmp_path / "file" / "page.html")
