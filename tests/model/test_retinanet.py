"""RetinaNet: raw outputs against torchvision's own modules, decoding against its own code, and mmdetection's computation.

torchvision has no compiled operators beside a CPU build of PyTorch. Of its RetinaNet, what is plain Python is used as it is;
`nms` is replaced, by ours, which tests/data/test_boxes.py holds against brute force.
"""

from collections import OrderedDict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from edgevit_deploy.data.boxes import anchors_of, decode, suppress
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.spec import output_specs
from edgevit_deploy.spec.detection import LEVELS, decoding_of
from tests.helpers.detectors import CHANNELS, as_mmdet, tiny_detector

make_torchvision_importable()
pytest.importorskip("torchvision")

SIZE = (64, 96)
REGIONS = [(0, 0, 96, 64)] * 2


def images(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def named(network: DenseNetwork, x: Tensor) -> dict[str, Tensor]:
    specs = output_specs(network.spec, "detections", batch=len(x), size=SIZE)
    outputs = network(x)
    assert [tuple(each.shape) for each in outputs] == [spec.shape for spec in specs]
    return dict(zip([spec.name for spec in specs], outputs, strict=True))


@pytest.mark.parametrize("p6_from", ["c5", "p5"])
def test_the_outputs_are_those_of_the_modules_of_torchvision(p6_from: str) -> None:
    from torchvision.models.detection.retinanet import RetinaNetHead
    from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

    network = tiny_detector(1, size=SIZE, p6_from=p6_from)
    own: Any = network.head
    extra = LastLevelP6P7(288 if p6_from == "c5" else CHANNELS, CHANNELS)
    pyramid, heads = FeaturePyramidNetwork([72, 144, 288], CHANNELS, extra), RetinaNetHead(CHANNELS, 9, 5)
    pyramid.inner_blocks, pyramid.layer_blocks, extra.p6, extra.p7 = own.fpn.inner_blocks, own.fpn.layer_blocks, own.p6, own.p7
    heads.classification_head, heads.regression_head = own.classes, own.boxes
    maps = network.encoder(images())
    theirs = heads(list(pyramid(OrderedDict(zip("345", maps[1:], strict=True))).values()))
    ours = named(network, images())
    for kind, outputs in (("logits", theirs["cls_logits"]), ("deltas", theirs["bbox_regression"])):
        torch.testing.assert_close(torch.cat([ours[f"{kind}_p{level}"] for level in LEVELS], dim=1), outputs, rtol=0, atol=1e-6)


def of_mmdet(state: dict[str, Tensor], maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """What mmdetection's FPN (start_level=1, add_extra_convs='on_input', num_outs=5) and RetinaHead give, from their tensors."""

    def conv(x: Tensor, name: str, *, padding: int = 1, stride: int = 1) -> Tensor:
        return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding, stride=stride)

    laterals = [conv(x, f"neck.lateral_convs.{place}.conv", padding=0) for place, x in enumerate(maps[1:])]
    for place in (2, 1):
        larger = laterals[place - 1].shape[2:]
        laterals[place - 1] = laterals[place - 1] + functional.interpolate(laterals[place], size=larger, mode="nearest")
    levels = [conv(x, f"neck.fpn_convs.{place}.conv") for place, x in enumerate(laterals)]
    levels.append(conv(maps[-1], "neck.fpn_convs.3.conv", stride=2))
    levels.append(conv(levels[-1], "neck.fpn_convs.4.conv", stride=2))
    outputs = {}
    for kind, convs, last, values in (("logits", "cls_convs", "retina_cls", 5), ("deltas", "reg_convs", "retina_reg", 4)):
        for level, x in zip(LEVELS, levels, strict=True):
            for place in range(4):
                x = functional.relu(conv(x, f"bbox_head.{convs}.{place}.conv"))
            x = conv(x, f"bbox_head.{last}")
            outputs[f"{kind}_p{level}"] = x.permute(0, 2, 3, 1).reshape(len(x), -1, values)
    return outputs


def test_the_outputs_are_those_of_mmdetection() -> None:
    network = tiny_detector(2, size=SIZE, p7_rectified=False, anchors="mmdet")
    theirs = of_mmdet(as_mmdet(network), network.encoder(images()))
    ours = named(network, images())
    for name, outputs in theirs.items():
        torch.testing.assert_close(ours[name], outputs, rtol=0, atol=1e-6)
    rectified = named(tiny_detector(2, size=SIZE), images())
    assert (rectified["logits_p7"] - theirs["logits_p7"]).abs().max() > 1e-3, "negative control: a ReLU before P7"
    assert torch.equal(rectified["logits_p6"], ours["logits_p6"])


def test_decoding_is_that_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models.detection._utils import BoxCoder
    from torchvision.models.detection.retinanet import RetinaNet
    from torchvision.ops import boxes as box_ops

    def batched_nms(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
        kept = suppress(*(each.double().numpy() for each in (boxes, scores)), classes.numpy(), threshold)
        return torch.from_numpy(kept)

    monkeypatch.setattr(box_ops, "batched_nms", batched_nms)
    network = tiny_detector(3, size=SIZE).double()
    outputs = named(network, images().double())
    decoding = replace(decoding_of("torchvision", SIZE), most=10_000)
    itself: Any = SimpleNamespace(score_thresh=0.05, topk_candidates=1000, nms_thresh=0.5, detections_per_img=10_000)
    itself.box_coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
    theirs = RetinaNet.postprocess_detections(
        itself,
        {
            "cls_logits": [outputs[level.logits] for level in decoding.levels],
            "bbox_regression": [outputs[level.deltas] for level in decoding.levels],
        },
        [[torch.from_numpy(anchors_of(level)) for level in decoding.levels]] * 2,
        [SIZE, SIZE],
    )
    ours = decode({name: values.numpy() for name, values in outputs.items()}, decoding, REGIONS)
    for mine, other in zip(ours, theirs, strict=True):
        there = (other["boxes"][:, 2:] > other["boxes"][:, :2]).all(dim=1)  # it keeps boxes without area, which cover nothing
        assert len(mine.boxes) > 100
        np.testing.assert_array_equal(mine.classes, other["labels"][there].numpy())
        np.testing.assert_allclose(mine.scores, other["scores"][there].numpy(), rtol=1e-12)
        np.testing.assert_allclose(mine.boxes, other["boxes"][there].numpy(), rtol=0, atol=1e-9)


def test_a_sigmoid_too_much_finds_other_boxes() -> None:
    """Negative control: sigmoids of sigmoids are from 0.5 to 0.73."""
    network = tiny_detector(3, size=SIZE)
    outputs = {name: values.numpy() for name, values in named(network, images()).items()}
    decoding = decoding_of("torchvision", SIZE)
    twice = {name: 1 / (1 + np.exp(-values)) if name.startswith("logits") else values for name, values in outputs.items()}
    for right, wrong in zip(decode(outputs, decoding, REGIONS), decode(twice, decoding, REGIONS), strict=True):
        assert 0.5 < wrong.scores.min() < wrong.scores.max() < 0.74 < right.scores.max()
