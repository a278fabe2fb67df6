"""Small lite-interpreter files for tests: a seeded XXS for 64 x 64 images and 10 classes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgevit_deploy import create_model
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.prepared import PreparedModel, prepare
from export.torchscript import TorchScriptExporter, TorchScriptOptions


def network() -> EdgeViT:
    model = create_model("edgevit_xxs", num_classes=10, image_size=(64, 64))
    randomise(model, seed=3)
    return model


def plan_of(**changes: Any) -> ExportPlan[TorchScriptOptions]:
    plan = ExportPlan(
        spec=network().spec,
        precision="fp32",
        batch=1,
        dynamic_batch=False,
        image_size=(64, 64),
        dynamic_size=False,
        input_form="tensor",
        labels=(),
        options=TorchScriptOptions(),
    )
    return dataclasses.replace(plan, **changes)


def prepared(dtype: torch.dtype, input_form: Any = "tensor") -> PreparedModel:
    model = network()
    return prepare(model, model.spec.preprocess, input_form, "logits", dtype)


def build(plan: ExportPlan[TorchScriptOptions], folder: Path, module: torch.nn.Module | None = None) -> Artifact:
    return TorchScriptExporter().export(module or prepared(torch.float32, plan.input_form), plan, folder)


def images(batch: int = 1, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((batch, 3, height, width)).astype(np.float32)


def truth_and_noise(inputs: np.ndarray) -> tuple[np.ndarray, float]:
    """Float64 outputs, and the largest error of PyTorch's own float32 run."""
    exact = prepared(torch.float64)(torch.from_numpy(inputs).double()).numpy()
    single = prepared(torch.float32)(torch.from_numpy(inputs)).numpy()
    return exact, float(np.abs(single - exact).max())
