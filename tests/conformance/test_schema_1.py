"""Bundles that were made before manifests had schema 2 still verify; what they say is checked like any other manifest."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.verification.replan import plan_of

FIXTURES = Path(__file__).parent.parent / "fixtures" / "schema_1"


def unpack(target: str, folder: Path) -> Path:
    with tarfile.open(FIXTURES / f"{target}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"{target}-fp32"


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_an_old_bundle_verifies(tmp_path: Path, capfd: pytest.CaptureFixture[str], target: str) -> None:
    bundle = unpack(target, tmp_path)
    assert json.loads((bundle / "manifest.json").read_text())["schema_version"] == 1
    assert run(["verify", str(bundle), "--json"]) == 0
    (document,) = json.loads(capfd.readouterr().out)
    assert document["status"] == "passed"
    assert document["golden"]["max_abs"] > 0, "the file was run"
    assert run(["inspect", str(bundle)]) == 0
    assert run(["report", str(bundle), "--output", str(tmp_path / "report.html")]) == 0


@pytest.mark.parametrize("target", ["onnx", "torchscript"])
def test_nothing_of_an_old_manifest_is_lost(tmp_path: Path, target: str) -> None:
    bundle = unpack(target, tmp_path)
    old = json.loads((bundle / "manifest.json").read_text())
    manifest = read_manifest(bundle)
    assert manifest.schema_version == 2
    assert (manifest.conversion.batch, manifest.conversion.image_size) == (1, (64, 64))
    assert (manifest.conversion.takes, manifest.conversion.returns) == (old["input_form"], old["output_form"])
    assert (manifest.conversion.graph, manifest.conversion.form) == (old["graph"], old["options"]["form"])
    assert manifest.operators == old["facts"]["operators"]
    assert set(manifest.options) == set(old["options"]) - {"batch", "image_size", "input", "precision", "form"}
    assert [diff.output for diff in manifest.parity.diffs] == ["logits"] * len(old["parity"]["diffs"])
    assert manifest.golden.outputs[0].path == old["golden"]["output_path"]


def test_the_conversion_of_an_old_bundle_can_be_decided_again(tmp_path: Path) -> None:
    """Its options are those of the target, its form is the one that the target still has."""
    manifest = read_manifest(unpack("onnx", tmp_path))
    model = load_model(ModelOrigin.of(manifest.model, manifest.preprocess))
    exporter = THIS_HOST.find_exporter("onnx")
    assert plan_of(manifest, model, exporter) == exporter.plan(model.spec)


def test_a_changed_golden_output_is_seen_in_an_old_bundle_too(tmp_path: Path, expect_error: Callable[..., str]) -> None:
    """Negative control: schema 1 is no way around the hashes."""
    bundle = unpack("onnx", tmp_path)
    golden = bundle / "golden" / "output.f32"
    golden.write_bytes(golden.read_bytes()[:-1] + b"\x7f")
    assert "changed since it was written" in expect_error(1, "verify", bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old.pop("options"),
        lambda old: old.update(golden=3),
        lambda old: old.update(inputs=[]),
        lambda old: old["inputs"][0].update(shape=[1, 2]),
        lambda old: old["parity"].update(diffs=[3]),
        lambda old: old.update(facts=None),
    ],
)
def test_a_broken_old_manifest_is_named(
    tmp_path: Path, expect_error: Callable[..., str], change: Callable[[dict[str, Any]], object]
) -> None:
    bundle = unpack("onnx", tmp_path)
    old = json.loads((bundle / "manifest.json").read_text())
    change(old)
    (bundle / "manifest.json").write_text(json.dumps(old))
    assert "not a valid manifest" in expect_error(2, "verify", bundle)
