"""A file whose weights are in fewer bits beside the same network's in float32: what else the converter wrote must be the same."""

from itertools import zip_longest

import numpy as np

from edgevit_deploy.errors import ExportError
from edgevit_deploy.formats.mnn import MnnModel, MnnOperator
from edgevit_deploy.formats.mnn.parameters import Parameters
from edgevit_deploy.formats.mnn.weights import Constant

HALF_A_STEP = 0.51
"""Of eight bits, with some room for the float32 product."""


def check_twin(model: MnnModel, twin: MnnModel) -> None:
    """Refuse a model that differs from what the same network is in float32 in more than the storage of its weights.

    Raises:
        ExportError: naming the first operator that differs.
    """
    if (model.inputs, model.outputs) != (twin.inputs, twin.outputs):
        raise ExportError("MNN's converter wrote other inputs or outputs than in float32")
    for op, other in zip_longest(model.operators, twin.operators):
        if op is None or other is None or _wiring(op) != _wiring(other):
            raise ExportError(f"MNN's converter wrote other operators than in float32, from {(op or other).name} on")
        if differing := _differing(op.parameters, other.parameters):
            raise ExportError(f"{op.name} ({op.kind}) has another parameter than in float32: {differing}")
        if (op.constant is None) != (other.constant is None):
            raise ExportError(f"{op.name} ({op.kind}) has weights in one of two files only")
        if op.constant is not None and other.constant is not None and not _same_numbers(op.kind, op.constant, other.constant):
            how = {"float16": "half precision", "int8": "eight bits"}.get(op.constant.storage, op.constant.storage)
            raise ExportError(f"{op.name} has other weights in {how} than in float32")


def _wiring(op: MnnOperator) -> tuple[str, str, tuple[int, ...], tuple[int, ...]]:
    return op.kind, op.name, op.inputs, op.outputs


def _differing(found: Parameters, expected: Parameters) -> str:
    """Return the number of the first parameter that one of two operators does not have, or has otherwise; nothing if none is."""
    for name in sorted(found.keys() | expected.keys()):
        if name not in found or name not in expected or not np.array_equal(found[name], expected[name]):
            return name
    return ""


def _same_numbers(kind: str, found: Constant, exact: Constant) -> bool:
    """Say whether weights are those of the float32 file, as their storage keeps them.

    Constants that the converter has computed itself are cut off in half precision.
    """
    if found.storage == exact.storage:
        return found.values.tobytes() == exact.values.tobytes()
    if exact.storage != "float32" or found.values.size != exact.values.size:
        return False
    if found.storage == "int8":
        assert found.scales is not None
        scales = found.scales[:, None]
        apart = np.abs(found.values * scales - exact.values.reshape(found.values.shape))
        return bool((apart <= HALF_A_STEP * scales).all())
    if found.storage != "float16":
        return False
    if kind != "Const":
        return np.array_equal(found.values, exact.values)
    halves = found.values
    cut_off = np.abs(halves) <= np.abs(exact.values)
    return bool((cut_off & (np.abs(exact.values - halves.astype(np.float32)) <= np.spacing(np.abs(halves)))).all())
