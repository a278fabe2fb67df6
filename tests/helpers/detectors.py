"""Small RetinaNets, and their checkpoints as torchvision and mmdetection name them; written out, not by the reader's table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgevit_deploy.model import dense
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.spec import HeadSpec, Size
from tests.helpers.shared import made_once
from tests.helpers.small import SMALL_SIZE, tiny_network

CHANNELS = 16
"""Of the pyramid: the published 256 would take a second for each probe."""


def tiny_detector(seed: int, *, num_classes: int = 5, size: Size = (64, 64), **head: str | bool) -> DenseNetwork:
    """One block a stage of XXS, a narrow pyramid and the whole two heads."""
    spec = replace(tiny_network(0).spec, num_classes=num_classes).with_image_size(size)
    own = HeadSpec(kind="retinanet", pyramid_channels=CHANNELS, head_channels=CHANNELS, **head)  # type: ignore[arg-type]
    network = dense.build(dense.with_head(spec, own, {}))
    dense.randomise_dense(network, seed)
    return network.requires_grad_(False)


def as_torchvision(network: DenseNetwork) -> dict[str, Tensor]:
    """The state of torchvision's RetinaNet whose backbone is `BackboneWithFPN(EdgeViT, ...)`."""
    names = {f"encoder.{key}": f"backbone.body.{key}" for key in network.encoder.state_dict()}
    for part in ("weight", "bias"):
        for level in range(3):
            for blocks in ("inner_blocks", "layer_blocks"):
                names[f"head.fpn.{blocks}.{level}.0.{part}"] = f"backbone.fpn.{blocks}.{level}.0.{part}"
        for extra in ("p6", "p7"):
            names[f"head.{extra}.{part}"] = f"backbone.fpn.extra_blocks.{extra}.{part}"
        for place in range(4):
            names[f"head.classes.conv.{place}.0.{part}"] = f"head.classification_head.conv.{place}.0.{part}"
            names[f"head.boxes.conv.{place}.0.{part}"] = f"head.regression_head.conv.{place}.0.{part}"
        names[f"head.classes.cls_logits.{part}"] = f"head.classification_head.cls_logits.{part}"
        names[f"head.boxes.bbox_reg.{part}"] = f"head.regression_head.bbox_reg.{part}"
    return _renamed(network, names)


def as_mmdet(network: DenseNetwork) -> dict[str, Tensor]:
    """The state of mmdetection's RetinaNet: backbone, FPN neck with five levels, RetinaHead."""
    names = {f"encoder.{key}": f"backbone.{key}" for key in network.encoder.state_dict()}
    for part in ("weight", "bias"):
        for level in range(3):
            names[f"head.fpn.inner_blocks.{level}.0.{part}"] = f"neck.lateral_convs.{level}.conv.{part}"
            names[f"head.fpn.layer_blocks.{level}.0.{part}"] = f"neck.fpn_convs.{level}.conv.{part}"
        names[f"head.p6.{part}"], names[f"head.p7.{part}"] = f"neck.fpn_convs.3.conv.{part}", f"neck.fpn_convs.4.conv.{part}"
        for place in range(4):
            names[f"head.classes.conv.{place}.0.{part}"] = f"bbox_head.cls_convs.{place}.conv.{part}"
            names[f"head.boxes.conv.{place}.0.{part}"] = f"bbox_head.reg_convs.{place}.conv.{part}"
        names[f"head.classes.cls_logits.{part}"] = f"bbox_head.retina_cls.{part}"
        names[f"head.boxes.bbox_reg.{part}"] = f"bbox_head.retina_reg.{part}"
    return _renamed(network, names)


def _renamed(network: DenseNetwork, names: dict[str, str]) -> dict[str, Tensor]:
    state = network.state_dict()
    assert state.keys() == names.keys()
    return {names[key]: tensor.clone() for key, tensor in state.items()}


def saved(state: dict[str, Tensor], path: Path) -> Path:
    """Write a state into a file: safetensors, or as mmengine saves it (`state_dict` beside `meta`)."""
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"meta": {"mmdet_version": "3.3.0", "epoch": 12}, "state_dict": state}, path)
    return path


def detector(**changes: Any) -> LoadedModel:
    """The tiny detector with torchvision's computation, read from a file."""
    return load_model(ModelOrigin(**{"weights": detector_weights(), "image_size": SMALL_SIZE, "task": "detect", **changes}))


def detector_weights() -> Path:
    """The tiny detector as a checkpoint; all tests share it, for reading only."""
    make_torchvision_importable()
    pytest.importorskip("torchvision")

    def make(folder: Path) -> None:
        saved(as_torchvision(tiny_detector(3)), folder / "detector.safetensors")

    return made_once("detector-weights", make) / "detector.safetensors"
