"""Axes that a manifest names free are those that its conversion left so; and what it says reaches no terminal as it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.cli import run
from tests.helpers.bundles import edit_manifest, rehash

ErrorCheck = Callable[..., str]


@pytest.mark.parametrize("end", ["inputs", "outputs"])
@pytest.mark.parametrize(("axis", "claimed"), [(0, "batch"), (0, "x"), (0, 2), (1, "channels"), (1, "")])
def test_an_axis_is_not_free_where_the_conversion_fixed_it(
    fake_bundle: Path, expect_error: ErrorCheck, end: str, axis: int, claimed: str | int
) -> None:
    def claim(document: dict[str, Any]) -> None:
        document[end][0]["shape"][axis] = claimed

    assert run(["verify", str(fake_bundle)]) == 0, "the control"
    edit_manifest(fake_bundle, claim)
    assert "has the shape" in expect_error(2, "verify", fake_bundle)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_side_of_the_image_is_not_free_where_the_conversion_fixed_it(
    fake_bundle: Path, expect_error: ErrorCheck, axis: int
) -> None:
    def claim(document: dict[str, Any]) -> None:
        document["inputs"][0]["shape"][axis] = "height"

    edit_manifest(fake_bundle, claim)
    assert "has the shape" in expect_error(2, "verify", fake_bundle)


def test_free_axes_are_where_the_conversion_left_them(fake_target: None, tmp_path: Path) -> None:
    """The control: nothing of what is really free is refused."""
    tokens = ["fake", "--model", "edgevit_xxs", "--image-size", "dynamic", "--batch", "dynamic", "--num-classes", "10"]
    assert run([*tokens, "--output", str(tmp_path)]) == 0
    shape = json.loads((tmp_path / "fake-fp32" / "manifest.json").read_text())["inputs"][0]["shape"]
    assert shape == ["batch", 3, "height", "width"]
    assert run(["verify", str(tmp_path / "fake-fp32")]) == 0


@pytest.mark.parametrize("place", [0, 1], ids=["before", "behind"])
def test_golden_data_of_one_name_are_there_once(fake_bundle: Path, expect_error: ErrorCheck, place: int) -> None:
    """Of two, an app may replay the one that was never compared."""
    path = fake_bundle / "golden" / "other.f32"
    path.write_bytes(bytes((fake_bundle / "golden" / "output.f32").stat().st_size))

    def claim(document: dict[str, Any]) -> None:
        outputs = document["golden"]["outputs"]
        outputs.insert(place, outputs[0] | {"path": "golden/other.f32"})

    edit_manifest(fake_bundle, claim)
    rehash(fake_bundle)
    assert "recorded twice" in expect_error(2, "verify", fake_bundle)


def test_a_file_of_a_terabyte_is_refused_before_it_is_hashed(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    """Made sparse, it takes no room on the disk."""

    def claim(document: dict[str, Any]) -> None:
        next(record for record in document["files"] if record["path"] == "README.md")["bytes"] = 2**40

    with (fake_bundle / "README.md").open("r+b") as file:
        file.truncate(2**40)
    edit_manifest(fake_bundle, claim)
    assert "a file of more than 17179869184 bytes is recorded" in expect_error(2, "verify", fake_bundle)


@pytest.mark.parametrize("text", ["\x7f", "\x9b2J", "\u202egpj", "\u2028", "\ufeff", "\U000e0041"])
def test_json_on_a_terminal_is_the_same_document_with_nothing_that_is_obeyed(
    fake_bundle: Path, capfdbinary: pytest.CaptureFixture[bytes], text: str
) -> None:
    edit_manifest(fake_bundle, lambda document: document.update(notes=[text, "caf\u00e9 \U0001f600"]))
    capfdbinary.readouterr()
    assert run(["inspect", str(fake_bundle), "--json"]) == 0
    out = capfdbinary.readouterr().out.decode()
    assert json.loads(out)["notes"] == [text, "caf\u00e9 \U0001f600"]
    assert "caf\u00e9 \U0001f600" in out
    assert text[0] not in out
