"""An int8 file of OpenVINO: what stands in it is what the network was rounded by, and every planted fault is seen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.deploy.quantised import QuantisedOperator
from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.formats.openvino import BIN_NAME, XML_NAME
from edgevit_deploy.formats.openvino.integers import rounded_weights
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.parity.gate import ParityReport, Truth
from edgevit_deploy.workbench import Workbench, open_workbench
from export.openvino import OpenVinoExporter, convert
from export.openvino.integers import put_weights
from tests.helpers.openvino import put, rewritten
from tests.helpers.trained import WEIGHTS

EXPORTER = OpenVinoExporter()
TRAINED = ModelOrigin(model=None, weights=WEIGHTS, num_classes=None, image_size=None, labels=None, seed=None, preprocess=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """The trained network, rounded by the ranges that drawn pictures show."""

    bench: Workbench
    plan: ExportPlan[Any]
    module: nn.Module
    artifact: Artifact
    truths: list[Truth]

    def judge(self, path: Path) -> ParityReport:
        return self.bench.judge(replace(self.artifact, path=path), self.truths)

    def check_stored(self, path: Path) -> None:
        self.bench.rounded.check_stored(EXPORTER, replace(self.artifact, path=path), self.plan)


@pytest.fixture(scope="module")
def rounded() -> Iterator[Rounded]:
    model = load_model(TRAINED)
    with open_workbench(model, THIS_HOST, calibration=CalibrationChoice(pictures="synthetic")) as bench:
        plan = bench.rounded.calibrated(EXPORTER.plan(model.spec, precision="int8"))
        module = bench.module(plan)
        artifact = EXPORTER.export(module, plan, bench.fresh_folder())
        yield Rounded(bench=bench, plan=plan, module=module, artifact=artifact, truths=bench.truths(plan))


def test_it_passes_the_gate(rounded: Rounded) -> None:
    rounded.check_stored(rounded.artifact.path)
    report = rounded.judge(rounded.artifact.path)
    assert report.status == "passed"
    assert [diff.tolerance.measure for diff in report.diffs] == ["rms", "rms"]


def test_it_has_every_operator_in_integers(rounded: Rounded) -> None:
    operators = [module for module in rounded.module.modules() if isinstance(module, QuantisedOperator)]
    assert len(operators) == 84
    kinds = rounded.artifact.operators
    assert kinds["Convolution"] + kinds["GroupConvolution"] + kinds["MatMul"] == len(operators)
    assert len(EXPORTER.stored(rounded.artifact).weights) == len(operators)
    counts = rounded.artifact.facts["weights_by_storage"]
    assert counts["i8"] == sum(module.operator.weight.numel() for module in operators)
    assert rounded.artifact.facts["bin_bytes"] < 1.1 * counts["i8"]


def test_its_limits_are_in_its_notes(rounded: Rounded) -> None:
    notes = " ".join(rounded.artifact.notes)
    for text in (
        "Takes float32, returns float32",
        "84 convolutions and linear maps",
        "of these 84",
        "MODE=ENABLE",
        "HINT=f32",
    ):
        assert text in notes


def test_the_same_ranges_give_the_same_bytes(rounded: Rounded, tmp_path: Path) -> None:
    again = EXPORTER.export(rounded.bench.module(rounded.plan), rounded.plan, tmp_path)
    for name in (XML_NAME, BIN_NAME):
        assert (again.path / name).read_bytes() == (rounded.artifact.path / name).read_bytes()


def test_other_ranges_give_another_file(rounded: Rounded) -> None:
    """Negative control of the one above, and of what is compared with the ranges."""
    path = next(iter(rounded.plan.ranges or {}))
    ranges = dict(rounded.plan.ranges or {})
    ranges[path] = replace(ranges[path], input=replace(ranges[path].input, high=2 * ranges[path].input.high))
    with pytest.raises(ExportError, match=r"does not round as it should: 1 of \d+ grids of activations are missing"):
        rounded.bench.rounded.check_stored(EXPORTER, rounded.artifact, replace(rounded.plan, ranges=ranges))


def roundings(model: Any) -> list[Any]:
    return [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]


def moved(change: Callable[[float, float], tuple[float, float]]) -> Callable[[Any], None]:
    """Move the ends of what the first operator of the last stage rounds."""

    def apply(model: Any) -> None:
        node = next(node for node in roundings(model) if "blocks4.0.SelfAttn.mlp.body.fc2" in node.get_friendly_name())
        low, high = (float(node.input_value(port).get_node().data.ravel()[0]) for port in (1, 2))
        ends = change(low, high)
        for port in range(1, 5):
            put(node.input_value(port).get_node(), ends[(port - 1) % 2])

    return apply


def swap_two_scales(model: Any) -> None:
    _, scales = rounded_weights(model)[0]
    values = scales.data.copy().ravel()
    first, last = int(values.argmin()), int(values.argmax())
    values[[first, last]] = values[[last, first]]
    put(scales, values)


def seven_bits(model: Any) -> None:
    weight, _ = rounded_weights(model)[-1]
    put(weight, 2 * (weight.data // 2))


def every_step_doubled(model: Any) -> None:
    for node in roundings(model):
        for port in range(1, 5):
            constant = node.input_value(port).get_node()
            put(constant, 2 * constant.data)


STEP = 1 / 255
FAULTS: list[tuple[Callable[[Any], None], str]] = [
    (moved(lambda low, high: (2 * low, 2 * high)), "1 of 70 grids of activations are missing .*, 1 are of none"),
    (
        moved(lambda low, high: (low - (high - low) * STEP, high - (high - low) * STEP)),
        "1 of 70 grids of activations are missing .* are of none .*zero point 1",
    ),
    (swap_two_scales, "the weights of 1 of 84 operators are missing, and of 1 there are others"),
    (seven_bits, "the weights of 1 of 84 operators are missing, and of 1 there are others"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=["scale doubled", "zero point", "scales swapped", "7 bits"])
def test_a_fault_in_the_file_is_read_from_it(
    rounded: Rounded, tmp_path: Path, fault: Callable[[Any], None], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        rounded.check_stored(rewritten(rounded.artifact.path, tmp_path / "model.openvino", fault))


@pytest.mark.parametrize("fault", [swap_two_scales, every_step_doubled])
def test_a_large_fault_fails_the_gate_too(rounded: Rounded, tmp_path: Path, fault: Callable[[Any], None]) -> None:
    assert rounded.judge(rewritten(rounded.artifact.path, tmp_path / "model.openvino", fault)).status == "failed"


def test_a_rewritten_file_without_a_fault_passes(rounded: Rounded, tmp_path: Path) -> None:
    """Negative control of the rewriting."""
    rounded.check_stored(rewritten(rounded.artifact.path, tmp_path / "model.openvino", lambda _: None))


def test_an_operator_left_in_float_is_missed(rounded: Rounded, tmp_path: Path) -> None:
    """It passes the gate, for it is nearer to the truth; what stands in the file gives it away."""
    module = rounded.bench.module(rounded.plan)
    path, operator = next((path, part) for path, part in module.named_modules() if isinstance(part, QuantisedOperator))
    module.set_submodule(path, operator.operator)
    artifact = EXPORTER.export(module, rounded.plan, tmp_path)
    with pytest.raises(ExportError, match=r"grids of activations are missing.*the weights of 1 of 84 operators are missing"):
        rounded.check_stored(artifact.path)


def test_what_has_no_ranges_is_refused(rounded: Rounded) -> None:
    spec = rounded.plan.spec
    with pytest.raises(UsageError, match="int8 is rounded on the deploy graph"):
        EXPORTER.refuse(EXPORTER.plan(spec, precision="int8", graph="original"))
    with pytest.raises(UsageError, match="int8 has ranges for one image size"):
        EXPORTER.refuse(EXPORTER.plan(spec, precision="int8", dynamic_size=True))


def test_the_networks_own_weights_are_put_into_a_converted_model(rounded: Rounded) -> None:
    """OpenVINO's scales are off by a last bit, its integers here and there by 1; what is off by more is refused."""
    model = convert(rounded.module, rounded.plan)
    own = scales_in(model)
    put_weights(model, rounded.module)
    given = scales_in(model)
    assert len(own) == len(given) == 84
    assert all(np.allclose(one, other, rtol=1e-6, atol=0) for one, other in zip(own, given, strict=True))
    assert not all(np.array_equal(one, other) for one, other in zip(own, given, strict=True))
    swap_two_scales(model)
    with pytest.raises(ExportError, match="is none of the network's weights, rounded"):
        put_weights(model, rounded.module)
    with pytest.raises(ExportError, match="OpenVINO keeps 84 weights in integers, the network rounds 0"):
        put_weights(model, nn.Identity())


def scales_in(model: Any) -> list[Any]:
    return [scales.data.copy() for _, scales in rounded_weights(model)]
