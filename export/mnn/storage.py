"""What is done to a network before MNN's converter stores its weights in fewer bits, so that it rounds them as it should.

The converter cuts weights off where half precision ends, in place of rounding them, which is twice the error; and it rounds a
weight that lies between two steps of eight bits to the outer one, where this project rounds to the even one. Weights that are on
their grid already are stored as they are.
"""

import copy
from typing import TYPE_CHECKING

import numpy as np

from edgevit_deploy.deploy.scheme import LARGEST_WEIGHT, Scheme
from edgevit_deploy.errors import ExportError

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

FEWEST_AXES = 2
"""Of weights; with fewer, a constant is a bias or belongs to a normalisation, which stay float32, or it is a factor."""


def to_half(model: "ModelProto") -> None:
    """Round the weights of a traced network to half precision, as float32 numbers.

    Raises:
        ExportError: one is too large; the converter would write the largest number of half precision.
    """
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < FEWEST_AXES:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        if np.isinf(rounded).any():
            raise ExportError(
                f"weight {tensor.name} reaches {np.abs(values).max():.3g}, float16 ends at {np.finfo(np.float16).max:g}; "
                "use --precision fp32"
            )
        tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), tensor.name))


def on_the_grid(module: "nn.Module", scheme: Scheme) -> "nn.Module":
    """Return a copy of a prepared network whose rounded weights lie on their grids.

    The largest ones of each channel, from which the converter takes its step, keep their value.
    """
    import torch

    from edgevit_deploy.deploy.quantised import chosen
    from edgevit_deploy.deploy.rounding import WeightRounding

    rounded = copy.deepcopy(module)
    for _, operator in chosen(rounded.get_submodule("network"), scheme):
        weight = operator.weight.detach()
        rounding = WeightRounding(weight, scheme.dialect)
        ends = rounding.integers(weight).view_as(weight).abs() == LARGEST_WEIGHT
        operator.weight.data = torch.where(ends, weight, rounding.rounded(weight))
    return rounded
