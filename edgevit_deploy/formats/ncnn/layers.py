"""The layers of ncnn models that this project knows: which there are, what weights each reads, and what may not be in one.

The weights of a layer are those that its `load_model` reads (ncnn, src/layer).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgevit_deploy.errors import RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One line of `model.param`; `settings` maps ncnn's setting numbers to their values (of an array: its length and items)."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[int, str]

    def number(self, setting: int) -> int:
        """Return a setting as a whole number, 0 where it is absent.

        Raises:
            RunError: it is not one.
        """
        text = self.settings.get(setting, "0")
        try:
            return int(text)
        except ValueError:
            raise RunError(f"layer {self.name!r} has {setting}={text}, expected a whole number") from None


NOT_COMPUTING = ("Input", "MemoryData", "Split")
"""Layers that only hold or pass on a tensor: where two layers read one, ncnn puts a Split, which copies no values."""


Weights = Iterator[tuple[int, bool]]
"""Of each weight that a layer reads, in order: its size, and whether it is tagged with its storage."""


def _convolution(layer: Layer) -> Weights:
    yield layer.number(6), True
    if layer.number(5):
        yield layer.number(0), False


def _inner_product(layer: Layer) -> Weights:
    yield layer.number(2), True
    if layer.number(1):
        yield layer.number(0), False


def _gemm(layer: Layer) -> Weights:
    rows, columns, inner = layer.number(7), layer.number(8), layer.number(9)
    if layer.number(4):
        yield rows * inner, True
    if layer.number(5):
        yield columns * inner, True
    shared = layer.number(10)
    if layer.number(6) and shared != -1:
        yield {0: 1, 1: rows, 2: rows, 3: rows * columns, 4: columns}.get(shared, -1), True


def _layer_norm(layer: Layer) -> Weights:
    if layer.settings.get(2, "1") != "0":
        yield layer.number(0), False
        yield layer.number(0), False


def _batch_norm(layer: Layer) -> Weights:
    for _ in ("slope", "mean", "variance", "bias"):
        yield layer.number(0), False


def _memory_data(layer: Layer) -> Weights:
    sizes = [layer.number(setting) for setting in (0, 1, 11, 2)]
    count = 1
    for size in sizes:
        count *= size or 1
    yield count, layer.settings.get(21, "1") == "0"


WINDOWED = ("Convolution", "ConvolutionDepthWise", "DeconvolutionDepthWise")
WEIGHTS: dict[str, Callable[[Layer], Weights]] = {
    **dict.fromkeys(WINDOWED, _convolution),
    "BatchNorm": _batch_norm,
    "Gemm": _gemm,
    "InnerProduct": _inner_product,
    "LayerNorm": _layer_norm,
    "MemoryData": _memory_data,
}
WITHOUT_WEIGHTS = {
    "BinaryOp",
    "Concat",
    "Flatten",
    "GELU",
    "HardSigmoid",
    "HardSwish",
    "Input",
    "Interp",
    "MatMul",
    "Permute",
    "PixelShuffle",
    "Pooling",
    "Reduction",
    "Reshape",
    "SDPA",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Swish",
    "UnaryOp",
}
"""With `WEIGHTS`, every kind of layer that a form of an EdgeViT may use, with taps or without, and the activations of peers
(`peers.py`). All of them only compute."""

WINDOWS = {
    **dict.fromkeys((*WINDOWED, "Pooling"), (1, 2, 3, 4, 11, 12, 13, 14, 15, 16)),
    "Interp": (1, 2, 3, 4),
    "PixelShuffle": (0,),
}
"""Kind -> the settings that say how large a window, a border or an enlargement is; what it makes grows with them."""

FORBIDDEN = {"Convolution": (8, 19), "ConvolutionDepthWise": (8, 19), "Gemm": (18,), "InnerProduct": (8,)}
"""Kind -> the settings of 8-bit and of computed weights, with which the layer reads others than counted here."""
