"""The Core AI target: what is refused, what the written asset holds, and that it computes what float64 does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.coreai import METADATA, load_program
from edgevit_deploy.spec.description import normalisation_of
from export.coreai import CoreAIExporter, CoreAIOptions
from export.coreai.twin import compare_with_twin
from runtimes.coreai.packaged import PackagedCoreAISession
from runtimes.coreai.reference import CoreAIReferenceSession
from tests.helpers.coreai import LABELS, SMALL, approximate_a_gelu, changed, raise_an_epsilon, swap_pads
from tests.helpers.targets import NETWORK, images, left_in

K = 4
"""The project's own multiple of PyTorch's noise for fp32 Core AI files."""


@pytest.fixture(scope="module")
def plain() -> Artifact:
    return SMALL.shared()


@pytest.fixture(scope="module")
def half() -> Artifact:
    return SMALL.shared(precision="fp16")


def evaluate(
    artifact: Artifact, inputs: np.ndarray, path: Path | None = None, runtime: Any = CoreAIReferenceSession
) -> np.ndarray:
    with runtime(path or artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        return session.run({artifact.inputs[0].name: inputs})[artifact.outputs[0].name]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "bf16"}, "use --precision fp32 or fp16 or w8 or palette8 or int8"),
        ({"precision": "palette4"}, "no weights of fewer than 8 bits here"),
        ({"options": CoreAIOptions(minimum_os="v26")}, "coreai has no --minimum-os v26; use v27"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused_before_any_work(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        CoreAIExporter().refuse(SMALL.plan_of(**changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("runtime", [CoreAIReferenceSession, PackagedCoreAISession])
def test_fp32_is_as_near_as_pytorch(plain: Artifact, runtime: Any) -> None:
    inputs = images(1)
    truth, noise = SMALL.truth_and_noise(SMALL.plan_of(), inputs)
    assert np.abs(evaluate(plain, inputs, runtime=runtime) - truth).max() <= K * noise


@pytest.mark.parametrize("fault", [raise_an_epsilon, swap_pads, approximate_a_gelu])
@pytest.mark.parametrize("runtime", [CoreAIReferenceSession, PackagedCoreAISession])
def test_a_planted_fault_is_outside_the_bound(plain: Artifact, tmp_path: Path, fault: Any, runtime: Any) -> None:
    inputs = 0.05 * images(1)
    truth, noise = SMALL.truth_and_noise(SMALL.plan_of(), inputs)
    assert np.abs(evaluate(plain, inputs, runtime=runtime) - truth).max() <= K * noise
    other = changed(plain.path, tmp_path, fault)
    assert np.abs(evaluate(plain, inputs, other, runtime) - truth).max() > 10 * noise


def test_what_was_written_is_read_back(plain: Artifact) -> None:
    assert plain.operators["layer_norm"] == 23
    assert plain.operators["conv2d"] > 40
    assert "constant" not in plain.operators
    assert plain.facts["composites"] == ["layer_norm", "pixel_shuffle"]
    assert plain.facts["minimum_os"] == "iOS 27, macOS 27"
    weights = sum(value.numel() for value in NETWORK.parameters())
    assert 0.9 < plain.facts["constants_bytes"] / (4 * weights) < 1.1
    said = json.loads((plain.path / METADATA).read_bytes())
    assert "edgevit_xxs" in said["description"]
    assert "creationDate" not in said


def test_the_asset_says_what_a_manifest_does(plain: Artifact) -> None:
    said = CoreAIExporter().description(plain)
    assert said is not None
    assert said.labels == LABELS
    assert said.normalisation == normalisation_of(NETWORK.spec.preprocess, "tensor")


@pytest.mark.slow
def test_a_rebuild_has_the_same_bytes(plain: Artifact, tmp_path: Path) -> None:
    """In another process, where random letters and salted hashes are others."""
    from edgevit_deploy.exporter.child import isolated

    exporter = isolated(CoreAIExporter, "export.coreai:CoreAIExporter")()
    plan = SMALL.plan_of()
    again = exporter.export(SMALL.module_for(plan), plan, tmp_path)
    assert tree(again.path) == tree(plain.path)
    assert left_in(tmp_path) == [again.path.name]


@pytest.mark.slow
def test_half_precision_is_its_twin_but_for_rounding(half: Artifact, plain: Artifact, tmp_path: Path) -> None:
    same = half.facts["same_as_fp32_but_rounded"]
    assert same["rounded_constants"] > 100
    assert half.facts["constants_bytes"] < 0.51 * plain.facts["constants_bytes"]
    inputs = images(1)
    truth, _ = SMALL.truth_and_noise(SMALL.plan_of(), inputs)
    assert np.abs(evaluate(half, inputs) - truth).max() < 0.01 * np.abs(truth).max()
    for fault, message in ((approximate_a_gelu, "gelu"), (swap_pads, "constant"), (raise_an_epsilon, "layer_norm")):
        with pytest.raises(ExportError, match=message):
            compare_with_twin(changed(half.path, tmp_path / message, fault), plain.path)


@pytest.mark.parametrize(
    "changes",
    [pytest.param({"dynamic_batch": True}, marks=pytest.mark.nightly), pytest.param({"takes": "uint8"}, marks=pytest.mark.slow)],
)
def test_free_batches_and_bytes(changes: dict[str, Any]) -> None:
    artifact, plan = SMALL.shared(**changes), SMALL.plan_of(**changes)
    batch = 3 if plan.dynamic_batch else 1
    inputs = images(batch)
    if plan.takes == "uint8":
        inputs = np.random.default_rng(0).integers(0, 256, inputs.shape).astype(np.uint8)
    truth, noise = SMALL.truth_and_noise(plan, inputs)
    for runtime in (CoreAIReferenceSession, PackagedCoreAISession):
        assert np.abs(evaluate(artifact, inputs, runtime=runtime) - truth).max() <= K * noise
    assert (load_program(artifact.path).main.inputs[0].shape[0] is None) == plan.dynamic_batch


def test_bilinear_upsampling_is_refused_by_its_operator(tmp_path: Path, expect_error: Callable[..., str]) -> None:
    said = expect_error(2, "coreai", "--model", "edgevit_xxs_bilinear", "--image-size", 64, "--output", tmp_path / "out")
    assert "interpolate" in said
    assert not (tmp_path / "out").exists()
