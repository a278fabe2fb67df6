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
from edgevit_deploy.spec import InputForm, ModelSpec, OutputForm
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
