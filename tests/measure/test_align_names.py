"""Module names by order: a trace and a profile that differ by what a converter merges and puts in."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgevit_deploy import create_model
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.measure.align_names import PRODUCTS, TracedCall, _with_pieces, name_by_order, profile_by_module, trace_calls
from edgevit_deploy.model.anatomy import part_of
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.session import OpTime, nameless_ops
from export.torchscript import TorchScriptExporter
from tests.helpers import executorch as executorch_models
from tests.helpers import litert as litert_models
from tests.helpers import ncnn as ncnn_models
from tests.helpers import torchscript as lite_files
from tests.helpers.fakes import FakeSession
from tests.helpers.hosts import registered
from tests.helpers.ncnn import images

KINDS = {
    "Conv": frozenset({"aten::_convolution"}),
    "Norm": frozenset({"aten::layer_norm"}),
    "Eltwise": frozenset({"aten::add", "aten::mul"}),
}


def build_lite(folder: Path) -> tuple[nn.Module, Artifact]:
    module = prepare(
        to_deploy_form(lite_files.NETWORK, TorchScriptExporter.form).network,
        lite_files.NETWORK.spec.preprocess,
        "tensor",
        "logits",
        torch.float32,
    )
    return module, lite_files.build(lite_files.plan_of(), folder, module)


def build_executorch(folder: Path) -> tuple[nn.Module, Artifact]:
    return executorch_models.module_for(), executorch_models.build(executorch_models.plan_of(), folder)


def build_executorch_original(folder: Path) -> tuple[nn.Module, Artifact]:
    """In 46 delegates, with operators between them."""
    plan = executorch_models.plan_of(graph="original")
    return executorch_models.module_for("original"), executorch_models.build(plan, folder)


def build_litert(folder: Path) -> tuple[nn.Module, Artifact]:
    return litert_models.module_for(), litert_models.build(folder)


def build_ncnn(folder: Path) -> tuple[nn.Module, Artifact]:
    return ncnn_models.module_for(), ncnn_models.build(ncnn_models.plan_of(), folder)


def ops(*kinds: str) -> list[OpTime]:
    return [OpTime(name="lost", kind=kind, time_ms=1.0) for kind in kinds]


def calls(*kinds: str) -> list[TracedCall]:
    return [TracedCall(kind=f"aten::{kind}", path=f"module{number}") for number, kind in enumerate(kinds)]


def names(profile: list[OpTime], trace: list[TracedCall]) -> list[str]:
    return [op.name for op in name_by_order(profile, trace, KINDS)]


def test_the_same_order_gives_each_its_module() -> None:
    trace = calls("_convolution", "layer_norm", "add", "_convolution")
    assert names(ops("Conv", "Norm", "Eltwise", "Conv"), trace) == ["module0", "module1", "module2", "module3"]


def test_the_example_of_the_docstring() -> None:
    trace = [
        TracedCall(kind=f"aten::{kind}", path=path)
        for kind, path in (
            ("_convolution", "mlp.fc1"),
            ("gelu", "mlp.act"),
            ("_convolution", "mlp.fc2"),
            ("add", "mlp"),
            ("layer_norm", "norm1"),
        )
    ]
    assert names(ops("Conv", "Conv", "Reorder", "Norm"), trace) == ["mlp.fc1", "mlp.fc2", "", "norm1"]
    with pytest.raises(RunError, match=r"no operation for aten::_convolution of mlp\.fc2"):
        names(ops("Conv", "Reorder", "Norm"), trace)


def test_what_a_converter_put_in_has_no_name() -> None:
    trace = calls("_convolution", "layer_norm", "_convolution")
    assert names(ops("Conv", "Reorder", "Norm", "Reorder", "Conv"), trace) == ["module0", "", "module1", "", "module2"]


def test_what_a_converter_merged_is_passed_over() -> None:
    trace = calls("_convolution", "mul", "add", "_convolution", "layer_norm")
    assert names(ops("Conv", "Conv", "Norm"), trace) == ["module0", "module3", "module4"]


def test_as_many_as_possible_are_paired() -> None:
    """Pairing the first Eltwise that fits would cost the second convolution its partner."""
    trace = calls("_convolution", "_convolution", "add")
    assert names(ops("Conv", "Eltwise", "Conv", "Eltwise"), trace) == ["module0", "", "module1", "module2"]


def test_products_are_paired_before_anything_else() -> None:
    """As many as possible of all kinds would be the three others, and no convolution."""
    trace = calls("_convolution", "layer_norm", "add", "add")
    assert names(ops("Norm", "Eltwise", "Eltwise", "Conv"), trace) == ["", "", "", "module0"]


def test_the_pieces_of_a_convolution_share_its_name() -> None:
    trace = calls("layer_norm", "_convolution", "layer_norm")
    profile = ops("Norm", "Conv", "Slice", "Conv", "Slice", "Conv", "Norm", "Norm")
    assert names(profile, trace) == ["module0", "module1", "", "module1", "", "module1", "module2", ""]


def test_the_last_piece_may_be_the_one_with_a_partner() -> None:
    profile = ops("Norm", "Conv", "Conv", "Conv", "Eltwise")
    assert _with_pieces({0: 0, 3: 1}, profile, KINDS) == {0: 0, 1: 1, 2: 1, 3: 1}


def test_a_nameless_operation_takes_the_median_of_its_runs() -> None:
    runs = [[("Conv", 1.0), ("Norm", 5.0)], [("Conv", 9.0), ("Norm", 4.0)], [("Conv", 2.0), ("Norm", 6.0)]]
    assert [(op.name, op.kind, op.time_ms) for op in nameless_ops(runs)] == [("", "Conv", 2.0), ("", "Norm", 5.0)]


def test_runs_of_other_operations_are_no_profile() -> None:
    with pytest.raises(RunError, match="its profile has 2 orders of operations in 2 runs"):
        nameless_ops([[("Conv", 1.0), ("Norm", 1.0)], [("Norm", 1.0), ("Conv", 1.0)]])


@pytest.mark.parametrize("kinds", [("Conv",), ("Norm", "Norm"), ()])
def test_another_networks_profile_is_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(RunError, match=r"no operation for aten::_convolution of module\d: the file is not of this network"):
        names(ops(*kinds), calls("_convolution", "_convolution"))


def test_a_long_pairing_is_a_longest_one() -> None:
    """Against the textbook recursion, on random sequences."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        kinds = ["Norm", "Eltwise"]
        profile = ops(*rng.choice(kinds, rng.integers(0, 9)))
        trace = calls(*rng.choice(["layer_norm", "add", "mul"], rng.integers(0, 9)))
        paired = [name for name in names(profile, trace) if name]
        assert paired == sorted(paired)
        assert len(paired) == longest(profile, trace)


def longest(profile: list[OpTime], trace: list[TracedCall]) -> int:
    if not profile or not trace:
        return 0
    if trace[0].kind in KINDS[profile[0].kind]:
        return 1 + longest(profile[1:], trace[1:])
    return max(longest(profile[1:], trace), longest(profile, trace[1:]))


def test_a_trace_tells_the_module_of_each_operator() -> None:
    network = create_model("edgevit_xxs", num_classes=10, image_size=64)
    found = trace_calls(nn.Sequential(network), 1, (64, 64))
    by_part = {part_of(call.path) for call in found if call.kind == "aten::_convolution"}
    assert {"patch embedding", "positional encoding", "LocalAgg", "LocalProp"} <= by_part
    assert sum(call.kind == "aten::gelu" for call in found) == sum(isinstance(module, nn.GELU) for module in network.modules())


@pytest.mark.parametrize("profile", [None, tuple(ops("Conv"))])
def test_nothing_is_traced_for_a_file_that_keeps_names_or_has_no_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: tuple[OpTime, ...] | None
) -> None:
    session = FakeSession(tmp_path, inputs=(), outputs=())
    monkeypatch.setattr(FakeSession, "profile", lambda *_: profile)
    monkeypatch.setattr(FakeSession, "traced_as", None if profile else KINDS)
    assert profile_by_module(session, {}, 1, pytest.fail) == profile


@pytest.mark.parametrize(
    ("build", "runtime"),
    [
        (build_lite, "torch-lite"),
        (build_ncnn, "ncnn"),
        (build_litert, "litert"),
        (build_executorch, "executorch"),
        (build_executorch_original, "executorch"),
    ],
)
def test_every_part_of_a_real_file_is_named(build: Callable[..., Any], runtime: str, tmp_path: Path) -> None:
    """Against the trace itself: each part has as many convolutions and products as its modules have.

    XNNPACK makes a convolution of each BatchNorm of the published graph; there are no others.
    """
    module, artifact = build(tmp_path)
    feeds = {"input": images()}
    with registered(runtime)(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1) as session:
        profile = profile_by_module(session, feeds, 3, lambda: module)
        whole_ms = min(session.time_runs(feeds, 20))
    assert profile is not None
    assert session.traced_as is not None
    products = [op for op in profile if session.traced_as.get(op.kind, frozenset()) & PRODUCTS]
    trace = trace_calls(module, 1, (64, 64))
    found, expected = (
        Counter(part_of(op.name) for op in products),
        Counter(part_of(call.path) for call in trace if call.kind in PRODUCTS),
    )
    assert not expected - found
    assert (found - expected).total() == sum(call.kind == "aten::batch_norm" for call in trace)
    assert set(expected) - {"LocalProp", "norms"} == {
        "patch embedding",
        "positional encoding",
        "LocalAgg",
        "GlobalSparseAttn",
        "FFN",
        "head",
    }
    assert {part_of(op.name) for op in profile} >= {"norms", "LocalProp"}
    assert 0.3 * whole_ms < sum(op.time_ms for op in profile) < 10 * whole_ms


@pytest.mark.parametrize(("build", "runtime"), [(build_lite, "torch-lite"), (build_ncnn, "ncnn")])
def test_a_file_of_another_network_is_refused(build: Callable[..., Any], runtime: str, tmp_path: Path) -> None:
    module, artifact = build(tmp_path)
    deeper = nn.Sequential(module, nn.Linear(10, 10))
    session = registered(runtime)(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)
    with session, pytest.raises(RunError, match="the file is not of this network"):
        profile_by_module(session, {"input": images()}, 1, lambda: deeper)
