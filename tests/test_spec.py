"""Sizes, shapes and the manifest's round trip, over many values."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgevit_deploy
from edgevit_deploy.bundle.manifest import ConversionRecord, Manifest
from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.model.variants import VARIANTS, find_variant
from edgevit_deploy.parity.bounds import Tolerance
from edgevit_deploy.parity.gate import OutputDiff, ParityReport
from edgevit_deploy.spec import VERSION, TensorSpec, check_image_size

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TOLERANCES = st.builds(Tolerance, atol=FLOATS, k=FLOATS, noise=FLOATS, reason=st.text())
DIFFS = st.builds(
    OutputDiff,
    batch=st.integers(1, 9),
    image_size=st.tuples(st.integers(1, 999), st.integers(1, 999)),
    probes=st.integers(1, 99),
    max_abs=FLOATS,
    worst_probe=st.text(),
    tolerance=TOLERANCES,
    top1_agreement=FLOATS,
    smallest_margin=FLOATS,
    sqnr_db=st.none() | FLOATS,
    cosine=FLOATS,
)


@given(st.integers(-100, 2000), st.integers(-100, 2000))
def test_only_positive_multiples_of_32_pass(height: int, width: int) -> None:
    good = height >= 32 and width >= 32 and height % 32 == 0 and width % 32 == 0
    try:
        check_image_size(height, width)
    except UsageError as error:
        assert not good
        nearest = [int(word) for word in str(error).split("works: ")[1].split(" or ")]
        assert all(size > 0 and size % 32 == 0 for size in nearest)
    else:
        assert good


@given(st.lists(st.integers(1, 9), max_size=4), st.lists(st.integers(-1, 9), max_size=4))
def test_a_shape_is_accepted_when_every_fixed_axis_is_equal(spec: list[int], shape: list[int]) -> None:
    fixed = TensorSpec(name="x", shape=tuple(spec), dtype="float32")
    assert fixed.accepts(tuple(shape)) == (spec == shape)
    free = TensorSpec(name="x", shape=tuple("n" for _ in spec), dtype="float32")
    assert free.accepts(tuple(shape)) == (len(spec) == len(shape) and all(size >= 1 for size in shape))


@given(st.sampled_from(["passed", "failed", "built, not run"]), st.lists(DIFFS, max_size=3), st.text())
def test_a_parity_report_survives_json(status: str, diffs: list[OutputDiff], text: str) -> None:
    report = ParityReport(status=status, runtime=text, diffs=tuple(diffs), instead=text)  # type: ignore[arg-type]
    assert msgspec.json.decode(msgspec.json.encode(report), type=ParityReport) == report


def test_manifest_fields_are_those_of_the_contract() -> None:
    fields = set(Manifest.__dataclass_fields__)
    contract = (
        "schema_version target precision files model inputs outputs preprocess labels conversion options tools parity operators "
        "placements notes"
    )
    assert set(contract.split()) <= fields
    assert set(ConversionRecord.__dataclass_fields__) == {"batch", "image_size", "takes", "returns", "graph", "form"}


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (96, 384), (32, 32)])
def test_preprocessing_scales_with_the_image(size: tuple[int, int]) -> None:
    preprocess = find_variant("edgevit_xxs").with_image_size(size).preprocess
    assert preprocess.crop == size
    assert all(abs(box - 256 / 224 * side) <= 1 for box, side in zip(preprocess.resize, size, strict=True))


def test_did_you_mean_names_the_closest_or_all() -> None:
    assert did_you_mean("onx", ["onnx", "coreml"]) == "did you mean 'onnx'?"
    assert did_you_mean("zzz", ["onnx", "coreml"]) == "known: coreml, onnx"


def test_both_depths_can_be_built_and_neither_by_accident() -> None:
    assert VARIANTS["edgevit_xs"].depths == (1, 1, 3, 1)
    assert VARIANTS["edgevit_s"].depths == (1, 2, 5, 3)
    assert VARIANTS["edgevit_xs_table1"].depths == (1, 1, 2, 2)
    assert VARIANTS["edgevit_s_table1"].depths == (1, 2, 3, 2)


def test_the_version_is_said_once_in_code_and_once_for_the_installer() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION == edgevit_deploy.__version__
