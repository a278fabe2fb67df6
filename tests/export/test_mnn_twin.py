"""MNN files of fewer bits beside their twins: each number that a converter could get wrong is planted, and must be seen."""

import struct
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.mnn import MnnModel, read_mnn
from edgevit_deploy.outside.flat_table import FlatTable
from edgevit_deploy.spec import Precision
from export.mnn import traced
from export.mnn.converter import EXACT_GELU, convert, write_source
from export.mnn.twin import check_twin
from tests.helpers.mnn import SMALL

CONVOLUTION, LAYER_NORM, CONSTANT, PERMUTE = 9, 88, 7, 29

Pair = tuple[bytes, MnnModel]


def pair(precision: Precision, folder: Path) -> Pair:
    """A file, and what its source is in float32."""
    rounding = SMALL.exporter.quantised.get(precision)
    changes = (
        {"precision": precision}
        if rounding is None
        else {"precision": precision, "form": rounding.form, "scheme": rounding.scheme}
    )
    plan = SMALL.plan_of(**changes)
    source = write_source(traced(SMALL.module_for(plan), plan), folder)
    return SMALL.shared(**changes).path.read_bytes(), read_mnn(convert(source, folder / "twin", *EXACT_GELU))


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair("fp16", tmp_path_factory.mktemp("half"))


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair("w8", tmp_path_factory.mktemp("eight"))


def parameters(content: bytes, main: int) -> list[FlatTable]:
    return [op.child(2) for op in FlatTable.root(content).children(3) if op.number(1) & 0xFF == main]


def place_of(table: FlatTable, field: int) -> int:
    """Where a number lies."""
    return int(table.raw.Pos + table.raw.Offset(4 + 2 * field))


def items_of(table: FlatTable, field: int) -> int:
    """Where the first number of a list lies."""
    return int(table.raw.Vector(table.raw.Offset(4 + 2 * field)))


def check(content: bytes, twin: MnnModel, folder: Path) -> None:
    path = folder / "model.mnn"
    path.write_bytes(content)
    check_twin(read_mnn(path), twin)


@pytest.mark.parametrize("pair_of", ["half", "eight"])
@pytest.mark.parametrize("fault", ["epsilon", "stride", "padding", "bias", "gamma", "beta", "axes", "constant", "order"])
def test_a_number_beside_the_weights_is_compared(
    pair_of: str, fault: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    content, twin = request.getfixturevalue(pair_of)
    check(content, twin, tmp_path)
    changed = bytearray(content)
    norm, convolution = parameters(content, LAYER_NORM)[5], parameters(content, CONVOLUTION)[3]
    strided = next(table.child(0) for table in parameters(content, CONVOLUTION) if table.child(0).number(4) & 0xFF == 2)
    shape = next(table for table in parameters(content, CONSTANT) if len(table.array(5, "<i4")))
    operator = next(op for op in FlatTable.root(content).children(3) if op.has(6))
    if fault == "epsilon":
        struct.pack_into("<f", changed, place_of(norm, 1), 0.1)
    elif fault == "stride":
        struct.pack_into("<i", changed, place_of(strided, 4), 1)
    elif fault == "padding":
        changed[place_of(strided, 8)] ^= 1
    elif fault == "order":
        changed[place_of(operator, 6)] ^= 1
    else:
        of = {"bias": (convolution, 2), "gamma": (norm, 2), "beta": (norm, 3), "constant": (shape, 5)}
        table, field = of.get(fault) or (parameters(content, PERMUTE)[0], 0)
        changed[items_of(table, field)] ^= 1
    with pytest.raises(ExportError, match=r"has another parameter than in float32: |has other weights in int32 than in float32"):
        check(bytes(changed), twin, tmp_path)


def test_a_weight_in_half_precision_is_compared(half: Pair, tmp_path: Path) -> None:
    content, twin = half
    changed = bytearray(content)
    changed[items_of(parameters(content, CONVOLUTION)[3].child(3), 0)] ^= 1
    with pytest.raises(ExportError, match="has other weights in half precision than in float32"):
        check(bytes(changed), twin, tmp_path)


@pytest.mark.parametrize("what", ["integer", "scale"])
def test_a_weight_in_eight_bits_is_compared(eight: Pair, tmp_path: Path, what: str) -> None:
    """One step off; a scale 2 % off."""
    content, twin = eight
    changed = bytearray(content)
    stored = parameters(content, CONVOLUTION)[3].child(3)
    if what == "integer":
        changed[items_of(stored, 0) + len(stored.array(0, "u1")) - 1] ^= 1
    else:
        place = items_of(stored, 1)
        struct.pack_into("<f", changed, place, np.float32(1.02) * struct.unpack_from("<f", content, place)[0])
    with pytest.raises(ExportError, match="has other weights in eight bits than in float32"):
        check(bytes(changed), twin, tmp_path)
