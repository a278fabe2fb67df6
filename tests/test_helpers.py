"""What tests rely on: what is shared is made once and left alone, tiers are told apart, and times may be spoilt but not wrong."""

from pathlib import Path

import pytest

from tests.helpers import shared, tiers
from tests.helpers.timing import ATTEMPTS, agrees_once


@pytest.fixture
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another place than that of the other tests."""
    monkeypatch.setattr(shared, "_root", [tmp_path])


def write(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("good")


@pytest.mark.usefixtures("own_root")
def test_what_is_shared_is_made_once() -> None:
    folder = shared.made_once("thing", write)
    assert shared.made_once("thing", lambda _: pytest.fail("made again")) == folder
    assert (folder / "deep" / "file").read_text() == "good"
    assert shared.made_once("another", write) != folder


@pytest.mark.usefixtures("own_root")
@pytest.mark.parametrize("harm", ["changed", "added", "removed"])
def test_whoever_changes_what_is_shared_is_found_out(harm: str) -> None:
    path = shared.made_once("thing", write) / "deep" / "file"
    if harm == "removed":
        path.unlink()
    else:
        (path if harm == "changed" else path.with_name("new")).write_text("bad")
    with pytest.raises(AssertionError, match="a test changed what all tests share, thing"):
        shared.made_once("thing", write)


@pytest.mark.usefixtures("own_root")
def test_what_could_not_be_made_is_made_by_the_next(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        shared.made_once("thing", fail)
    assert [path.name for path in shared.made_once("thing", write).iterdir()] == ["deep"]


def test_the_core_tier_needs_no_converter() -> None:
    assert tiers.is_core(tiers.TESTS / "bundle" / "test_folder.py")
    assert tiers.is_core(tiers.TESTS / "test_cli.py")
    for name in ("export/test_ncnn.py", "parity/test_matrix.py", "measure/test_align_names_real_files.py"):
        assert (tiers.TESTS / name).is_file()
        assert not tiers.is_core(tiers.TESTS / name)
    assert not tiers.is_core(Path("/elsewhere/test_cli.py"))
    assert tiers.converters_among(["torch", "numpy", "onnx", "edgevit_deploy.formats.onnx"]) == {"onnx"}
    for entry in tiers.CORE:
        assert (tiers.TESTS / entry).exists(), entry


@pytest.mark.parametrize(
    ("test", "converter"),
    [
        ("tests/export/test_litert.py::test_notes", "litert"),
        ("tests/conformance/test_targets.py::test_a_session[noise-executorch]", "executorch"),
        ("tests/parity/test_matrix.py::test_cell[executorch-fp32-edgevit_s-1]", "executorch"),
        ("tests/parity/test_matrix.py::test_cell[onnx-fp32-edgevit_s-1]", None),
        ("tests/test_cli.py::test_litert_is_named", None),
    ],
)
def test_the_tests_of_one_slow_converter_are_told_by_their_ids(test: str, converter: str | None) -> None:
    assert tiers.converter_of(test) == converter


def test_one_good_attempt_is_enough_and_a_wrong_unit_fails_all() -> None:
    busy_once = iter([(40.0, 1.0), (1.1, 1.0)])
    assert agrees_once(lambda: next(busy_once), 0.3, 3)
    attempts: list[float] = []

    def in_microseconds() -> tuple[float, float]:
        attempts.append(1.0)
        return 1000.0, 1.0

    assert not agrees_once(in_microseconds, 0.3, 3)
    assert len(attempts) == ATTEMPTS
