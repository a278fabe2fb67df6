"""A target and a runtime of a few lines: proof that the interfaces are enough, and a fast stand-in for converters."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from edgevit_deploy.errors import RunError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.prepared import PreparedModel
from edgevit_deploy.registry import Availability, Entry
from edgevit_deploy.session import Array, Session
from edgevit_deploy.spec import ModelSpec, Preprocess
from edgevit_deploy.tolerances import NOISE_MULTIPLES, NoiseMultiple


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeOptions:
    """Flags of the fake target.

    Attributes:
        fault: Name of a fault to plant in the written file.
    """

    fault: str = ""


class FakeExporter(Exporter[FakeOptions]):
    """Write the weights as safetensors and the spec as JSON beside them."""

    target = "fake"
    precisions = ("fp32",)
    options_type = FakeOptions
    dynamic_size = True
    usage = "Not for an app."

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=True, detail="always there")

    def export(self, module: torch.nn.Module, plan: ExportPlan[FakeOptions], folder: Path) -> Artifact:
        assert isinstance(module, PreparedModel)
        state = {name: tensor.clone() for name, tensor in module.network.state_dict().items()}
        if plan.options.fault == "bias":
            state["head.bias"][0] += 0.01
        save_file(state, folder / "model.fake")
        form = {"input": plan.input_form, "spec": asdict(plan.spec)}
        (folder / "model.json").write_text(json.dumps(form))
        return Artifact(
            target=self.target,
            path=folder / "model.fake",
            inputs=(plan.input_spec(),),
            outputs=(plan.output_spec("logits"),),
            tools={"fake": "1"},
            facts={"tensors": len(state)},
            notes=("a fake target",),
        )


class FakeSession(Session):
    """Rebuild the network from what `FakeExporter` wrote."""

    name = "fake runtime"

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=True, detail="always there")

    def _load(self) -> None:
        form = json.loads((self.path.parent / "model.json").read_text())
        spec = ModelSpec(**{**form["spec"], "preprocess": Preprocess(**form["spec"]["preprocess"])})
        network = EdgeViT(spec)
        try:
            network.load_state_dict(load_file(self.path))
        except Exception as error:
            raise RunError(f"{self.name}: {error}") from error
        self._module = PreparedModel(network, spec.preprocess, form["input"], "logits").float().eval()

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        with torch.no_grad():
            return {self.outputs[0].name: self._module(torch.from_numpy(np.ascontiguousarray(feeds["input"]))).numpy()}

    def _unload(self) -> None:
        if hasattr(self, "_module"):
            del self._module


FAKE_TARGET: Entry[FakeExporter] = Entry(name="fake", location="tests.fakes:FakeExporter", summary="A fake target")
FAKE_RUNTIME: Entry[Session] = Entry(name="fake", location="tests.fakes:FakeSession", summary="A fake runtime", reads=("fake",))


def register_fake(monkeypatch) -> None:
    """Add the fake target as a contributor would: one line in each registry and one tolerance row."""
    import export
    import runtimes

    monkeypatch.setitem(export.TARGETS, "fake", FAKE_TARGET)
    monkeypatch.setattr(runtimes, "ENTRIES", (*runtimes.ENTRIES, FAKE_RUNTIME))
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", FAKE_RUNTIME)
    monkeypatch.setitem(NOISE_MULTIPLES, ("fake", "fp32"), NoiseMultiple(k=4, reason="PyTorch itself, in another batch size"))
