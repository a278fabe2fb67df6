"""The operators of MNN that a network here is made of: their numbers, their parameters' table, and what kind of one each is.

All that the converter writes of any form of the network, of the published graph and of the networks that it is compared with was
listed. Control flow, plugins, operators in other files and training are not among it, and a file that has them is not read.

Format: MNN 3.6.1, schema/default/*.fbs.
"""

from dataclasses import dataclass

NOTHING = 0
"""Of the union OpParameter: an operator without parameters."""

BINARY, UNARY, INPUT, CONSTANT, LAYER_NORM, PRODUCT, SCALE, CONVOLUTION_PARAMETERS = 6, 70, 21, 7, 88, 25, 58, 9
"""Of the same union, those that are read."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One kind: its name in the schema, and the tables that its parameters may be."""

    name: str
    parameters: tuple[int, ...]


OPERATORS: dict[int, Operator] = {
    7: Operator("BinaryOp", (BINARY,)),
    9: Operator("Cast", (8,)),
    10: Operator("Concat", (4,)),
    11: Operator("Const", (CONSTANT,)),
    12: Operator("Convolution", (CONVOLUTION_PARAMETERS,)),
    13: Operator("ConvolutionDepthwise", (CONVOLUTION_PARAMETERS,)),
    17: Operator("Deconvolution", (CONVOLUTION_PARAMETERS,)),
    18: Operator("DeconvolutionDepthwise", (CONVOLUTION_PARAMETERS,)),
    27: Operator("Fill", (NOTHING,)),
    28: Operator("Flatten", (17,)),
    31: Operator("GatherV2", (19,)),
    34: Operator("Input", (INPUT,)),
    35: Operator("Interp", (22,)),
    39: Operator("MatMul", (PRODUCT,)),
    45: Operator("Padding", (84,)),
    46: Operator("Permute", (29,)),
    47: Operator("Pooling", (31,)),
    66: Operator("Rank", (NOTHING,)),
    68: Operator("Reduction", (50,)),
    69: Operator("ReLU", (51,)),
    70: Operator("ReLU6", (52,)),
    73: Operator("Reshape", (55,)),
    77: Operator("Scale", (SCALE,)),
    80: Operator("Shape", (NOTHING,)),
    83: Operator("Slice", (61,)),
    84: Operator("SliceTf", (NOTHING,)),
    85: Operator("Softmax", (4,)),
    90: Operator("Squeeze", (64,)),
    91: Operator("StridedSlice", (65,)),
    100: Operator("Transpose", (69,)),
    101: Operator("UnaryOp", (UNARY,)),
    107: Operator("Unsqueeze", (64,)),
    109: Operator("DepthToSpace", (75,)),
    112: Operator("Pooling3D", (79,)),
    129: Operator("ConvertTensor", (66,)),
    603: Operator("LayerNorm", (LAYER_NORM,)),
}

CONVOLUTIONS = frozenset({"Convolution", "ConvolutionDepthwise", "Deconvolution", "DeconvolutionDepthwise"})
"""What has weights."""

TRANSPOSED = frozenset({"Deconvolution", "DeconvolutionDepthwise"})

STORED = frozenset({"Input", "Const"})
"""What computes nothing."""

GELU, EXACT_GELU = "GELU", "GELU_STANDARD"
"""By a tanh, and by the error function."""

UNARIES = (
    *("ABS", "NEG", "FLOOR", "CEIL", "SQUARE", "SQRT", "RSQRT", "EXP", "LOG", "SIN", "COS", "TAN", "ASIN", "ACOS", "ATAN"),
    *("RECIPROCAL", "LOG1P", "BNLL", "ACOSH", "SINH", "ASINH", "ATANH", "SIGN", "ROUND", "COSH", "ERF", "ERFC", "ERFINV"),
    *("EXPM1", "SIGMOID", "TANH", "HARDSWISH", GELU, EXACT_GELU, "SILU"),
)
"""Of the enumeration UnaryOpOperation, in order."""

BINARIES: dict[int, str] = {
    **dict(enumerate(("ADD", "SUB", "MUL", "DIV", "MAX_TEMP", "MIN_TEMP", "POW", "REALDIV", "MINIMUM", "MAXIMUM"))),
    **dict(enumerate(("GREATER", "GREATER_EQUAL", "LESS", "FLOORDIV", "SQUARED_DIFFERENCE", "EQUAL", "LESS_EQUAL"), start=10)),
    17: "FLOORMOD",
    19: "MOD",
}
"""Of the enumeration BinaryOpOperation, those of numbers."""

DTYPES: dict[int, str] = {1: "float32", 3: "int32", 4: "uint8", 6: "int8", 19: "float16"}
"""Of the enumeration DataType, those that a network has."""
