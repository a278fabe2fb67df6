"""What bundles are timed against: naive exports and peers, each judged by the parity gate."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from edgevit_deploy.errors import ExportError, MissingError
from edgevit_deploy.exporter import Exporter, ExportPlan
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.baselines import Baseline, Rejected, naive_exports, peers
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.model.peers import PEERS, make_peer
from edgevit_deploy.workbench import Workbench
from tests.helpers.fakes import FakeExporter, FakeOptions
from tests.helpers.small import prepared

SOURCE = ModelOrigin(model="edgevit_xxs", num_classes=10, image_size=(64, 64), seed=3)


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(load_model(SOURCE), THIS_HOST, tmp_path_factory.mktemp("scratch"))


def plan(exporter: Exporter[Any], workbench: Workbench, options: Any = None) -> ExportPlan[Any]:
    return exporter.plan(workbench.model.spec, options=options)


def test_elsewhere_a_naive_export_is_the_published_graph(fake_target: None, workbench: Workbench) -> None:
    (baseline,) = naive_exports(workbench, plan(FakeExporter(), workbench))
    assert isinstance(baseline, Baseline)
    assert (baseline.label, baseline.given) == ("plain conversion", "nothing")
    assert baseline.noise_ratio <= 4
    assert baseline.artifact.facts["tensors"] == len(prepared(workbench.model.network, torch.float32).state_dict())


def test_a_baseline_that_computes_other_numbers_is_not_timed(fake_target: None, workbench: Workbench) -> None:
    (baseline,) = naive_exports(workbench, plan(FakeExporter(), workbench, FakeOptions(fault="bias")))
    assert isinstance(baseline, Rejected)
    assert baseline.reason.startswith("parity failed: ")


def test_a_baseline_that_cannot_be_converted_says_why(
    fake_target: None, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ExportError("no such operator")

    monkeypatch.setattr(FakeExporter, "export", refuse)
    assert naive_exports(workbench, plan(FakeExporter(), workbench)) == [
        Rejected(label="plain conversion", reason="no such operator")
    ]


@pytest.mark.nightly
def test_the_four_naive_exports_of_onnx_compute_the_right_numbers(workbench: Workbench) -> None:
    baselines = naive_exports(workbench, plan(THIS_HOST.find_exporter("onnx"), workbench))
    names = {f"{exporter} exporter{simplified}" for exporter in ("dynamo", "TorchScript") for simplified in ("", ", onnxsim")}
    assert {baseline.label for baseline in baselines} == names
    assert all(isinstance(baseline, Baseline) and baseline.noise_ratio <= 4 for baseline in baselines), baselines
    assert len({baseline.artifact.path.read_bytes() for baseline in baselines if isinstance(baseline, Baseline)}) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("strided", "labels"), [(False, ["MobileNetV2"]), (True, ["MobileNetV2", "MobileNetV2, channels-last"])])
def test_peers_are_converted_and_judged_in_both_layouts_where_there_are_two(
    fake_target: None, workbench: Workbench, monkeypatch: pytest.MonkeyPatch, strided: bool, labels: list[str]
) -> None:
    monkeypatch.setattr(FakeExporter, "strided", strided)
    baselines = peers(workbench, plan(FakeExporter(), workbench), ["MobileNetV2"])
    assert [baseline.label for baseline in baselines] == labels
    for baseline in baselines:
        assert isinstance(baseline, Baseline), baseline
        assert baseline.artifact.inputs[0].shape == (1, 3, 224, 224)
        assert baseline.artifact.outputs[0].shape == (1, 1000)


@pytest.mark.parametrize(("strided", "labels"), [(False, ["MobileNetV2"]), (True, ["MobileNetV2", "MobileNetV2, channels-last"])])
def test_peers_of_feature_maps_are_backbones_of_the_same_size_and_strides(
    fake_target: None, workbench: Workbench, monkeypatch: pytest.MonkeyPatch, strided: bool, labels: list[str]
) -> None:
    monkeypatch.setattr(FakeExporter, "strided", strided)
    maps = FakeExporter().plan(workbench.model.spec, task="features")
    baselines = peers(workbench, maps, ["MobileNetV2", "LeViT-384"])
    assert [baseline.label for baseline in baselines] == [*labels, "LeViT-384"]
    for baseline in baselines[:-1]:
        assert isinstance(baseline, Baseline), baseline
        assert baseline.artifact.inputs[0].shape == (1, 3, 64, 64)
        shapes = [(1, 24, 16, 16), (1, 32, 8, 8), (1, 96, 4, 4), (1, 320, 2, 2)]
        assert [spec.shape for spec in baseline.artifact.outputs] == shapes
    refused = baselines[-1]
    assert isinstance(refused, Rejected)
    assert refused.reason == "timm's LeViT-384 has feature maps of the strides 16, 32, 64, not 4, 8, 16, 32"


@pytest.mark.slow
def test_a_peer_that_computes_other_numbers_is_not_timed(
    fake_target: None, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FakeExporter.export

    def wrong(self: FakeExporter, module: torch.nn.Module, plan: Any, folder: Path) -> Any:
        module.get_submodule("network.classifier").bias[0] += 0.01
        return right(self, module, plan, folder)

    monkeypatch.setattr(FakeExporter, "export", wrong)
    (baseline,) = peers(workbench, plan(FakeExporter(), workbench), ["MobileNetV2"])
    assert isinstance(baseline, Rejected)
    assert baseline.reason.startswith("parity failed")


class TestPeers:
    def test_they_are_the_papers(self) -> None:
        assert len(PEERS) == 12

    def test_a_seed_gives_the_same_weights_and_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        first, second = (make_peer("MobileNetV2", 5).network.state_dict() for _ in range(2))
        assert torch.equal(torch.rand(3), expected)
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_batch_norms_that_timm_can_fuse_are_fused(self) -> None:
        peer = make_peer("LeViT-384", 0)
        assert peer.given == "timm's own fusion of BatchNorm"
        assert not any(isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d) for module in peer.network.modules())

    def test_without_timm_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(MissingError, match=r"peers come from timm.*pip install"):
            make_peer("MobileNetV2", 0)
