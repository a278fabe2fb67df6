"""Small ncnn models for tests: converted ones, and one written by hand."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.exporter import Artifact, ExportPlan
from edgevit_deploy.formats.ncnn import BIN_NAME, PARAM_NAME
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.spec import InputKind
from export.ncnn import NcnnExporter, NcnnOptions
from tests.helpers.small import plan_for, small_network

NETWORK = small_network(seed=4)

FLOAT32_TAG, FLOAT16_TAG = struct.pack("<I", 0), struct.pack("<I", 0x01306B47)


def plan_of(**changes: Any) -> ExportPlan[NcnnOptions]:
    return plan_for(NETWORK.spec, NcnnOptions(), **{"graph": "deploy", **changes})


def module_for(takes: InputKind = "tensor") -> torch.nn.Module:
    """The rewritten network in float32, ready to be converted."""
    return prepare(to_deploy_form(NETWORK, Form()).network, NETWORK.spec.preprocess, takes, "logits", torch.float32)


def build(plan: ExportPlan[NcnnOptions], folder: Path, module: torch.nn.Module | None = None) -> Artifact:
    return NcnnExporter().export(module or module_for(plan.takes), plan, folder)


def images() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((1, 3, 64, 64)).astype(np.float32)


HANDWRITTEN = """\
7767517
4 5
Input                    in0                      0 1 in0
Convolution              conv_0                   1 1 in0 a 0=2 1=1 11=1 5=1 6=6
Split                    split_0                  1 2 a b c
BinaryOp                 add_0                    2 1 b c out0 0=0
"""


def write_handwritten(folder: Path, param: str = HANDWRITTEN, tag: bytes = FLOAT32_TAG, extra: bytes = b"") -> Path:
    """A 1x1 convolution of 3 channels into 2 (6 weights, 2 biases) and x + x, with the number format that the tag announces."""
    item = {FLOAT32_TAG: "f", FLOAT16_TAG: "e"}.get(tag, "f")
    (folder / PARAM_NAME).write_text(param)
    (folder / BIN_NAME).write_bytes(tag + struct.pack(f"<6{item}2f", *range(8)) + extra)
    return folder
