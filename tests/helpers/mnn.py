"""Small MNN files for tests: converted ones, and one written by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from edgevit_deploy.host import THIS_HOST
from export.mnn import MnnExporter, MnnOptions
from tests.helpers.flat_tables import Place, refer, table, tables, text
from tests.helpers.targets import SmallTarget

SMALL: SmallTarget[MnnOptions] = SmallTarget(
    exporter=MnnExporter(), defaults={"graph": "deploy", "form": THIS_HOST.find_exporter("mnn").form}
)

WEIGHTS = np.arange(6, dtype=np.float32)
BIASES = np.array([6, 7], np.float32)
INPUT, CONVOLUTION = 34, 12


def whole(value: int) -> Place:
    return lambda builder, field: builder.PrependInt32Slot(field, value, 0)


def byte(value: int) -> Place:
    return lambda builder, field: builder.PrependUint8Slot(field, value, 0)


def numbers(builder: flatbuffers.Builder, values: Any, dtype: str) -> Place:
    """A field that is a list of numbers."""
    return refer(builder.CreateNumpyVector(np.asarray(values, dtype)))


def texts(builder: flatbuffers.Builder, values: Sequence[str]) -> Place:
    """A field that is a list of texts."""
    return tables(builder, [builder.CreateString(value) for value in values])


def operator(
    builder: flatbuffers.Builder,
    kind: int,
    main: int,
    parameters: int | None,
    *,
    name: str = "operator",
    inputs: Sequence[int] = (),
    outputs: Sequence[int] = (),
    elsewhere: str = "",
) -> int:
    """One table of the kind Op."""
    fields: dict[int, Place] = {
        0: numbers(builder, inputs, "<i4"),
        1: byte(main),
        3: text(builder, name),
        4: numbers(builder, outputs, "<i4"),
        5: whole(kind),
        7: text(builder, elsewhere),
    }
    if parameters is not None:
        fields[2] = refer(parameters)
    return table(builder, fields)


def handwritten(
    *,
    kind: int = CONVOLUTION,
    main: int = 9,
    reads: int = 0,
    writes: int = 1,
    elsewhere: str = "",
    sizes: Sequence[int] = (1, 3, 4, 4),
    weights: Any = WEIGHTS,
    biases: Any = BIASES,
    external: Sequence[int] = (),
    common: Mapping[int, int] | None = None,
    names: Sequence[str] = ("x", "y"),
    output: str = "y",
    graphs: int = 0,
) -> bytes:
    """A 1x1 convolution of 3 channels into 2, with 6 weights and 2 biases, and whatever is changed of it."""
    builder = flatbuffers.Builder(1024)
    source = table(builder, {0: numbers(builder, sizes, "<i4"), 1: whole(1), 2: byte(0)})
    fields = {2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 9: 1, 10: 2, 11: 3, **(common or {})}
    own = table(builder, {field: whole(value) for field, value in fields.items()})
    parameters: dict[int, Place] = {
        0: refer(own),
        1: numbers(builder, weights, "<f4"),
        2: numbers(builder, biases, "<f4"),
    }
    if external:
        parameters[6] = numbers(builder, external, "<i8")
    convolution = table(builder, parameters)
    operators = [
        operator(builder, INPUT, 21, source, name="x", outputs=[0]),
        operator(builder, kind, main, convolution, name="y", inputs=[reads], outputs=[writes], elsewhere=elsewhere),
    ]
    graph = table(builder, {0: text(builder, "loop")})
    net: dict[int, Place] = {
        2: refer(table(builder, {2: text(builder, "3.6.1")})),
        3: tables(builder, operators),
        4: texts(builder, [output]),
        7: texts(builder, names),
        10: tables(builder, [graph] * graphs),
        11: text(builder, "by-hand"),
    }
    builder.Finish(table(builder, net))
    return bytes(builder.Output())
