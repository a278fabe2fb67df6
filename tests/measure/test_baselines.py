"""What bundles are timed against: naive exports and peers, each judged by the parity gate."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgevit_deploy.errors import ExportError, MissingError
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.host import find_exporter, find_session
from edgevit_deploy.measure.baselines import Rejected, Rival, RivalMaker
from edgevit_deploy.model.loading import ModelSource, load_model
from edgevit_deploy.model.peers import PEERS, make_peer
from edgevit_deploy.pipeline import Workbench
from tests.helpers.fakes import FakeExporter, FakeOptions
from tests.helpers.small import plan_for, prepared

SOURCE = ModelSource(model="edgevit_xxs", num_classes=10, image_size=(64, 64), seed=3)


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return Workbench(load_model(SOURCE))


def maker(exporter: Exporter[Any], bench: Workbench, folder: Path, **changes: Any) -> RivalMaker:
    plan = plan_for(bench.model.spec, exporter.options_type(), graph="deploy", form=exporter.form)
    plan = replace(plan, **changes)
    return RivalMaker(exporter, plan, find_session, folder, lambda _: None)


def test_elsewhere_a_naive_export_is_the_published_graph(fake_target: None, bench: Workbench, tmp_path: Path) -> None:
    (rival,) = maker(FakeExporter(), bench, tmp_path).naive_exports(bench)
    assert isinstance(rival, Rival)
    assert (rival.label, rival.given) == ("plain conversion", "nothing")
    assert rival.noise_ratio <= 4
    assert rival.artifact.facts["tensors"] == len(prepared(bench.model.network, torch.float32).state_dict())


def test_a_rival_that_computes_other_numbers_is_not_timed(fake_target: None, bench: Workbench, tmp_path: Path) -> None:
    (rival,) = maker(FakeExporter(), bench, tmp_path, options=FakeOptions(fault="bias")).naive_exports(bench)
    assert isinstance(rival, Rejected)
    assert rival.reason.startswith("parity failed, error ")


def test_a_rival_that_cannot_be_converted_says_why(
    fake_target: None, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ExportError("no such operator")

    monkeypatch.setattr(FakeExporter, "export", refuse)
    assert maker(FakeExporter(), bench, tmp_path).naive_exports(bench) == [
        Rejected(label="plain conversion", reason="no such operator")
    ]


@pytest.mark.slow
def test_the_four_naive_exports_of_onnx_compute_the_right_numbers(bench: Workbench, tmp_path: Path) -> None:
    rivals = maker(find_exporter("onnx"), bench, tmp_path).naive_exports(bench)
    names = {f"{exporter} exporter{simplified}" for exporter in ("dynamo", "TorchScript") for simplified in ("", ", onnxsim")}
    assert {rival.label for rival in rivals} == names
    assert all(isinstance(rival, Rival) and rival.noise_ratio <= 4 for rival in rivals), rivals
    assert len({rival.artifact.path.read_bytes() for rival in rivals if isinstance(rival, Rival)}) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("strided", "labels"), [(False, ["MobileNetV2"]), (True, ["MobileNetV2", "MobileNetV2, channels-last"])])
def test_peers_are_converted_and_judged_in_both_layouts_where_there_are_two(
    fake_target: None, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strided: bool, labels: list[str]
) -> None:
    monkeypatch.setattr(FakeExporter, "strided", strided)
    rivals = maker(FakeExporter(), bench, tmp_path).peers(["MobileNetV2"])
    assert [rival.label for rival in rivals] == labels
    for rival in rivals:
        assert isinstance(rival, Rival), rival
        assert rival.artifact.inputs[0].shape == (1, 3, 224, 224)
        assert rival.artifact.outputs[0].shape == (1, 1000)


@pytest.mark.slow
def test_a_peer_that_computes_other_numbers_is_not_timed(
    fake_target: None, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FakeExporter.export

    def wrong(self: FakeExporter, module: torch.nn.Module, plan: Any, folder: Path) -> Any:
        module.get_submodule("network.classifier").bias[0] += 0.01
        return right(self, module, replace(plan), folder)

    monkeypatch.setattr(FakeExporter, "export", wrong)
    (rival,) = maker(FakeExporter(), bench, tmp_path).peers(["MobileNetV2"])
    assert isinstance(rival, Rejected)
    assert rival.reason.startswith("parity failed")


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
