"""A small network and plans to convert it, for every test that converts: XXS for 64 x 64 images and 10 classes."""

import dataclasses
from typing import Any

import numpy as np
import torch

from edgevit_deploy import create_model
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.ends import PreparedModel, prepare
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.parity.reference import Ends
from edgevit_deploy.spec import InputKind, ModelSpec, OutputKind, output_specs
from export import TARGETS

SMALL_SIZE = (64, 64)


def small_network(seed: int) -> EdgeViT:
    model = create_model("edgevit_xxs", num_classes=10, image_size=SMALL_SIZE)
    randomise(model, seed)
    return model


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
