"""Core ML in eight bits, on a network of four operators: what is refused, written, read back, and caught when it is wrong."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from edgevit_deploy.deploy.quantised import stored
from edgevit_deploy.deploy.stored import differences
from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.coreml import read_package
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.spec import Precision
from export.coreml import SPECIFICATION_VERSIONS, CoreMLExporter
from export.coreml.eight_bits import EIGHT_BITS
from export.coreml.rounding import check_rounded
from runtimes.coreml.reference import MilReferenceSession
from tests.helpers.coreml import LABELS, SMALL
from tests.helpers.coreml_rounding import (
    NETWORK,
    built,
    copy_of,
    double_a_scale_at_its_reader,
    double_the_last_scale,
    emulated,
    feed_an_operator_unrounded,
    pictures,
    plan_of,
    round_to_seven_bits,
    scheme_of,
    swap_two_scales,
    tree,
    with_file,
)
from tests.helpers.small import ends

EXPORTER = CoreMLExporter()
OPERATORS = 4
OLDEST = {"w8": "iOS16", "palette8": "iOS16", "int8": "iOS17"}
CASES = [
    ("w8", None, "constexpr_affine_dequantize"),
    ("palette8", None, "constexpr_lut_to_dense"),
    ("int8", None, "constexpr_affine_dequantize"),
    pytest.param("w8", "iOS17", "constexpr_affine_dequantize", marks=pytest.mark.slow),
    pytest.param("w8", "iOS18", "constexpr_blockwise_shift_scale", marks=pytest.mark.slow),
    pytest.param("palette8", "macOS15", "constexpr_lut_to_dense", marks=pytest.mark.slow),
    pytest.param("int8", "iOS18", "constexpr_blockwise_shift_scale", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """The file of a precision for a system, built once; for reading only."""
    return cache(lambda precision, system=None: built(plan_of(precision, target_os=system), tmp_path_factory.mktemp(precision)))


@pytest.fixture
def integers(files: Callable[..., Artifact]) -> Artifact:
    return files("int8")


def wrong(artifact: Artifact, precision: Precision) -> str:
    return "; ".join(differences(EXPORTER.stored(artifact), stored(emulated(precision))))


def evaluate(artifact: Artifact, inputs: np.ndarray) -> np.ndarray:
    with MilReferenceSession(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
        runs = [session.run({"input": one[None]})[artifact.outputs[0].name] for one in inputs]
    return np.concatenate(runs)


def rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.square(errors.astype(np.float64)).mean()))


@pytest.mark.parametrize(("precision", "system", "kind"), CASES)
def test_the_file_rounds_as_its_emulation_does(files: Any, precision: Precision, system: Any, kind: str) -> None:
    artifact = files(precision, system)
    assert wrong(artifact, precision) == ""
    assert artifact.operators[kind] == OPERATORS
    rounded_inputs = OPERATORS if precision == "int8" else 0
    assert artifact.facts["rounded"] == {"weights_in_eight_bits": OPERATORS, "inputs_in_eight_bits": rounded_inputs}
    assert artifact.operators.get("quantize", 0) == artifact.operators.get("dequantize", 0) == rounded_inputs
    inputs, preprocess = pictures(64, seed=1), SMALL.plan_of().spec.preprocess
    exact = Reference(NETWORK, preprocess).runner(ends(), "fp64")(inputs)["logits"]
    emulation = Reference(emulated(precision), preprocess).runner(ends(), "fp16")(inputs)["logits"]
    assert rms(evaluate(artifact, inputs) - exact) <= EIGHT_BITS[precision].bound.k * rms(emulation - exact)


@pytest.mark.parametrize(("precision", "oldest"), OLDEST.items())
def test_the_oldest_system_that_holds_the_precision_is_taken(files: Any, precision: Precision, oldest: Any) -> None:
    version = SPECIFICATION_VERSIONS[oldest]
    assert read_package(files(precision).path).specificationVersion == version
    for system, its_version in SPECIFICATION_VERSIONS.items():
        if its_version >= version:
            EXPORTER.refuse(plan_of(precision, target_os=system))
            continue
        with pytest.raises(UsageError, match=f"{precision} needs iOS .* use --target-os {oldest}"):
            EXPORTER.refuse(plan_of(precision, target_os=system))


@pytest.mark.parametrize("precision", ["w4", "palette4", "palette6"])
def test_fewer_bits_are_refused_with_what_they_lose(precision: Any) -> None:
    with pytest.raises(UsageError, match=r"6 bits leave 18\.8 dB and of 4 bits 11 dB.*use --precision palette8"):
        EXPORTER.refuse(SMALL.plan_of(precision=precision))


@pytest.mark.parametrize("precision", ["w8", "palette8", "int8"])
def test_notes_say_what_stays_float(precision: Precision, files: Any) -> None:
    notes = " ".join(files(precision).notes)
    assert "input and output are float32" in notes
    assert "softmax, GELU" in notes


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (double_the_last_scale, "1 of 4 grids of activations are missing .* 1 are of none"),
        (double_a_scale_at_its_reader, "0 of 4 grids of activations are missing, 1 are of none"),
        (swap_two_scales, "weights of 1 of 4 operators are missing"),
        (round_to_seven_bits, "weights of 1 of 4 operators are missing"),
    ],
)
def test_a_file_that_rounds_otherwise_is_caught(integers: Artifact, tmp_path: Path, fault: Any, message: str) -> None:
    assert wrong(integers, "int8") == ""
    with pytest.raises(AssertionError, match=message):
        assert not wrong(with_file(integers, copy_of(integers.path, tmp_path, fault)), "int8")


def move_a_zero_point(module: nn.Module) -> None:
    rounding = module.get_submodule("fc.before")
    rounding.grid = type(rounding.grid)(scale=rounding.grid.scale, zero_point=1, lowest=-128, highest=127)


def leave_one_float(module: nn.Module) -> None:
    module.set_submodule("fc", module.get_submodule("fc.operator"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (move_a_zero_point, r"1 of 4 grids .* 1 are of none \(scale .*, zero point 1\)"),
        (leave_one_float, "weights of 1 of 4 operators are missing"),
    ],
)
def test_a_network_that_rounds_otherwise_is_caught(tmp_path: Path, fault: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert not wrong(built(plan_of("int8"), tmp_path, fault), "int8")


def test_an_operator_that_is_fed_unrounded_is_caught(integers: Artifact, tmp_path: Path) -> None:
    check_rounded(integers.path, scheme_of("int8"), OPERATORS)
    faulty = copy_of(integers.path, tmp_path, feed_an_operator_unrounded)
    with pytest.raises(ExportError, match="1 operators take an input that is not rounded"):
        check_rounded(faulty, scheme_of("int8"), OPERATORS)


def test_an_operator_too_few_is_caught(integers: Artifact) -> None:
    with pytest.raises(ExportError, match="4 operators have weights in eight bits, 5 should have"):
        check_rounded(integers.path, scheme_of("int8"), OPERATORS + 1)


@pytest.mark.parametrize("precision", ["w8", "palette8", "int8"])
def test_the_same_ranges_give_the_same_bytes(precision: Precision, files: Any, tmp_path: Path) -> None:
    again = built(plan_of(precision), tmp_path)
    assert tree(again.path) == tree(files(precision).path)


@pytest.mark.parametrize(
    "changes",
    [
        {"takes": "image"},
        pytest.param({"dynamic_batch": True}, marks=pytest.mark.slow),
        pytest.param({"returns": "probabilities"}, marks=pytest.mark.slow),
    ],
)
def test_other_ends_round_all_the_same(changes: dict[str, Any], tmp_path: Path) -> None:
    artifact = built(plan_of("int8", labels=LABELS, **changes), tmp_path)
    assert wrong(artifact, "int8") == ""
