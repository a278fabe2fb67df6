"""`--task segment`: a logit for every class and pixel goes through exporter, gate and bundle; faults of it must fail there."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy.bundle.folder import read_golden
from edgevit_deploy.bundle.manifest import manifest_bytes, parse_manifest, read_manifest
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.parity import probes
from edgevit_deploy.parity.pixels import pixel_agreement
from edgevit_deploy.pipeline import convert
from edgevit_deploy.verification.bundle import verify
from edgevit_deploy.workbench import Workbench
from tests.helpers.dense import segmenter
from tests.helpers.fakes import FakeExporter
from tests.helpers.hosts import HostWith

SHAPE = (1, 5, 64, 64)


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    return Workbench(segmenter(), THIS_HOST, tmp_path / "scratch")


REAL = [pytest.param(target, marks=pytest.mark.slow) for target in ("onnx", "openvino", "coreml")]


@pytest.mark.parametrize("target", ["fake", *REAL])
def test_class_maps_pass_the_gate_and_make_a_bundle(fake_target: None, workbench: Workbench, tmp_path: Path, target: str) -> None:
    plan = THIS_HOST.require_exporter(target).plan(workbench.model.spec, task="segment")
    conversion = convert(workbench, plan, tmp_path / "bundle")
    assert conversion.report.ok, conversion.report
    for diff in conversion.report.diffs:
        assert (diff.output, diff.top1_agreement) == ("logits", None)
        assert diff.pixels.pixels == diff.probes * 64 * 64
        assert diff.pixels.agreeing >= diff.pixels.pixels - diff.pixels.ties
        assert diff.pixels.ties < 0.01 * diff.pixels.pixels
    manifest = read_manifest(conversion.bundle)
    assert [(spec.name, spec.shape) for spec in manifest.outputs] == [("logits", SHAPE)]
    assert manifest.model.head.kind == "semantic_fpn"
    assert read_golden(conversion.bundle, manifest)[1]["logits"].shape == (2, *SHAPE[1:])
    readme = (conversion.bundle / "README.md").read_text()
    assert "argmax; ties go to the lower place" in readme
    assert "pixels have the truth's class" in readme
    assert verify(conversion.bundle, THIS_HOST, workbench=workbench).status == "passed"


class OtherCorners(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = copy.deepcopy(head)
        self.head.segmentation_head[1].align_corners = False

    def forward(self, maps: Any) -> torch.Tensor:
        return self.head(maps)


class Changed(nn.Module):
    def __init__(self, head: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.head, self.change = head, change

    def forward(self, maps: Any) -> torch.Tensor:
        return self.change(self.head(maps))


FAULTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "the corners of the last upsampling are not aligned": OtherCorners,
    "two classes are swapped": lambda head: Changed(head, lambda y: y[:, [0, 2, 1, 3, 4]]),
    "everything is one pixel to the right": lambda head: Changed(head, lambda y: y.roll(1, dims=3)),
    "one pixel is not finite": lambda head: Changed(
        head, lambda y: torch.cat([y[..., :-1], torch.full_like(y[..., :1], torch.nan)], dim=3)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_gate_by_its_logits_and_by_its_pixels(
    fake_target: None, workbench: Workbench, tmp_path: Path, fault: str
) -> None:
    class FaultyExporter(FakeExporter):
        def export(self, module: nn.Module, plan: Any, folder: Path) -> Any:
            module = copy.deepcopy(module)
            module.network.head = FAULTS[fault](module.network.head)
            return super().export(module, plan, folder)

    workbench.host = HostWith(FaultyExporter())
    report = convert(workbench, FaultyExporter().plan(workbench.model.spec, task="segment"), tmp_path / "bundle").report
    assert report.status == "failed"
    assert report.worst.max_abs > 100 * report.worst.tolerance.atol
    assert report.pixels.wrong > 0
    assert report.pixels.share < 0.999


def test_only_ties_may_differ() -> None:
    exact = np.zeros((1, 2, 1, 4))
    exact[0, 0, 0] = [1.0, 0.15, 0.2, -1.0]
    actual = exact.copy()
    actual[0, 1, 0] = [0.1, 0.18, 0.0, 0.1]
    found = pixel_agreement(exact, actual, atol=0.1)
    assert (found.pixels, found.agreeing, found.ties, found.wrong) == (4, 3, 2, 0)
    assert found.ok
    actual[0, 1, 0, 0] = 1.5
    assert pixel_agreement(exact, actual, atol=0.1).wrong == 1
    actual[0, 1, 0, 0] = np.nan
    assert not pixel_agreement(exact, actual, atol=0.1).ok
    assert pixel_agreement(exact[:, :1], actual[:, :1], atol=0.1).ties == 0, "one class has no rival"


def test_large_maps_have_fewer_golden_data(
    fake_target: None, workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "MAX_GOLDEN_BYTES", 2 * 5 * 64 * 64 * 4 - 1)
    bundle = convert(workbench, FakeExporter().plan(workbench.model.spec, task="segment"), tmp_path / "bundle").bundle
    assert [array.shape[0] for array in read_manifest(bundle).golden.outputs] == [1]
    assert probes.golden_rows(4, [10**9]) == 4, "a fixed batch is one whole run at least"


def test_a_manifest_may_not_claim_what_cannot_be(fake_target: None, workbench: Workbench, tmp_path: Path) -> None:
    plan = FakeExporter().plan(workbench.model.spec, task="segment")
    bundle = convert(workbench, plan, tmp_path / "bundle").bundle
    good = read_manifest(bundle)
    (diff, *others) = good.parity.diffs
    lies = {
        "counts of pixels": dataclasses.replace(
            good,
            parity=dataclasses.replace(
                good.parity, diffs=(dataclasses.replace(diff, pixels=dataclasses.replace(diff.pixels, agreeing=10**9)), *others)
            ),
        ),
        "its network is for segment": dataclasses.replace(
            good, conversion=dataclasses.replace(good.conversion, returns="features")
        ),
        "expected an output for each of 6 classes": dataclasses.replace(
            good, model=dataclasses.replace(good.model, num_classes=6), labels=dataclasses.replace(good.labels, count=6)
        ),
        "a head of 64 and 1048576 channels": dataclasses.replace(
            good, model=dataclasses.replace(good.model, head=dataclasses.replace(good.model.head, head_channels=2**20))
        ),
    }
    for said, lie in lies.items():
        with pytest.raises(UsageError, match=said):
            parse_manifest(manifest_bytes(lie), bundle)


def test_a_free_size_and_other_tasks(workbench: Workbench) -> None:
    spec = workbench.model.spec
    plan = FakeExporter().plan(spec, task="segment", batch="dynamic", dynamic_size=True)
    assert plan.outputs[0].shape == ("batch", 5, "height", "width")
    for task in ("classify", "features"):
        with pytest.raises(UsageError, match=f"has no head for --task {task}; use --task segment"):
            FakeExporter().plan(spec, task=task)
    with pytest.raises(UsageError, match="judged by a picture's first class, and class maps have none; use --precision fp32"):
        FakeExporter().refuse(FakeExporter().plan(spec, task="segment", precision="int8"))
