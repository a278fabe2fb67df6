"""XNNPACK's operators, as ExecuTorch and LiteRT both report them: "Fully Connected (NC, F32) GEMM"."""

TRACED_AS: dict[str, frozenset[str]] = {
    "Add": frozenset({"aten::add"}),
    "Average Pooling": frozenset({"aten::avg_pool2d"}),
    "Batch Matrix Multiply": frozenset({"aten::matmul", "aten::bmm", "aten::einsum"}),
    "Convolution": frozenset({"aten::_convolution", "aten::batch_norm"}),
    "Deconvolution": frozenset({"aten::_convolution"}),
    "Fully Connected": frozenset({"aten::_convolution", "aten::linear"}),
    "GELU": frozenset({"aten::gelu"}),
    "Max Pooling": frozenset({"aten::max_pool2d"}),
    "Mean": frozenset({"aten::mean"}),
    "Mean Squared": frozenset({"aten::mean"}),
    "Multiply": frozenset({"aten::mul"}),
    "Reciprocal Square Root": frozenset({"aten::rsqrt"}),
    "Softmax": frozenset({"aten::softmax"}),
    "Square": frozenset({"aten::mul"}),
    "Static Reshape": frozenset({"aten::reshape", "aten::flatten", "aten::view", "aten::unsqueeze"}),
    "Subtract": frozenset({"aten::sub"}),
    "Transpose": frozenset({"aten::permute", "aten::transpose"}),
}
"""Kind -> the traced operators it may stand for: a BatchNorm becomes a depthwise convolution, a 1x1 convolution a product."""


def kind_of(report: str) -> str:
    """Return the operator without its layouts, types and microkernel."""
    return report.partition(" (")[0]
