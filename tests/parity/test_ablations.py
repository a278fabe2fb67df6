"""Networks with the blocks of the paper's ablations pass the gate: in CI two that have all of them, each night every one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import ABLATIONS, BASELINE
from edgevit_deploy.spec import BlockSpec
from export import TARGETS
from tests.helpers.hosts import runs_here
from tests.model.test_extras_own import metadata
from tests.parity.test_matrix import convert

MIXED = BlockSpec(local="grouped", sampler="center", spread="bilinear"), "edgevit_c36_d1_1_1_1_lsa_center_bilinear"
REDUCED = BlockSpec(attention="reduced"), "edgevit_c36_d1_1_1_1_without_lp"

REFUSED = {
    ("ncnn", "edgevit_xxs_lsa"): "ncnn has no batch axis, and locally grouped attention puts its groups there",
    ("coreai", "edgevit_xxs_bilinear"): "interpolate, is not in the table of the evaluation that judges a Core AI file",
}


def weights(folder: Path, block: BlockSpec, name: str) -> Path:
    """A file of ours, which says its sampler, of one block a stage."""
    network = EdgeViT(replace(BASELINE, depths=(1, 1, 1, 1), num_classes=10, block=block))
    randomise(network, seed=0)
    path = folder / "weights.safetensors"
    save_file(network.state_dict(), path, metadata={"format": "pt", "edgevit_deploy": json.dumps(metadata(variant=name))})
    return path


@pytest.mark.parametrize(
    ("target", "block", "name", "size"),
    [
        pytest.param("onnx", *MIXED, "dynamic", marks=pytest.mark.slow),
        pytest.param("torchscript", *REDUCED, "64", marks=pytest.mark.slow),
        pytest.param("torchscript", *MIXED, "64", marks=pytest.mark.nightly),
        pytest.param("onnx", *REDUCED, "64x96", marks=pytest.mark.nightly),
    ],
)
def test_a_checkpoint_of_such_blocks_converts(tmp_path: Path, target: str, block: BlockSpec, name: str, size: str) -> None:
    manifest = convert(tmp_path, target, "fp32", "--weights", str(weights(tmp_path, block, name)), "--image-size", size)
    assert (manifest.model.variant, manifest.model.block) == (name, block)


@pytest.mark.nightly
def test_it_verifies_with_its_weights(tmp_path: Path) -> None:
    file = weights(tmp_path, *MIXED)
    convert(tmp_path, "onnx", "fp32", "--weights", str(file), "--image-size", "64")
    assert run(["verify", str(tmp_path / "onnx-fp32"), "--weights", str(file), "--layers"]) == 0


@pytest.mark.nightly
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_on_every_target(tmp_path: Path, target: str, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ("--model", name, "--image-size", "64", "--num-classes", "10")
    if (target, name) in REFUSED:
        assert run([target, *flags, "--output", str(tmp_path)]) == 2
        assert REFUSED[target, name] in " ".join(capfd.readouterr().err.split())
        return
    manifest = convert(tmp_path, target, "fp32", *flags)
    assert manifest.model.block == ABLATIONS[name].block
    assert read_manifest(tmp_path / f"{target}-fp32").parity.status == (
        "passed" if runs_here(target, "fp32") else "built, not run"
    )
