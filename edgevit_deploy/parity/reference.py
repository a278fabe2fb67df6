"""The truth and the yardsticks, all in PyTorch: float64, float32, and the emulation of a reduced precision."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgevit_deploy.data.preprocess import Images
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.ends import as_tuple, prepare
from edgevit_deploy.parity.gate import Truth
from edgevit_deploy.parity.probes import Probes
from edgevit_deploy.spec import (
    FloatPrecision,
    InputKind,
    OutputKind,
    Preprocess,
    TensorSpec,
    output_specs,
    returned_for,
    task_of,
)

Arithmetic = Literal["fp64", "fp32", "fp16", "bf16", "half weights"]

STORED: dict[Arithmetic, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""The emulated arithmetics: how weights and activations are stored; sums are float32."""

HALF_WEIGHTS: Arithmetic = "half weights"
"""Weights are stored in half precision; they become float32 again before anything is computed, which is in float32."""

FEWEST_AXES = 2
"""Of weights, among them the factors of pixels; with fewer, a tensor is a bias or belongs to a normalisation."""


class RoundEveryOutput(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Round the result of every operation to 16 bits and go on in float32.

    That is what storing each activation in 16 bits costs when arithmetic accumulates in float32, as ONNX Runtime,
    Core ML on the GPU, TensorRT and, in bfloat16, OpenVINO do. Views are rounded again without effect.

    Args:
        stored: float16 (11 significant bits, overflows at 65504) or bfloat16 (8 significant bits, float32's range).
    """

    def __init__(self, stored: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stored = stored

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation and round what it returns."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            return _round(result, self.stored)
        if isinstance(result, tuple | list):
            return type(result)(_round(item, self.stored) if isinstance(item, Tensor) else item for item in result)
        return result


def _round(tensor: Tensor, stored: torch.dtype) -> Tensor:
    if tensor.dtype is not torch.float32:
        return tensor
    rounded = tensor.to(stored).to(torch.float32)
    return tensor if torch.equal(rounded, tensor) else rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What stands before and behind a network: what it takes, what it returns, and the names of its outputs in order."""

    takes: InputKind
    returns: OutputKind
    outputs: tuple[str, ...]


def names_of(specs: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    """Return the names of some tensors."""
    return tuple(spec.name for spec in specs)


Outputs = dict[str, NDArray[np.float64]]
"""Output name -> float64 (probes, ...)."""


class Reference:
    """The original network as the judge: its float64 outputs and its own rounding noise, each computed once.

    Args:
        network: the published graph with the weights under test; it is copied, never changed.
        preprocess: for the ends that normalise inside.
    """

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        self._network = network
        self._preprocess = preprocess
        self._computed: dict[tuple[Probes, Ends, Arithmetic], Outputs] = {}

    def truth(self, probes: Probes, ends: Ends, precision: FloatPrecision) -> Truth:
        """Return the float64 outputs on the probes and the noise of the precision."""
        exact = self.outputs(probes, ends, "fp64")
        own = self.outputs(probes, ends, precision)
        noise = {name: float(np.abs(own[name] - exact[name]).max()) for name in exact}
        return Truth(probes=probes, outputs=exact, noise=noise, precision=precision, task=task_of(ends.returns))

    def outputs(self, probes: Probes, ends: Ends, arithmetic: Arithmetic, at_once: int = 1) -> Outputs:
        """Return what the network gives for the probes in one arithmetic.

        Args:
            probes: the images.
            ends: of the network.
            arithmetic: to compute in.
            at_once: images a run; attention at a large size would not fit as a batch.
        """
        key = (probes, ends, arithmetic)
        if key not in self._computed:
            run = self.runner(ends, arithmetic)
            starts = range(0, len(probes.inputs), at_once)
            rows = [run(probes.inputs[start : start + at_once]) for start in starts]
            self._computed[key] = {name: np.concatenate([row[name] for row in rows]) for name in ends.outputs}
        return self._computed[key]

    def own_ends(self, takes: InputKind) -> Ends:
        """Return the ends at which the network gives what it was made for: a classifier its logits."""
        if isinstance(self._network, DenseNetwork):
            spec = self._network.spec
            returns = returned_for(spec.task)
            return Ends(takes=takes, returns=returns, outputs=names_of(output_specs(spec, returns, batch=1, size=None)))
        return Ends(takes=takes, returns="logits", outputs=("logits",))

    def runner(self, ends: Ends, arithmetic: Arithmetic) -> Callable[[Images], Outputs]:
        """Return what runs images (n, 3, height, width) in one arithmetic, all at once; nothing of it is kept here."""
        module = self._prepare(ends, arithmetic)
        return lambda images: dict(zip(ends.outputs, _run(module, images, arithmetic), strict=True))

    def remember(self, probes: Probes, ends: Ends, arithmetic: Arithmetic, outputs: Outputs) -> None:
        """Take outputs that another run of the same network has computed on the way."""
        self._computed[probes, ends, arithmetic] = outputs

    def _prepare(self, ends: Ends, arithmetic: Arithmetic) -> nn.Module:
        dtype = torch.float64 if arithmetic == "fp64" else torch.float32
        module = prepare(self._network, self._preprocess, ends.takes, ends.returns, dtype)
        if arithmetic in STORED:
            for tensor in (*module.network.parameters(), *module.network.buffers()):
                tensor.copy_(_round(tensor, STORED[arithmetic]))
        if arithmetic == HALF_WEIGHTS:
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.ndim >= FEWEST_AXES:
                    tensor.copy_(_round(tensor, torch.float16))
        return module


@torch.no_grad()
def _run(module: nn.Module, images: Images, arithmetic: Arithmetic) -> list[NDArray[np.float64]]:
    """Run images (n, 3, height, width) and return each output, float64 (n, ...)."""
    x = torch.from_numpy(images)
    if arithmetic == "fp64" and x.is_floating_point():  # bytes become floats in the module
        x = x.double()
    if arithmetic not in STORED:
        outputs = as_tuple(module(x))
    else:
        with RoundEveryOutput(STORED[arithmetic]):
            outputs = as_tuple(module(_round(x, STORED[arithmetic])))
    return [output.double().numpy() for output in outputs]
