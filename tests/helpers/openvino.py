"""Small OpenVINO models for tests, and what the CPU at hand can compute in."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.formats.openvino import load_openvino
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.spec import Graph, Precision
from export.openvino import OpenVinoExporter, OpenVinoOptions
from tests.helpers.small import plan_for, small_network

NETWORK = small_network(seed=4)


def plan_of(**changes: Any) -> ExportPlan[OpenVinoOptions]:
    return plan_for(NETWORK.spec, OpenVinoOptions(), **{"graph": "deploy", **changes})


def module_for(graph: Graph = "deploy") -> torch.nn.Module:
    """The network in float32, ready to be converted."""
    network = NETWORK if graph == "original" else to_deploy_form(NETWORK, Form()).network
    return prepare(network, NETWORK.spec.preprocess, "tensor", "logits", torch.float32)


def build(plan: ExportPlan[OpenVinoOptions], folder: Path, module: torch.nn.Module | None = None) -> Artifact:
    return OpenVinoExporter().export(module or module_for(plan.graph), plan, folder)


def images(batch: int = 1) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((batch, 3, 64, 64)).astype(np.float32)


def cpu_computes_in(precision: Precision) -> bool:
    """Whether OpenVINO lists a precision among what this CPU has arithmetic for, before any model is compiled."""
    capabilities = load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision.upper() in capabilities
