"""What stands on the four feature maps of a network for dense prediction, and which task it is for."""

from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.spec.detection import AnchorRule

HeadKind = Literal["semantic_fpn", "retinanet"]

MAX_HEAD_CHANNELS = 4096
"""Of any map within a head; published ones have 128 or 256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSpec:
    """Everything, beside the classes and the channels of the four maps, that is needed to build a head.

    Attributes:
        kind: semantic_fpn is the Semantic FPN of Kirillov et al. (2019) as segmentation_models_pytorch builds it, retinanet the
            RetinaNet of Lin et al. (2017) of torchvision's parts.
        pyramid_channels: of each level of the feature pyramid.
        head_channels: of what stands on the levels.
        merge: how the branches of a semantic FPN become one map.
        p6_from: what the sixth level of a RetinaNet comes from: the last feature map, or the fifth level.
        p7_rectified: a ReLU stands before the convolution of its seventh level.
        anchors: whose anchors and decoding it was trained with.
    """

    kind: HeadKind
    pyramid_channels: int = 256
    head_channels: int = 128
    merge: Literal["add", "cat"] = "add"
    p6_from: Literal["c5", "p5"] = "c5"
    p7_rectified: bool = True
    anchors: AnchorRule = "torchvision"
