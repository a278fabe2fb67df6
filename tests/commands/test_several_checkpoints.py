"""`all --weights A B`: each checkpoint has a folder and a table of its own."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from tests.helpers.trained import WEIGHTS, write_other


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Two checkpoints of other names and weights."""
    one = shutil.copyfile(WEIGHTS, tmp_path / "one.safetensors")
    return [str(one), str(write_other(tmp_path / "two.safetensors"))]


def test_each_has_a_folder_and_a_table(
    only_fake: None, two: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["all", "--weights", *two, "--output", str(tmp_path / "out"), "--json"]) == 0
    captured = capfd.readouterr()
    networks = json.loads(captured.out)["networks"]
    assert [network["weights"] for network in networks] == two
    bundles = [Path(row["bundle"]) for network in networks for row in network["rows"]]
    assert bundles == [tmp_path / "out" / name / "fake-fp32" for name in ("one", "two")]
    made_from = [json.loads((bundle / "manifest.json").read_text())["model"]["weights_sha256"] for bundle in bundles]
    assert made_from == [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in two]
    assert made_from[0] != made_from[1]
    assert all(path in captured.err for path in two)


def test_one_is_as_it_always_was(only_fake: None, two: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["all", "--weights", two[0], "--output", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert [row["bundle"] for row in document["rows"]] == [str(tmp_path / "out" / "fake-fp32")]


@pytest.mark.parametrize("name", ["one.pth", "ONE.safetensors", "one.safetensors"])
def test_two_of_one_name_are_refused(
    only_fake: None, two: list[str], tmp_path: Path, expect_error: Callable[..., str], name: str
) -> None:
    other = tmp_path / "other" / name
    other.parent.mkdir()
    shutil.copyfile(WEIGHTS, other)
    line = expect_error(2, "all", "--weights", two[0], other, "--output", tmp_path / "out")
    assert f"--weights {two[0]} and {other}: the bundles of both would go to" in line
    assert not (tmp_path / "out").exists()


def test_a_bad_one_is_said_before_the_first_is_converted(
    only_fake: None, two: list[str], tmp_path: Path, expect_error: Callable[..., str]
) -> None:
    (tmp_path / "bad.pth").write_bytes(b"no checkpoint")
    assert "bad.pth" in expect_error(2, "all", "--weights", two[0], tmp_path / "bad.pth", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
