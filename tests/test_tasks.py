"""A second task: the feature maps of the four stages, in place of classes, go the same way through exporter, gate and bundle.

Nothing on that way may assume one output of two axes.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from edgevit_deploy.bundle.folder import read_golden
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.errors import RunError, UsageError
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.parity.gate import ParityReport, check_session, run_in_batches
from edgevit_deploy.pipeline import convert
from edgevit_deploy.verification.bundle import artifact_of, verify
from edgevit_deploy.workbench import Workbench
from tests.helpers.fakes import FakeExporter
from tests.helpers.hosts import HostWith
from tests.helpers.small import SMALL_SIZE, tiny_weights
from tests.helpers.tiers import slow_or_nightly

SHAPES = [(1, 36, 16, 16), (1, 72, 8, 8), (1, 144, 4, 4), (1, 288, 2, 2)]
"""Of XXS at 64 x 64: channels of paper table 1, strides 4, 8, 16 and 32."""

REAL = [
    pytest.param(target, graph, marks=pytest.mark.slow) for target in ("onnx", "openvino") for graph in ("original", "deploy")
]

TARGETS = [pytest.param(target, marks=slow_or_nightly(target)) for target in THIS_HOST.targets()]


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    model = load_model(ModelOrigin(weights=tiny_weights(), image_size=SMALL_SIZE))
    return Workbench(model, THIS_HOST, tmp_path / "scratch")


def test_the_features_are_what_the_stages_end_with(workbench: Workbench) -> None:
    network = workbench.model.network
    images = torch.randn(1, 3, *SMALL_SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = network.features(images)
        assert [tuple(each.shape) for each in maps] == SHAPES
        assert torch.equal(network.head(network.norm(maps[-1]).flatten(2).mean(-1)), network(images))


@pytest.mark.parametrize(("target", "graph"), [("fake", "original"), ("fake", "deploy"), *REAL])
def test_feature_maps_pass_the_same_gate_and_make_a_bundle(
    fake_target: None, workbench: Workbench, tmp_path: Path, target: str, graph: Any
) -> None:
    exporter = THIS_HOST.require_exporter(target)
    plan = exporter.plan(workbench.model.spec, task="features", graph=graph)
    conversion = convert(workbench, plan, tmp_path / "bundle")
    assert conversion.report.ok, conversion.report
    diffs = conversion.report.diffs
    assert [diff.output for diff in diffs] == 2 * ["stage1", "stage2", "stage3", "stage4"], "on the probes, then on the noisiest"
    assert all(diff.top1_agreement is None and diff.smallest_margin is None for diff in diffs), "classes are not looked for"
    assert all(0 < diff.noise_ratio <= diff.tolerance.k for diff in diffs)
    manifest = read_manifest(conversion.bundle)
    assert [spec.shape for spec in manifest.outputs] == SHAPES
    inputs, outputs = read_golden(conversion.bundle, manifest)
    assert {name: values.shape[1:] for name, values in outputs.items()} == {
        f"stage{number}": shape[1:] for number, shape in enumerate(SHAPES, start=1)
    }
    assert len(inputs) == len(outputs["stage1"]) == 2
    readme = (conversion.bundle / "README.md").read_text()
    assert "golden/stage3.f32" in readme
    assert "**This file has 4 outputs**" in readme
    verification = verify(conversion.bundle, THIS_HOST, workbench=workbench)
    assert verification.status == "passed"
    assert verification.parity is not None
    assert len(verification.parity.diffs) == 8


class FaultyExporter(FakeExporter):
    """Adds a little to the second map."""

    def export(self, module: torch.nn.Module, plan: Any, folder: Path) -> Any:
        module = copy.deepcopy(module)
        block = module.get_submodule("network.network.blocks2.0.SelfAttn.mlp.fc2")
        block.bias += 1e-3
        return super().export(module, plan, folder)


def test_a_fault_in_one_map_fails_the_gate(fake_target: None, workbench: Workbench, tmp_path: Path) -> None:
    """Negative control: it is seen in that map and in those behind it, not in the one before."""
    workbench.host = HostWith(FaultyExporter())
    plan = FaultyExporter().plan(workbench.model.spec, task="features", graph="original")
    report = convert(workbench, plan, tmp_path / "bundle").report
    assert report.status == "failed"
    assert [diff.ok for diff in report.diffs] == 2 * [True, False, False, False]


class OneAlone(FakeExporter):
    """Adds so little to one map that in another one, whose noise is larger, it would be within the bound."""

    added: ClassVar[dict[str, float]] = {}

    def export(self, module: torch.nn.Module, plan: Any, folder: Path) -> Any:
        class Shifted(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
                return tuple(y + OneAlone.added.get(spec.name, 0) for spec, y in zip(plan.outputs, module(x), strict=True))

        return super().export(Shifted(), plan, folder)


def test_a_fault_in_one_map_fails_though_the_bound_of_another_is_wider(
    fake_target: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(ModelOrigin(model="edgevit_xxs", num_classes=10, image_size=SMALL_SIZE, seed=5))
    workbench = Workbench(model, THIS_HOST, tmp_path / "scratch")
    plan = FakeExporter().plan(model.spec, task="features", graph="original")
    narrow, bounds = bounds_of(convert(workbench, plan, tmp_path / "good").report)
    monkeypatch.setattr(OneAlone, "added", {narrow: 1.05 * bounds[narrow]})
    workbench.host = HostWith(OneAlone())
    diffs = convert(workbench, plan, tmp_path / "bundle").report.diffs[:4]
    assert {diff.output for diff in diffs if not diff.ok} == {narrow}
    assert max(diff.error for diff in diffs) < max(bounds.values()), "one bound for all maps would not have seen it"


def bounds_of(report: ParityReport) -> tuple[str, dict[str, float]]:
    """The map with the narrowest bound, and the bound of each."""
    bounds = {diff.output: diff.tolerance.atol for diff in report.diffs[:4]}
    return min(bounds, key=bounds.__getitem__), bounds


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_returns_the_maps_and_each_has_a_bound_of_its_own(tmp_path: Path, target: str) -> None:
    """The file passes, with a wrong truth for the first map it fails, and shapes that are other maps' are refused."""
    exporter = THIS_HOST.find_exporter(target)
    if not exporter.probe().ok:
        pytest.skip(exporter.probe().detail)
    model = load_model(ModelOrigin(weights=tiny_weights(), image_size=(64, 96)))
    workbench = Workbench(model, THIS_HOST, tmp_path / "scratch")
    plan = exporter.plan(model.spec, task="features")
    conversion = convert(workbench, plan, tmp_path / "bundle")
    manifest = read_manifest(conversion.bundle)
    assert [(spec.name, spec.shape) for spec in manifest.outputs] == [
        (f"stage{number}", (1, 36 * 2**number // 2, 64 >> number + 1, 96 >> number + 1)) for number in range(1, 5)
    ]
    if conversion.report.status == "built, not run":
        assert all(diff.ok for diff in conversion.report.diffs)
        return
    assert conversion.report.ok, conversion.report
    truth, bound = workbench.truths(plan)[0], exporter.bound("fp32")
    narrow, bounds = bounds_of(conversion.report)
    off = (bounds[narrow] + max(bounds.values())) / 2
    artifact = artifact_of(conversion.bundle, manifest, THIS_HOST)
    runtime = THIS_HOST.find_session(target)
    assert runtime is not None
    with runtime(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        given = run_in_batches(session, truth.probes.inputs, 1)[narrow]
        wrong = {**truth.outputs, narrow: given.astype(np.float64) + off}
        report = check_session(session, [replace(truth, outputs=wrong)], bound, [1])
    assert {diff.output for diff in report.diffs if not diff.ok} == {narrow}
    assert max(diff.error for diff in report.diffs) < max(bounds.values()), "one bound for all would not have seen it"
    shapes = [spec.shape for spec in reversed(artifact.outputs)]
    swapped = tuple(replace(spec, shape=shape) for spec, shape in zip(artifact.outputs, shapes, strict=True))
    with pytest.raises(RunError), runtime(artifact.path, inputs=artifact.inputs, outputs=swapped) as session:
        session.run({artifact.inputs[0].name: truth.probes.inputs[:1]})


@pytest.mark.parametrize(
    ("target", "precision"),
    [(target, precision) for target in THIS_HOST.targets() for precision in THIS_HOST.find_exporter(target).quantised],
)
def test_eight_bits_which_classes_judge_are_refused(workbench: Workbench, target: str, precision: Any) -> None:
    exporter: Exporter[Any] = THIS_HOST.find_exporter(target)
    with pytest.raises(UsageError, match="and features have none; use --precision fp32"):
        exporter.refuse(exporter.plan(workbench.model.spec, task="features", precision=precision))


def test_maps_have_no_class_names(workbench: Workbench) -> None:
    plan = FakeExporter().plan(workbench.model.spec, task="features", labels=("a", "b"))
    assert plan.labels == ()


def test_a_free_size_has_an_axis_of_its_own_for_every_stride(workbench: Workbench) -> None:
    plan = FakeExporter().plan(workbench.model.spec, task="features", batch="dynamic", dynamic_size=True)
    assert plan.outputs[1].shape == ("batch", 72, "height_8", "width_8")
    assert plan.outputs[1].accepts((3, 72, 8, 12))
    assert not plan.outputs[1].accepts((3, 36, 8, 12))


def test_golden_numbers_that_are_not_finite_prove_nothing(fake_target: None, fake_bundle: Path, expect_error: Any) -> None:
    """An infinite golden output would make every bound infinite."""
    from tests.helpers.bundles import rehash

    golden = fake_bundle / "golden" / "output.f32"
    values = np.fromfile(golden, dtype="<f4")
    values[3] = np.inf
    values.tofile(golden)
    rehash(fake_bundle)
    assert "not finite" in expect_error(1, "verify", fake_bundle)
