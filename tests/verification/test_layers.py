"""Parity by layer: a fault planted in each part is named, in both graphs, and every target can be looked into."""

import copy
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgevit_deploy import api
from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.loading import DEFAULT_SEED, ModelOrigin, load_model
from edgevit_deploy.parity.probes import make_probes
from edgevit_deploy.parity.taps import TappedNetwork
from edgevit_deploy.spec import imagenet_preprocess
from edgevit_deploy.verification.layers import LayerReport, check_layers
from edgevit_deploy.verification.replan import plan_of
from edgevit_deploy.workbench import Workbench
from export import TARGETS
from tests.helpers.fakes import FakeExporter, FakeOptions
from tests.helpers.hosts import HostWith
from tests.helpers.small import SMALL_SIZE, plan_for, tiny_weights
from tests.helpers.tiers import slow_or_nightly

SOURCE = ModelOrigin(model="edgevit_xxs", weights=None, num_classes=10, image_size=SMALL_SIZE, labels=None, seed=0)

FAULTS = {
    "patch_embed2": "patch embedding",
    "blocks1.0.LocalAgg.pos_embed": "positional encoding",
    "blocks2.0.LocalAgg.gather": "LocalAgg",
    "blocks3.1.LocalAgg": "FFN",
    "blocks3.0.SelfAttn.pos_embed": "positional encoding",
    "blocks3.2.SelfAttn.attn.sampler": "sampler",
    "blocks1.0.SelfAttn.attn.norm1": "norms",
    "blocks2.0.SelfAttn.attn.attend": "attention",
    "blocks4.1.SelfAttn.attn.attend": "attention",
    "blocks3.0.SelfAttn.attn.LocalProp": "LocalProp",
    "blocks3.0.SelfAttn.attn.norm": "norms",
    "blocks2.0.SelfAttn.attn": "GlobalSparseAttn",
    "blocks4.0.SelfAttn": "FFN",
    "logits": "head",
}
"""Tap of the deploy graph after a planted fault -> the part that must be named."""

AT_ONCE = ("blocks3.2.SelfAttn.attn.sampler", "logits")
"""The last one and one in between are planted in the quick tier too."""


def planted(taps: Iterable[str]) -> list[Any]:
    """Taps as parameters, all but a few of them slow."""
    return [pytest.param(tap, marks=() if tap in AT_ONCE else pytest.mark.slow) for tap in taps]


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    return Workbench(load_model(SOURCE), THIS_HOST, tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def tiny_workbench(tmp_path_factory):
    model = load_model(ModelOrigin(weights=tiny_weights(), image_size=SMALL_SIZE))
    return Workbench(model, THIS_HOST, tmp_path_factory.mktemp("tiny"))


class FaultyExporter(FakeExporter):
    """Changes one module before it writes the trace, by a ten-thousandth: too little to be seen in a picture's class."""

    faulty = ""

    def export(self, module, plan, folder):
        module = copy.deepcopy(module)
        plant(module.network.network, self.faulty)
        return super().export(module, plan, folder)


def plant(network: torch.nn.Module, tap: str) -> None:
    """Let the last module before a tap compute a little too much."""
    for module in network.modules():
        if getattr(module, "name", None) == tap:
            if module.takes_input:
                module.register_forward_pre_hook(lambda _, values: (values[0] * 1.0001, *values[1:]))
            else:
                module.module.register_forward_hook(lambda _, __, value: value * 1.0001)
            return
    assert tap == "logits"
    network.get_submodule("head").weight *= 1.0001


def look(workbench: Workbench, exporter, folder: Path, **changes) -> LayerReport:
    plan = plan_for(workbench.model.spec, exporter.options_type(), **changes)
    workbench.host, workbench.scratch = HostWith(exporter), folder
    return check_layers(workbench, plan)


@pytest.mark.parametrize("tap", planted(FAULTS))
def test_a_fault_in_each_part_is_named(fake_target, workbench, tmp_path, tap, monkeypatch):
    monkeypatch.setattr(FaultyExporter, "faulty", tap)
    failed = look(workbench, FaultyExporter(), tmp_path, graph="deploy").first_failed
    assert failed is not None
    assert (failed.tap.name, failed.tap.part) == (tap, FAULTS[tap])


@pytest.mark.parametrize(
    "tap", planted(["blocks2.0.LocalAgg.gather", "blocks2.0.SelfAttn.attn.attend", "blocks4.1.SelfAttn.attn.attend"])
)
def test_a_fault_in_the_original_graph_is_named(fake_target, workbench, tmp_path, tap, monkeypatch):
    monkeypatch.setattr(FaultyExporter, "faulty", tap)
    failed = look(workbench, FaultyExporter(), tmp_path, graph="original").first_failed
    assert failed is not None
    assert (failed.tap.name, failed.tap.part) == (tap, FAULTS[tap])


@pytest.mark.parametrize("graph", [pytest.param("original", marks=pytest.mark.slow), "deploy"])
def test_without_a_fault_nothing_is_named(fake_target, workbench, tmp_path, graph):
    report = look(workbench, FakeExporter(), tmp_path, graph=graph)
    assert report.first_failed is None
    assert len(report.layers) == 77


@pytest.mark.slow
def test_a_wrong_rewrite_is_named_where_the_published_graph_has_the_same_tap(fake_target, workbench, tmp_path, monkeypatch):
    """The truth of what both graphs share is the published graph's: a rewrite cannot be its own judge."""
    wrong = to_deploy_form(workbench.model.network, Form())
    wrong.network.get_submodule("blocks2.0.LocalAgg.gather.body.conv2").bias += 1e-3
    monkeypatch.setitem(workbench._forms, Form(), wrong)
    failed = look(workbench, FakeExporter(), tmp_path, graph="deploy").first_failed
    assert failed is not None
    assert failed.tap.name == "blocks2.0.LocalAgg.gather"


def test_a_tapped_network_returns_its_logits_last(workbench):
    network = workbench.model.network
    tapped = TappedNetwork(network, "original")
    images = torch.randn(2, 3, *SMALL_SIZE)
    with torch.no_grad():
        rows = tapped(images)
        assert torch.equal(rows[:, -10:], network(images))
    assert rows.shape == (2, sum(tap.values for tap in tapped.taps(SMALL_SIZE)))
    assert not any("Tapped" in type(module).__name__ for module in network.modules())


def test_a_copy_of_a_tapped_network_notes_for_itself(workbench):
    """What runs beside a tapped network, a copy of it or of what is inside it, changes nothing there and keeps nothing."""
    tapped = TappedNetwork(workbench.model.network, "original")
    images = torch.randn(2, 3, *SMALL_SIZE)
    with torch.no_grad():
        rows = tapped(images)
        twin, inside = copy.deepcopy(tapped), copy.deepcopy(tapped.network)
        assert torch.equal(twin(images), rows)
        assert torch.equal(inside(images), rows[:, -10:])
        assert torch.equal(tapped(images), rows)
    assert twin.taps(SMALL_SIZE) == tapped.taps(SMALL_SIZE)
    assert all(getattr(module, "sheet", None) is None for network in (tapped, twin, inside) for module in network.modules())


@pytest.mark.parametrize(
    "target", [pytest.param(target, marks=slow_or_nightly(target)) for target in TARGETS if target != "tensorrt"]
)
def test_every_target_can_be_looked_into(tiny_workbench, tmp_path, target):
    """The same mechanism on the target's own runtime and in its own form: sound layers pass, and a fault is named."""
    exporter = THIS_HOST.require_exporter(target)
    report = look(tiny_workbench, exporter, tmp_path, graph="deploy", form=exporter.form)
    assert report.first_failed is None, report.first_failed


@pytest.mark.slow
def test_a_fault_is_named_on_a_real_runtime(workbench, tmp_path, monkeypatch):
    exporter = TARGETS["onnx"].load()()  # in this process, which alone has the fault
    export = type(exporter).export

    def faulty(self, module, plan, folder):
        module = copy.deepcopy(module)
        plant(module.network.network, "blocks3.0.SelfAttn.attn.LocalProp")
        return export(self, module, plan, folder)

    monkeypatch.setattr(type(exporter), "export", faulty)
    failed = look(workbench, exporter, tmp_path, graph="deploy").first_failed
    assert failed is not None
    assert failed.tap.part == "LocalProp"


@pytest.mark.slow
def test_the_command_line_checks_layers(fake_bundle, capfd, expect_error):
    assert run(["verify", str(fake_bundle), "--layers", "--seed", "0"]) == 0
    assert "all 77 layers are within tolerance" in capfd.readouterr().err
    assert "add --weights FILE or --seed N" in expect_error(2, "verify", fake_bundle, "--layers")


def test_the_plan_is_read_back_from_the_manifest(fake_target, tmp_path):
    flags = ["--model", "edgevit_xxs", "--num-classes", "10", "--image-size", "64", "--batch", "dynamic"]
    assert run(["fake", *flags, "--output", str(tmp_path)]) == 0
    manifest = read_manifest(tmp_path / "fake-fp32")
    model = load_model(SOURCE)
    plan = plan_of(manifest, model, FakeExporter())
    assert plan == plan_for(model.spec, FakeOptions(), dynamic_batch=True, graph="deploy", form=FakeExporter.form)
    strange = dataclasses.replace(manifest, options={**manifest.options, "fault": 3})
    with pytest.raises(UsageError, match="convert again"):
        plan_of(strange, model, FakeExporter())


@pytest.mark.slow
def test_weights_and_layers_run_the_published_graph_in_float64_once(fake_bundle, monkeypatch):
    """One run of each picture serves the whole file's truth and every layer's; float32 noise is taken of both graphs."""
    images = []
    features = EdgeViT.features

    def counted(self, x):
        if x.dtype == torch.float64:
            images.append(x.numpy().tobytes())
        return features(self, x)

    monkeypatch.setattr(EdgeViT, "features", counted)
    verification = api.verify(fake_bundle, seed=0, layers=True)
    assert verification.status == "passed"
    assert verification.layers is not None
    assert verification.layers.ok
    given = make_probes((64, 64), imagenet_preprocess((64, 64)), "tensor", DEFAULT_SEED).inputs
    assert [images.count(image[np.newaxis].astype(np.float64).tobytes()) for image in given] == [1] * len(given)
