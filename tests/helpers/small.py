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
from edgevit_deploy.spec import InputForm, ModelSpec, OutputForm

SMALL_SIZE = (64, 64)


def small_network(seed: int) -> EdgeViT:
    model = create_model("edgevit_xxs", num_classes=10, image_size=SMALL_SIZE)
    randomise(model, seed)
    return model


def plan_for(spec: ModelSpec, options: Any, **changes: Any) -> ExportPlan[Any]:
    """A plan in fp32 with everything fixed, but for the changes."""
    plan = ExportPlan(
        spec=spec,
        precision="fp32",
        batch=1,
        dynamic_batch=False,
        image_size=spec.image_size,
        dynamic_size=False,
        graph="original",
        form=Form(),
        input_form="tensor",
        labels=(),
        options=options,
    )
    return dataclasses.replace(plan, **changes)


def prepared(
    model: EdgeViT, dtype: torch.dtype, input_form: InputForm = "tensor", output_form: OutputForm = "logits"
) -> PreparedModel:
    return prepare(model, model.spec.preprocess, input_form, output_form, dtype)


def truth_and_noise(
    model: EdgeViT, inputs: np.ndarray, input_form: InputForm = "tensor", output_form: OutputForm = "logits"
) -> tuple[np.ndarray, float]:
    """Float64 outputs, and the largest error of PyTorch's own float32 run."""
    exact = prepared(model, torch.float64, input_form, output_form)(torch.from_numpy(inputs).double()).numpy()
    single = prepared(model, torch.float32, input_form, output_form)(torch.from_numpy(inputs)).numpy()
    return exact, float(np.abs(single - exact).max())
