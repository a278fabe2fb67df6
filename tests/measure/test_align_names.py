"""Module names by order: a trace and a profile that differ by what a converter merges and puts in."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from edgevit_deploy import create_model
from edgevit_deploy.errors import RunError
from edgevit_deploy.measure.align_names import TracedCall, _with_pieces, name_by_order, profile_by_module, trace_calls
from edgevit_deploy.model.anatomy import part_of
from edgevit_deploy.session import OpTime, nameless_ops
from tests.helpers.fakes import FakeSession

KINDS = {
    "Conv": frozenset({"aten::_convolution"}),
    "Norm": frozenset({"aten::layer_norm"}),
    "Eltwise": frozenset({"aten::add", "aten::mul"}),
}


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
