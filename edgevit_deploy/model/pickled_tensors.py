"""The calls that tensors and dictionaries consist of in a pickle, done by functions that check what they are told.

Each has the arguments of the function that the pickle names, and returns None where the result would be something else than the
values of a storage: a quantised, sparse or nested tensor, or one of a class of its own.
"""

import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgevit_deploy.model.inert import Name

DTYPES = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
STORAGE_DTYPES = {
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.BoolStorage": torch.bool,
    "torch.ByteStorage": torch.uint8,
    "torch.CharStorage": torch.int8,
    "torch.ComplexDoubleStorage": torch.complex128,
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.IntStorage": torch.int32,
    "torch.LongStorage": torch.int64,
    "torch.QInt32Storage": torch.qint32,
    "torch.QInt8Storage": torch.qint8,
    "torch.QUInt2x4Storage": torch.quint2x4,
    "torch.QUInt4x2Storage": torch.quint4x2,
    "torch.QUInt8Storage": torch.quint8,
    "torch.ShortStorage": torch.int16,
    "torch.storage.UntypedStorage": torch.uint8,
}
MAX_AXES = 64
PLAIN_TENSORS = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")
"""Classes of tensors whose values are those of their storage and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Values that a file holds, and their type."""

    data: torch.UntypedStorage
    dtype: torch.dtype


def _tensor(storage: Storage, dtype: torch.dtype, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Return a view of a storage; by itself, torch would enlarge a storage that is too small."""
    if not len(size) == len(stride) <= MAX_AXES:
        raise pickle.UnpicklingError("a tensor whose size or strides are none")
    numbers = (offset, *size, *stride)
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise pickle.UnpicklingError("a tensor whose size or strides are none")
    reach = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1 if all(size) else offset
    if reach * dtype.itemsize > storage.data.nbytes() or math.prod(size) >= 2**62:
        raise pickle.UnpicklingError(f"a tensor reaches to value {reach} of a storage of {storage.data.nbytes()} bytes")
    return torch.empty(0, dtype=dtype).set_(storage.data, offset, size, stride)


# These give back what they are given: a copy for each of many calls of one long list would be much more than the file.


def _ordered_dict(*arguments: Any) -> dict[object, Any] | None:
    return None if arguments else {}


def _set(items: Any = ()) -> list[Any] | tuple[Any, ...] | None:
    return items if isinstance(items, list | tuple) else None


def _size(sides: Any = ()) -> tuple[Any, ...] | None:
    return sides if isinstance(sides, tuple) else None


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor | None:
    return _tensor(storage, storage.dtype, offset, size, stride)


def _rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, metadata: Any = None
) -> Tensor | None:
    # The metadata may say that the values are the negatives or the conjugates of what is stored.
    return None if metadata else _tensor(storage, storage.dtype, offset, size, stride)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Name, metadata: Any = None
) -> Tensor | None:
    return None if metadata else _tensor(storage, DTYPES[dtype.text], offset, size, stride)


def _rebuild_parameter(data: Any, _grad: Any = True, _hooks: Any = None, _state: Any = None) -> Any:
    return data


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, _state: Any) -> Any:
    plain = isinstance(kind, Name) and kind.text in PLAIN_TENSORS and isinstance(function, Name) and function.text in TENSORS
    return TENSORS[function.text](*arguments) if plain else None


TENSORS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
}
CALLS: Mapping[str, Callable[..., Any]] = {
    **TENSORS,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "collections.OrderedDict": _ordered_dict,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "torch.Size": _size,
}
