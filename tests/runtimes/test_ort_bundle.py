"""A bundle around `model.ort`: made, verified, and refused or failed where the file in it was changed and recorded again."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.cli import run
from edgevit_deploy.formats.onnx.ort import read_ort
from tests.helpers.bundles import rehash
from tests.helpers.cpp import tiny_bundle

pytestmark = pytest.mark.slow


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle("onnx", "fp32", "--format", "ort"), tmp_path / "onnx-fp32"))


def verified(bundle: Path) -> int:
    return run(["verify", str(bundle)])


def test_the_file_and_its_operators_are_recorded(bundle: Path) -> None:
    manifest = open_bundle(bundle)
    assert manifest.path == "model.ort"
    assert manifest.options["format"] == "ort"
    assert {"model.ort", "model.required_operators.config"} <= {record.path for record in manifest.files}
    assert manifest.parity.verdict == "passed"
    assert verified(bundle) == 0


def test_a_changed_byte_of_a_weight_fails_by_its_numbers(bundle: Path) -> None:
    """Recorded again as an attacker could, so that no hash tells."""
    path = bundle / "model.ort"
    content = bytearray(path.read_bytes())
    constants = read_ort(bytes(content), "model.ort").constants.values()
    weights = max((values for values in constants if values.dtype == np.float32), key=lambda values: values.size)
    content[content.index(weights.tobytes()) + 4 * int(np.abs(weights).argmax()) + 3] ^= 1
    path.write_bytes(content)
    assert verified(bundle) != 0, "by its hash"
    rehash(bundle)
    assert verified(bundle) == 1


def test_a_file_that_was_cut_is_one_error(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = bundle / "model.ort"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    rehash(bundle)
    assert verified(bundle) in (1, 2)
    said = capfd.readouterr().err
    assert "model.ort" in said
    assert "Traceback" not in said
