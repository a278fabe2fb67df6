"""Peers in eight bits: folded, rounded and judged as a bundle's own network is, by ranges of drawn pictures."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgevit_deploy.errors import RunError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.baselines import Baseline, Rejected, peers
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.model.peers import PEER_SIZE, ClampedConvolution, Peer, fold_for_rounding, make_peer
from edgevit_deploy.spec import Precision
from edgevit_deploy.workbench import Workbench
from tests.helpers.fakes import FakeExporter
from tests.helpers.rounding_faults import ROUNDING_FAULTS

SOURCE = ModelOrigin(model="edgevit_xxs", num_classes=10, image_size=(32, 32), seed=3)


class NormAct(nn.BatchNorm2d):
    """A BatchNorm with its activation inside, as timm has them."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class Small(nn.Module):
    """What MobileNetV2 is made of, for pictures of 224 x 224, in a moment."""

    def __init__(self, *, reads_twice: bool = False) -> None:
        super().__init__()
        self.stem, self.bn1 = nn.Conv2d(3, 8, 16, stride=16, bias=False), NormAct(8)
        self.depthwise, self.bn2, self.act2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU()
        self.pointwise, self.bn3 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 1000)
        self.reads_twice = reads_twice

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.stem(x))
        convolved = self.depthwise(x)
        y = self.bn3(self.pointwise(self.act2(self.bn2(convolved)))) + x
        return self.head((y + convolved if self.reads_twice else y).mean((2, 3)))


def unlike_one(network: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics that change what it computes."""
    generator = torch.Generator().manual_seed(1)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                assert tensor is not None
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network.eval().requires_grad_(False)


def small_peer(**how: bool) -> Peer:
    torch.manual_seed(0)
    return Peer(name="Small", network=unlike_one(Small(**how)), given="as it is")


@pytest.fixture
def bench(fake_target: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setattr("edgevit_deploy.measure.baselines.make_peer", lambda *_: small_peer())
    return Workbench(load_model(SOURCE), THIS_HOST, tmp_path)


def one_peer(bench: Workbench, precision: Precision) -> Baseline | Rejected:
    (result,) = peers(bench, FakeExporter().plan(bench.model.spec, precision=precision), ["Small"])
    return result


class TestFolding:
    @pytest.mark.parametrize("name", ["Small", "MobileNetV2", "EfficientNet-B0"])
    def test_nothing_is_left_and_nothing_changes(self, name: str) -> None:
        peer = small_peer() if name == "Small" else make_peer(name, 0)
        unlike_one(peer.network)
        image = torch.rand(1, 3, *PEER_SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        expected = peer.network.double()(image)
        folded = fold_for_rounding(Peer(name=name, network=peer.network.float(), given="")).network
        assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
        torch.testing.assert_close(folded.double()(image), expected, rtol=1e-4, atol=1e-5)  # weights were rounded to float32

    def test_a_clamp_is_a_part_of_its_convolution(self) -> None:
        folded = fold_for_rounding(small_peer())
        assert folded.given == "3 BatchNorm and 2 ReLU folded into convolutions"
        assert [type(getattr(folded.network, name)) for name in ("stem", "depthwise", "pointwise")] == [
            ClampedConvolution,
            ClampedConvolution,
            nn.Conv2d,
        ]

    def test_what_cannot_be_folded_is_found_out(self) -> None:
        """Another reader of the convolution would get the result of the BatchNorm."""
        with pytest.raises(RunError, match="Small: with BatchNorm and ReLU folded it computes something else"):
            fold_for_rounding(small_peer(reads_twice=True))


class TestRounding:
    @pytest.mark.parametrize("precision", ["int8", "w8"])
    def test_a_peer_is_rounded_and_read_back(self, bench: Workbench, precision: Precision) -> None:
        baseline = one_peer(bench, precision)
        assert isinstance(baseline, Baseline), baseline
        assert baseline.given == "3 BatchNorm and 2 ReLU folded into convolutions; rounded as the bundle is"
        assert 0.8 < baseline.noise_ratio < 2
        stored = FakeExporter().stored(baseline.artifact)
        assert len(stored.weights) == 4
        assert len(stored.activations) == (8 if precision == "int8" else 0)

    @pytest.mark.parametrize(
        ("floating", "rounded", "given"),
        [
            (("head",), {"stem", "depthwise", "pointwise"}, " (head in floating point)"),
            (("head", "patch_embed1"), {"depthwise", "pointwise"}, " (head and stem in floating point)"),
            (
                ("blocks1.0", "patch_embed1.proj"),
                {"depthwise", "pointwise", "head"},
                " (stem in floating point); it has no blocks1.0, which the bundle leaves in floating point",
            ),
        ],
    )
    def test_what_is_left_in_floating_point_is_the_peers_own(
        self, bench: Workbench, floating: tuple[str, ...], rounded: set[str], given: str
    ) -> None:
        plan = FakeExporter().plan(bench.model.spec, precision="int8", rounding={"floating": floating})
        (baseline,) = peers(bench, plan, ["Small"])
        assert isinstance(baseline, Baseline), baseline
        assert baseline.given.endswith(f"; rounded as the bundle is{given}")
        assert len(FakeExporter().stored(baseline.artifact).weights) == len(rounded)

    @pytest.mark.parametrize("fault", ["scale doubled", "left float"])
    def test_one_that_rounds_otherwise_is_not_timed(self, bench: Workbench, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
        right = FakeExporter.export

        def wrong(self: FakeExporter, module: nn.Module, plan: Any, folder: Path) -> Any:
            ROUNDING_FAULTS[fault](module, "depthwise")
            return right(self, module, plan, folder)

        monkeypatch.setattr(FakeExporter, "export", wrong)
        result = one_peer(bench, "int8")
        assert isinstance(result, Rejected)
        assert "does not round as it should" in result.reason

    def test_one_that_computes_other_numbers_is_not_timed(self, bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
        right = FakeExporter.export

        def wrong(self: FakeExporter, module: nn.Module, plan: Any, folder: Path) -> Any:
            module.get_submodule("network.head.operator").bias.add_(0.1)
            return right(self, module, plan, folder)

        monkeypatch.setattr(FakeExporter, "export", wrong)
        result = one_peer(bench, "int8")
        assert isinstance(result, Rejected)
        assert result.reason.startswith("parity failed")

    def test_one_that_cannot_be_folded_says_so(self, bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("edgevit_deploy.measure.baselines.make_peer", lambda *_: small_peer(reads_twice=True))
        result = one_peer(bench, "int8")
        assert isinstance(result, Rejected)
        assert "computes something else" in result.reason
