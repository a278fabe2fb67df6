"""The opsets on offer, and which version of ONNX Runtime is the first that runs a file."""

OPSETS = {17: (1, 12), 18: (1, 14), 19: (1, 15), 20: (1, 17)}
"""Each opset and the version of ONNX Runtime that first ran it (its version table); PyTorch's trace exporter ends at 20."""

REMARKS = {
    17: "the oldest opset with LayerNormalization; TensorRT 8.6 stops here",
    20: "the first with one Gelu operator in place of five",
}


def first_runtime(opset: int, format_since: tuple[int, int] = (0, 0)) -> str:
    """Return the name and version of the first ONNX Runtime that runs a file.

    Args:
        opset: of the file.
        format_since: the version that first read the file's format, where that is not ONNX itself.
    """
    return "ONNX Runtime {}.{}".format(*max(OPSETS[opset], format_since))


def described(opset: int) -> str:
    """Return what first ran an opset, and what is to be known of it."""
    return ", ".join(filter(None, (first_runtime(opset), REMARKS.get(opset))))
