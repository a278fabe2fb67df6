"""A place that cannot be used is said before the first conversion of any network, here and with `--on`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import export
from edgevit_deploy.cli import run
from edgevit_deploy.registry import Availability
from tests.helpers.fakes import FakeExporter
from tests.helpers.trained import WEIGHTS


def occupy(place: Path) -> None:
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("x")


@pytest.mark.parametrize("place", ["two/fake-fp32", "two/fake-fp32.failed", "one/fake-fp32.failed"])
def test_of_every_network(only_fake: None, tmp_path: Path, expect_error: Callable[..., str], place: str) -> None:
    two = [shutil.copyfile(WEIGHTS, tmp_path / name) for name in ("one.safetensors", "two.safetensors")]
    out = tmp_path / "out"
    occupy(out / place)
    line = expect_error(2, "all", "--weights", *two, "--output", out)
    assert f"{out / place} exists and is not a bundle" in line
    assert [path for path in out.rglob("*") if path.is_file()] == [out / place / "mine.txt"]


def test_of_every_target(
    fake_target: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, expect_error: Callable[..., str]
) -> None:
    """The fake one comes last."""
    for name in set(export.TARGETS) - {"torchscript", "fake"}:
        monkeypatch.delitem(export.TARGETS, name)
    occupy(tmp_path / "fake-fp32")
    tokens = ("all", "--model", "edgevit_xxs", "--image-size", "32", "--num-classes", "10", "--output", tmp_path)
    assert "fake-fp32 exists and is not a bundle" in expect_error(2, *tokens)
    assert [path.name for path in tmp_path.iterdir()] == ["fake-fp32"]


def test_a_place_of_a_target_that_is_not_tried_is_let_be(
    only_fake: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    occupy(tmp_path / "fake-fp32")
    monkeypatch.setattr(FakeExporter, "probe", lambda self: Availability(ok=False, detail="not installed", fix="pip install it"))
    assert run(["all", "--model", "edgevit_xxs", "--image-size", "32", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "fake-fp32" / "mine.txt").is_file()
