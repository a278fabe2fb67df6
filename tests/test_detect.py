"""`--task detect`: each raw output of a RetinaNet goes through exporter, gate and bundle by a bound of its own."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy.bundle.folder import read_golden
from edgevit_deploy.bundle.manifest import manifest_bytes, parse_manifest, read_manifest
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.parity.gate import ParityReport
from edgevit_deploy.pipeline import convert
from edgevit_deploy.spec.detection import decoding_of
from edgevit_deploy.verification.bundle import verify
from edgevit_deploy.workbench import Workbench
from tests.helpers.detectors import detector
from tests.helpers.fakes import FakeExporter
from tests.helpers.hosts import HostWith
from tests.helpers.tiers import slow_or_nightly

ROWS = {3: 576, 4: 144, 5: 36, 6: 9, 7: 9}
"""Anchors of each level at 64 x 64: nine at each of 8 x 8, 4 x 4, 2 x 2, 1 x 1 and 1 x 1 positions."""

SHAPES = {f"logits_p{level}": (1, rows, 5) for level, rows in ROWS.items()} | {
    f"deltas_p{level}": (1, rows, 4) for level, rows in ROWS.items()
}

REAL = [pytest.param(target, marks=slow_or_nightly(target)) for target in ("onnx", "openvino", "coreml")]


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """One for all tests: its truths are computed once."""
    return Workbench(detector(), THIS_HOST, tmp_path_factory.mktemp("detect"))


@pytest.mark.parametrize("target", ["fake", *REAL])
def test_each_output_passes_the_gate_by_its_own_bound(
    fake_target: None, workbench: Workbench, tmp_path: Path, target: str
) -> None:
    plan = THIS_HOST.require_exporter(target).plan(workbench.model.spec, task="detect")
    conversion = convert(workbench, plan, tmp_path / "bundle")
    assert conversion.report.ok, conversion.report
    diffs = conversion.report.diffs
    assert [diff.output for diff in diffs] == 2 * list(SHAPES), "on the probes, then on the noisiest"
    assert all(diff.top1_agreement is None and 0 < diff.noise_ratio <= diff.tolerance.k for diff in diffs)
    bounds = {diff.output: diff.tolerance.atol for diff in diffs}
    assert bounds["logits_p3"] > 10 * bounds["deltas_p7"], "the widest would hide the narrowest"
    manifest = read_manifest(conversion.bundle)
    assert {spec.name: spec.shape for spec in manifest.outputs} == SHAPES
    assert manifest.decoding == decoding_of("torchvision", (64, 64))
    assert {name: values.shape for name, values in read_golden(conversion.bundle, manifest)[1].items()} == {
        name: (2, *shape[1:]) for name, shape in SHAPES.items()
    }
    readme = (conversion.bundle / "README.md").read_text()
    assert "no sigmoid, no boxes, no suppression of boxes is in it" in readme
    assert "| `logits_p4` | `deltas_p4` | 144 | 4 x 4 | 16, 16 | 90 x 46, " in readme
    assert "the top left corner stays where it is" in readme
    assert verify(conversion.bundle, THIS_HOST, workbench=workbench).status == "passed"


class Changed(nn.Module):
    def __init__(self, head: nn.Module, change: Callable[[list[Tensor]], list[Tensor]]) -> None:
        super().__init__()
        self.head, self.change = head, change

    def forward(self, maps: Any) -> tuple[Tensor, ...]:
        return tuple(self.change(list(self.head(maps))))


def one(place: int, change: Callable[[Tensor], Tensor]) -> Callable[[list[Tensor]], list[Tensor]]:
    return lambda outputs: [change(output) if index == place else output for index, output in enumerate(outputs)]


def turned(x: Tensor) -> Tensor:
    """Positions column by column."""
    return x.reshape(len(x), 4, 4, 9, -1).transpose(1, 2).reshape(x.shape)


FAULTS: dict[str, tuple[Callable[[list[Tensor]], list[Tensor]], set[str]]] = {
    "two levels of one size are swapped": (lambda y: [*y[:3], y[4], y[3], *y[5:]], {"logits_p6", "logits_p7"}),
    "x and y of the deltas are swapped": (one(5, lambda y: y[..., [1, 0, 3, 2]]), {"deltas_p3"}),
    "a sigmoid too much": (one(2, torch.sigmoid), {"logits_p5"}),
    "classes before anchors": (one(1, lambda y: y.reshape(len(y), -1, 5, 9).transpose(2, 3).reshape(y.shape)), {"logits_p4"}),
    "columns before rows": (one(6, turned), {"deltas_p4"}),
    "one number is not finite": (one(9, lambda y: y.clone().index_fill_(1, torch.tensor([3]), torch.nan)), {"deltas_p7"}),
    "a little more in the smallest output": (one(9, lambda y: y + 1e-6), {"deltas_p7"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_output_fails_that_one_alone(
    fake_target: None, workbench: Workbench, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    change, outputs = FAULTS[fault]
    report = judged(workbench, monkeypatch, lambda head: Changed(head, change))
    assert report.status == "failed"
    assert {diff.output for diff in report.diffs if not diff.ok} == outputs


def judged(workbench: Workbench, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[nn.Module], nn.Module]) -> ParityReport:
    """The verdict on what an exporter writes that has another head in place of the right one."""

    class FaultyExporter(FakeExporter):
        def export(self, module: nn.Module, plan: Any, folder: Path) -> Any:
            module = copy.deepcopy(module)
            module.network.head = spoil(module.network.head)
            return super().export(module, plan, folder)

    monkeypatch.setattr(workbench, "host", HostWith(FaultyExporter()))
    plan = FaultyExporter().plan(workbench.model.spec, task="detect")
    return workbench.judge(workbench.build(plan), workbench.truths(plan))


def without_relu(head: Any) -> Any:
    head.rectified = False
    return head


def test_a_relu_that_is_missing_fails_the_seventh_level(
    fake_target: None, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = judged(workbench, monkeypatch, without_relu)
    assert {diff.output for diff in report.diffs if not diff.ok} == {"logits_p7", "deltas_p7"}


def test_what_cannot_be_converted_is_refused(fake_target: None, workbench: Workbench) -> None:
    spec, exporter = workbench.model.spec, FakeExporter()
    with pytest.raises(UsageError, match="the anchors of a detector are for one image size; use --image-size N or HxW"):
        exporter.refuse(exporter.plan(spec, task="detect", dynamic_size=True))
    with pytest.raises(UsageError, match="detections have none; use --precision fp32"):
        exporter.refuse(exporter.plan(spec, task="detect", precision="int8"))
    with pytest.raises(UsageError, match="the network is for --task detect, and has no head for --task classify"):
        exporter.plan(spec)
    with pytest.raises(UsageError, match="has no head for --task features"):
        exporter.plan(spec, task="features")
    others = [name for name in THIS_HOST.targets() if "detect" not in THIS_HOST.find_exporter(name).tasks]
    assert others
    for name in others:
        other = THIS_HOST.find_exporter(name)
        with pytest.raises(UsageError, match=f"{name} cannot hold a network that returns detections; it has the task"):
            other.refuse(other.plan(spec, task="detect"))


def test_a_manifest_may_not_claim_what_cannot_be(fake_target: None, workbench: Workbench, tmp_path: Path) -> None:
    bundle = convert(workbench, FakeExporter().plan(workbench.model.spec, task="detect"), tmp_path / "bundle").bundle
    good = read_manifest(bundle)
    assert good.decoding is not None
    level, *others = good.decoding.levels

    def with_level(**changes: Any) -> Any:
        levels = (dataclasses.replace(level, **changes), *others)
        return dataclasses.replace(good, decoding=dataclasses.replace(good.decoding, levels=levels))

    mmdet = dataclasses.replace(good.model, head=dataclasses.replace(good.model.head, p6_from="p5", anchors="mmdet"))  # type: ignore[arg-type]
    geometry = "its levels, strides or anchors are not those of"
    other_geometry = [
        with_level(stride=(8000, 8000)),
        with_level(anchors=((1.0, 1.0),) * 9),
        with_level(grid=(4, 16)),
        dataclasses.replace(good, model=mmdet),
        dataclasses.replace(good, decoding=dataclasses.replace(good.decoding, scale_range=(None, 3.0))),
        dataclasses.replace(good, decoding=dataclasses.replace(good.decoding, levels=good.decoding.levels[::-1])),
    ]
    for lie in other_geometry:
        with pytest.raises(UsageError, match=geometry):
            parse_manifest(manifest_bytes(lie), bundle / "manifest.json")
    chosen = dataclasses.replace(good.decoding, score_threshold=0.3, iou_threshold=0.6, candidates=500, most=20)
    assert parse_manifest(manifest_bytes(dataclasses.replace(good, decoding=chosen)), bundle / "manifest.json").decoding == chosen
    lies = {
        "whether it says how boxes are decoded": dataclasses.replace(good, decoding=None),
        geometry: with_level(grid=(16, 8)),
        "are decoded as": dataclasses.replace(good, outputs=good.outputs[1:]),
        "10 levels, expected 1 to 5": dataclasses.replace(
            good, decoding=dataclasses.replace(good.decoding, levels=good.decoding.levels * 2)
        ),
        "an output is decoded twice": with_level(logits=level.deltas),
        "counts of boxes, expected 1 to 4096": dataclasses.replace(
            good, decoding=dataclasses.replace(good.decoding, candidates=100_000)
        ),
        "an anchor with a side of 0": with_level(anchors=((0.0, 1.0),)),
        "expected 1 and more": with_level(grid=(2**40, 2**40)),
        "not those of torchvision for images of": with_level(logits="logits_px"),
    }
    for message, lie in lies.items():
        with pytest.raises(UsageError, match=message):
            parse_manifest(manifest_bytes(lie), bundle / "manifest.json")
    assert parse_manifest(manifest_bytes(good), bundle / "manifest.json") == good


def test_a_rectangle_that_is_no_multiple_of_128(fake_target: None, tmp_path: Path) -> None:
    """P6 and P7 round up, and torchvision's strides follow them."""
    workbench = Workbench(detector(image_size=(32, 96)), THIS_HOST, tmp_path / "scratch")
    conversion = convert(workbench, FakeExporter().plan(workbench.model.spec, task="detect"), tmp_path / "bundle")
    assert conversion.report.ok
    levels = read_manifest(conversion.bundle).decoding.levels  # type: ignore[union-attr]
    assert [level.grid for level in levels] == [(4, 12), (2, 6), (1, 3), (1, 2), (1, 1)]
    assert [level.stride for level in levels] == [(8, 8), (16, 16), (32, 32), (32, 48), (32, 96)]
