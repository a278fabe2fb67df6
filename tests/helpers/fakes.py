"""A target and a runtime of a few lines: proof that the interfaces are enough, and a fast stand-in for converters."""

import copy
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.deploy.stored import Stored, StoredWeights
from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation
from edgevit_deploy.model.ends import as_tuple
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.registry import Availability, Runtime, Target
from edgevit_deploy.session import Array, Session
from tests.helpers.rounding_faults import ROUNDING_FAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeOptions:
    """Flags of the fake target.

    Attributes:
        fault: Name of a fault to plant in the written file.
    """

    fault: str = ""


def count_leaves(module: torch.nn.Module) -> dict[str, int]:
    """Count a module's innermost modules by type: what stands for operators here."""
    return dict(Counter(type(child).__name__ for child in module.modules() if not list(child.children())))


class FakeExporter(Exporter[FakeOptions]):
    """Write a trace."""

    target = "fake"
    precisions = {"fp32": NoiseMultiple(k=4, reason="PyTorch itself, in another batch size")}  # noqa: RUF012
    quantised = {  # noqa: RUF012
        "int8": Quantisation(
            scheme=Scheme(activations="u8", outputs=True),
            bound=NoiseMultiple(k=1.1, reason="PyTorch itself"),
            form=Form(position="kept"),
            choices={"activations": ("u8", "s8"), "outputs": (True, False), "depthwise": (True, False), "floating": ("head",)},
        ),
        "w8": Quantisation(
            scheme=Scheme(activations="none"), bound=NoiseMultiple(k=1.1, reason="PyTorch itself"), form=Form(position="kept")
        ),
    }
    options_type = FakeOptions
    tasks = ("classify", "features", "segment", "detect")
    dynamic_size = True
    usage = "Not for an app."

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=True, detail="always there")

    def export(self, module: torch.nn.Module, plan: ExportPlan[FakeOptions], folder: Path) -> Artifact:
        module = copy.deepcopy(module)
        if plan.options.fault == "bias":
            module.get_submodule("network.head").bias[0] += 0.01
        if plan.options.fault == "infinite":
            module.get_submodule("network.head").bias[0] = torch.inf
        if plan.options.fault in ROUNDING_FAULTS:
            ROUNDING_FAULTS[plan.options.fault](module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.jit.trace(module, plan.example(), check_trace=False)
            torch.jit.save(program, folder / "model.fake")
        return Artifact(
            target=self.target,
            path=folder / "model.fake",
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={"fake": "1"},
            operators=count_leaves(module),
            facts={"tensors": len(module.state_dict())},
            notes=("a fake target",),
        )

    def stored(self, artifact: Artifact) -> Stored:
        """What a trace rounds by: constants of its operators, and the weights beside the scales in its buffers."""
        with artifact.path.open("rb") as file:
            program = torch.jit.load(file)
        torch._C._jit_pass_inline(program.graph)
        nodes = program.graph.findAllNodes("aten::fake_quantize_per_tensor_affine")
        state = program.state_dict()
        weights = []
        for name, scales in state.items():
            if name.endswith("round_weight.scales"):
                weight = state[name.replace("round_weight.scales", "operator.weight")].flatten(1)
                integers = (weight / scales[:, None]).round().clamp(-127, 127).to(torch.int8)
                weights.append(StoredWeights(scales=scales.numpy(), values=integers.numpy()))
        activations = [tuple(value.toIValue() for value in list(node.inputs())[1:3]) for node in nodes]
        return Stored(activations=tuple((float(scale), int(zero)) for scale, zero in activations), weights=tuple(weights))


class FakeSession(Session):
    """Run what `FakeExporter` wrote."""

    name = "fake runtime"

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=True, detail="always there")

    def _load(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with self.path.open("rb") as file:  # PyTorch cannot open a name that is not UTF-8
                    self._module = torch.jit.load(file)
        except Exception as error:
            raise RunError(f"{self.name}: {error}") from error

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        with torch.no_grad():
            outputs = as_tuple(self._module(torch.from_numpy(np.ascontiguousarray(feeds["input"]))))
        return {spec.name: output.numpy() for spec, output in zip(self.outputs, outputs, strict=True)}

    def _unload(self) -> None:
        if hasattr(self, "_module"):
            del self._module


class RefusingSession(FakeSession):
    """Load nothing."""

    def _load(self) -> None:
        raise RunError(f"{self.name}: the compiler refuses this file")


FAKE_TARGET: Target[FakeExporter] = Target(name="fake", location="tests.helpers.fakes:FakeExporter", summary="A fake target")
FAKE_RUNTIME: Runtime[Session] = Runtime(
    name="fake", target="fake", location="tests.helpers.fakes:FakeSession", summary="A fake runtime"
)
REFUSING_RUNTIME: Runtime[Session] = Runtime(
    name="fake", target="fake", location="tests.helpers.fakes:RefusingSession", summary="A fake runtime that loads nothing"
)

FAKE_COMMAND = ("fake", "--model", "edgevit_xxs", "--image-size", "32", "--num-classes", "10")
"""A conversion to the fake target that takes a moment."""

SMALL_COMMAND = ("fake", "--model", "edgevit_xxs", "--image-size", "32")
"""The same of 1000 classes, for which fewer pictures are a yardstick of integers than for 10."""


def register_fake(monkeypatch) -> None:
    """Add the fake target as a contributor would: one line in each registry."""
    import export
    import runtimes

    monkeypatch.setitem(export.TARGETS, "fake", FAKE_TARGET)
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", FAKE_RUNTIME)
