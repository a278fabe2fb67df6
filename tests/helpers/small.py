"""Small networks and plans to convert them, for every test that converts: XXS for 64 x 64 images, or one block a stage of it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from edgevit_deploy import create_model
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.ends import PreparedModel, prepare
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.parity.reference import Ends
from edgevit_deploy.spec import InputKind, ModelSpec, OutputKind, output_specs
from export import TARGETS
from tests.helpers.shared import made_once

SMALL_SIZE = (64, 64)


def small_network(seed: int) -> EdgeViT:
    model = create_model("edgevit_xxs", num_classes=10, image_size=SMALL_SIZE)
    randomise(model, seed)
    return model


def tiny_network(seed: int) -> EdgeViT:
    """One block in each stage of XXS, and 10 classes: every operator of the published networks, in half the time."""
    spec = dataclasses.replace(find_variant("edgevit_xxs"), variant="edgevit_c36_d1_1_1_1", depths=(1, 1, 1, 1), num_classes=10)
    model = EdgeViT(spec.with_image_size(SMALL_SIZE)).eval()
    randomise(model, seed)
    return model


def tiny_weights() -> Path:
    """The tiny network as a checkpoint file, for `--weights`; all tests share it, for reading only."""

    def make(folder: Path) -> None:
        save_file(tiny_network(seed=0).state_dict(), folder / "tiny.safetensors")

    return made_once("tiny-weights", make) / "tiny.safetensors"


def plan_for(spec: ModelSpec, options: Any, **changes: Any) -> ExportPlan[Any]:
    """A plan of the target with these options, in fp32 with everything fixed, but for the changes."""
    target = next((name for name, entry in TARGETS.items() if entry.load().options_type is type(options)), "fake")
    returns = "probabilities" if getattr(options, "classifier", False) else "logits"
    plan = ExportPlan(
        target=target,
        spec=spec,
        precision="fp32",
        batch=1,
        dynamic_batch=False,
        image_size=spec.image_size,
        dynamic_size=False,
        graph="original",
        form=Form(),
        takes="tensor",
        returns=returns,
        outputs=(),
        labels=(),
        options=options,
    )
    plan = dataclasses.replace(plan, **changes)
    size = None if plan.dynamic_size else plan.image_size
    outputs = output_specs(plan.spec, plan.returns, batch=plan.batch_axis(), size=size)
    return plan if plan.outputs else dataclasses.replace(plan, outputs=outputs)


def ends(takes: InputKind = "tensor", returns: OutputKind = "logits") -> Ends:
    """The ends of a classifier."""
    return Ends(takes=takes, returns=returns, outputs=(returns,))


def prepared(model: EdgeViT, dtype: torch.dtype, takes: InputKind = "tensor", returns: OutputKind = "logits") -> PreparedModel:
    return prepare(model, model.spec.preprocess, takes, returns, dtype)


def truth_and_noise(
    model: EdgeViT, inputs: np.ndarray, takes: InputKind = "tensor", returns: OutputKind = "logits"
) -> tuple[np.ndarray, float]:
    """Float64 outputs, and the largest error of PyTorch's own float32 run."""
    exact = prepared(model, torch.float64, takes, returns)(torch.from_numpy(inputs).double()).numpy()
    single = prepared(model, torch.float32, takes, returns)(torch.from_numpy(inputs)).numpy()
    return exact, float(np.abs(single - exact).max())
