"""onnxsim: kept where it gains something and harms nothing, dropped and recorded elsewhere."""

import numpy as np
import onnxsim
import pytest
from onnx import helper, numpy_helper

from tests.helpers.onnx import export, shared


def with_identity(model):
    final = model.graph.node[-1].output[0]
    model.graph.node[-1].output[0] = f"{final}_before"
    model.graph.node.extend(
        helper.make_node("Identity", [name], [f"{final}{suffix}"]) for name, suffix in [(f"{final}_before", "_0")]
    )
    names = [f"{final}_{number}" for number in range(500)]
    model.graph.node.extend(helper.make_node("Identity", [a], [b]) for a, b in zip(names, [*names[1:], final], strict=True))


def with_ballast(model):
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(10**6, np.float32), "ballast"))


def with_a_wrong_weight(model):
    head = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("head.bias"))
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) + np.float32(1e-4), head.name))


def with_a_missing_node(model):
    del model.graph.node[10]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_identity, "it has more nodes"),
        (with_ballast, "it is larger"),
        (with_a_wrong_weight, "its largest error is"),
        (with_a_missing_node, "it failed: ONNX Runtime cannot load"),
    ],
)
def test_a_simplification_that_gains_nothing_or_harms_is_dropped(tmp_path, monkeypatch, change, reason):
    real = onnxsim.simplify

    def sabotaged(model, **options):
        simplified, ok = real(model, **options)
        change(simplified)
        return simplified, ok

    without = shared(simplify=False)
    assert without.facts["simplification"] == "off"
    monkeypatch.setattr(onnxsim, "simplify", sabotaged)
    artifact = export(tmp_path / "with")
    assert artifact.facts["simplification"]["kept"] is False
    assert artifact.facts["simplification"]["reason"].startswith(reason)
    assert any(note.startswith(f"onnxsim's result was dropped: {reason}") for note in artifact.notes)
    assert artifact.path.read_bytes() == without.path.read_bytes()


def test_a_crashing_onnxsim_is_recorded(tmp_path, monkeypatch):
    def crash(model, **options):
        raise RuntimeError("inconsistent shapes\nand a long trace")

    monkeypatch.setattr(onnxsim, "simplify", crash)
    artifact = export(tmp_path)
    assert artifact.facts["simplification"]["reason"] == "it failed: inconsistent shapes"


def test_a_good_simplification_is_kept_with_its_figures(plain):
    facts = plain.facts["simplification"]
    assert facts["kept"] is True
    assert facts["nodes"][1] == plain.facts["nodes"] < facts["nodes"][0]
    assert facts["size_bytes"][1] <= facts["size_bytes"][0]
    assert 0 < facts["max_abs_after"][0] <= facts["atol"][0]
