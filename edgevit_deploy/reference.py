"""The truth and the yardsticks, all in PyTorch: float64, float32, and the emulation of a reduced precision."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgevit_deploy.parity import Truth
from edgevit_deploy.prepared import prepare
from edgevit_deploy.probes import Probes
from edgevit_deploy.spec import InputForm, OutputForm, Precision, Preprocess


class RoundEveryOutput(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Round the result of every operation to float16 and go on in float32.

    That is what storing each activation in half precision costs when arithmetic accumulates in float32, as ONNX Runtime,
    Core ML on the GPU and TensorRT do. Views are rounded again without effect.
    """

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
            return _to_half(result)
        if isinstance(result, tuple | list):
            return type(result)(_to_half(item) if isinstance(item, Tensor) else item for item in result)
        return result


def _to_half(tensor: Tensor) -> Tensor:
    if tensor.dtype is not torch.float32:
        return tensor
    rounded = tensor.to(torch.float16).to(torch.float32)
    return tensor if torch.equal(rounded, tensor) else rounded


class Reference:
    """The original network as the judge: its float64 outputs and its own rounding noise.

    Args:
        network: the published graph with the weights under test; it is copied, never changed.
        preprocess: for the forms that normalise inside.
    """

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        self._network = network
        self._preprocess = preprocess
        self._prepared = cache(self._prepare)
        self._truths: dict[tuple[int, InputForm, OutputForm, Precision], tuple[Probes, Truth]] = {}

    def truth(self, probes: Probes, input_form: InputForm, output_form: OutputForm, precision: Precision) -> Truth:
        """Return the float64 outputs on the probes and the noise of the precision; computed once for each argument."""
        key = (id(probes), input_form, output_form, precision)
        if key not in self._truths:
            outputs = self._outputs(probes, input_form, output_form, "fp64")
            own = self._outputs(probes, input_form, output_form, precision)
            truth = Truth(probes=probes, outputs=outputs, noise=float(np.abs(own - outputs).max()), precision=precision)
            self._truths[key] = probes, truth
        return self._truths[key][1]

    def _prepare(self, input_form: InputForm, output_form: OutputForm, arithmetic: str) -> nn.Module:
        dtype = torch.float64 if arithmetic == "fp64" else torch.float32
        module = prepare(self._network, self._preprocess, input_form, output_form, dtype)
        if arithmetic == "fp16":
            for tensor in (*module.network.parameters(), *module.network.buffers()):
                tensor.copy_(_to_half(tensor))
        return module

    def _outputs(self, probes: Probes, input_form: InputForm, output_form: OutputForm, arithmetic: str) -> NDArray[np.float64]:
        module = self._prepared(input_form, output_form, arithmetic)
        dtype = torch.float64 if arithmetic == "fp64" else torch.float32

        def run(image: NDArray[np.float32]) -> NDArray[np.float64]:
            x = torch.from_numpy(image[None]).to(dtype)
            if arithmetic == "fp16":
                with RoundEveryOutput():  # type: ignore[no-untyped-call]
                    return module(_to_half(x)).double().numpy()  # type: ignore[no-any-return]
            return module(x).double().numpy()  # type: ignore[no-any-return]

        with torch.no_grad():  # one image at a time: attention at a large size would not fit as a batch
            return np.concatenate([run(image) for image in probes.inputs])
