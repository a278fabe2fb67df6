"""What a private graph is declared to be, beside its body: Core AI may run a kernel of its own by the declaration.

So both must compute the same. On drawn values, small enough that a wrong epsilon shows, the body is evaluated and the declaration
computed; a program in which they differ is refused. The names of a declaration say which value is which: they must be those that
the library writes, in its order.
"""

import inspect
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor

from edgevit_deploy.dataflow import FAILURES, ROUND, Declared, Program, ints, not_implemented
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreai.program import Composite

DRAWN_AMPLITUDE = 1e-3
"""The square is the published epsilon."""

FREE_EXTENT = 2
"""What a free axis is taken for."""

TOLERANCE = 1e-2
"""Of the largest value; rounding in half precision leaves 1e-3, another epsilon or axis changes all."""


INPUT, OUTPUT, VERSION = "input", "output", 1
"""What the library calls the tensor that a composite works on and what it returns, and the version of all that it declares."""

GRAPHS_OWN = (INPUT, "input_tensor")
"""What the graph itself calls that tensor."""


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, axes: list[float], eps: float) -> Tensor:
    """Normalise over axes by the biased variance."""
    over = [int(axis) for axis in axes]
    variance, mean = torch.var_mean(x, dim=over, correction=0, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * gamma + beta


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, *, eps: float) -> Tensor:
    """Normalise each channel (axis 1) by stored statistics."""
    return F.batch_norm(x, mean, variance, gamma, beta, eps=eps)


def pixel_shuffle(x: Tensor, *, upscale_factor: float) -> Tensor:
    """(batch, channels * factor^2, height, width) -> (batch, channels, height * factor, width * factor)."""
    return F.pixel_shuffle(x, int(upscale_factor))


def avg_pool_2d(
    x: Tensor,
    kernel_size: Tensor,
    stride: Tensor,
    padding: Tensor,
    ceil_mode: Tensor,
    count_include_pad: Tensor,
    divisor_override: Tensor,
) -> Tensor:
    """2-D mean; a divisor of 0 is none."""
    return F.avg_pool2d(
        x,
        ints(kernel_size),
        ints(stride),
        padding=ints(padding),
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
        divisor_override=int(divisor_override) or None,
    )


DECLARED: dict[str, Callable[..., Tensor]] = {
    function.__name__: function for function in (layer_norm, batch_norm, pixel_shuffle, avg_pool_2d)
}
"""Kind of composite -> what it computes by its declaration: its inputs by their names, and its attributes as keywords."""


def check_composite(declared: Composite, body: Program, constants: dict[str, Tensor]) -> None:
    """Compare a body with its declaration: by name, and on drawn values.

    Args:
        declared: what the graph is declared to be.
        body: the graph's own operations, as a program.
        constants: what callers give it as constants of whole numbers, by the name of the input.

    Raises:
        RunError: they differ, or the declaration is not known here.
    """
    attributes = _checked_attributes(declared, body)
    generator = torch.Generator().manual_seed(0)
    drawn = {value.name: constants[value.name] if value.name in constants else _draw(value, generator) for value in body.inputs}
    (computed,) = body.evaluate(drawn).values()
    stored = [value.store(drawn[value.name]) for value in body.inputs]
    try:
        expected = DECLARED[declared.kind](*stored, **attributes)
    except FAILURES as error:
        raise RunError(f"a graph is declared to be {declared.kind}, which cannot be computed of its inputs: {error}") from error
    off = float((computed - expected).abs().max()) if computed.shape == expected.shape else float("inf")
    if not off <= TOLERANCE * float(expected.abs().max()):
        said = ", ".join(f"{name} = {value}" for name, value in attributes.items())
        raise RunError(f"a graph is declared to be {declared.kind} ({said}), and computes something else: off by {off:.3g}")


def _checked_attributes(declared: Composite, body: Program) -> dict[str, float | list[float]]:
    """Return the attributes of a declaration without its version.

    Raises:
        RunError: its kind, its version, an attribute or the name of a value is not as the library writes it.
    """
    if declared.kind not in DECLARED:
        not_implemented("a composite", "kind", declared.kind, ", ".join(DECLARED))
    parameters = inspect.signature(DECLARED[declared.kind]).parameters.values()
    known = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    others = tuple(each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD)[1:]
    attributes = dict(declared.attributes)
    if (version := attributes.pop("version", None)) != VERSION:
        not_implemented(f"composite {declared.kind}", "version", version, str(VERSION))
    if sorted(attributes) != sorted(known):
        not_implemented(f"composite {declared.kind}", "op_attrs", sorted(attributes), ", ".join(known) or "none")
    if declared.input_names != (INPUT, *others) or declared.output_names != (OUTPUT,):
        names = (*declared.input_names, *declared.output_names)
        not_implemented(f"composite {declared.kind}", "names", names, ", ".join((INPUT, *others, OUTPUT)))
    own = tuple(value.name for value in body.inputs)
    if own[:1] not in {(name,) for name in GRAPHS_OWN} or own[1:] != others:
        not_implemented(f"composite {declared.kind}", "inputs of its graph", own, ", ".join((INPUT, *others)))
    return attributes


def _draw(value: Declared, generator: torch.Generator) -> Tensor:
    """Return small noise; a vector (a scale or statistics, which may be a variance) is as small, and positive."""
    shape = [size or FREE_EXTENT for size in value.shape]
    noise = DRAWN_AMPLITUDE * torch.randn(shape, generator=generator)
    return ROUND[value.dtype](noise if value.dtype in ("fp32", "fp16") and len(shape) > 1 else noise.abs())
