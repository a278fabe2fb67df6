"""RetinaNet on the maps of the stages: torchvision's feature pyramid and heads, whose raw outputs are given level by level.

T.-Y. Lin et al., Focal Loss for Dense Object Detection (ICCV 2017), section 4: P3 to P5 from the maps of strides 8, 16 and 32
with a top-down path, P6 by a strided 3x3 convolution on the last of these maps (or on P5), P7 likewise on P6. The map of
stride 4 is not used. Two heads of four 3x3 convolutions, the same for all levels, give each of the nine anchors of a position
its logits and deltas. No sigmoid, no anchors and no suppression are in it: `spec.detection.Decoding` says how to go on.
"""

from collections import OrderedDict
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor, nn

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.registry import install_command
from edgevit_deploy.spec import MAX_HEAD_CHANNELS, HeadSpec, ModelSpec
from edgevit_deploy.spec.detection import ANCHORS, DELTAS

LIBRARY, EXTRA = "torchvision", "detect"


class RetinaNet(nn.Module):
    """torchvision's feature pyramid and heads, and the two convolutions behind the pyramid.

    Args:
        spec: of the network, with a head of this kind.

    Raises:
        MissingError: torchvision is not installed.
        UsageError: no such head can be built.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        assert spec.head is not None
        check(spec.head)
        pyramid, retinanet = library()
        width, self.num_classes = spec.head.pyramid_channels, spec.num_classes
        self.from_p5, self.rectified = spec.head.p6_from == "p5", spec.head.p7_rectified
        self.fpn = pyramid.FeaturePyramidNetwork(list(spec.channels[1:]), width)
        self.p6 = nn.Conv2d(width if self.from_p5 else spec.channels[-1], width, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.classes = retinanet.RetinaNetClassificationHead(width, ANCHORS, spec.num_classes)
        self.boxes = retinanet.RetinaNetRegressionHead(width, ANCHORS)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the raw outputs.

        Args:
            maps: four times (batch, channels, height / stride, width / stride).

        Returns:
            Of P3 to P7 the logits (batch, anchors, num_classes), then of P3 to P7 the deltas (batch, anchors, 4); the anchors of
            a level row by row, position by position, and there anchor by anchor.
        """
        levels = self.pyramid(maps)
        logits = [_by_anchor(self.classes.cls_logits(self.classes.conv(level)), self.num_classes) for level in levels]
        return (*logits, *(_by_anchor(self.boxes.bbox_reg(self.boxes.conv(level)), DELTAS) for level in levels))

    def pyramid(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return P3 to P7: (batch, pyramid_channels, rows, columns) each."""
        three_levels = tuple(self.fpn(OrderedDict(zip("345", maps[1:], strict=True))).values())
        p6 = self.p6(three_levels[-1] if self.from_p5 else maps[-1])
        return (*three_levels, p6, self.p7(torch.relu(p6) if self.rectified else p6))


def _by_anchor(x: Tensor, values: int) -> Tensor:
    """(batch, anchors * values, rows, columns) -> (batch, rows * columns * anchors, values)."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)


def library() -> tuple[ModuleType, ModuleType]:
    """Return torchvision's modules with the feature pyramid and with the heads: plain Python, no operator of its own is needed.

    Raises:
        MissingError: it is not installed.
    """
    from edgevit_deploy.model.peers import make_torchvision_importable

    make_torchvision_importable()
    try:
        from torchvision.models.detection import retinanet
        from torchvision.ops import feature_pyramid_network
    except ImportError as error:
        raise MissingError(f"--task detect needs {LIBRARY}, which is not installed; {install_command(EXTRA)} adds it") from error
    return feature_pyramid_network, retinanet


def check(head: HeadSpec) -> None:
    """Refuse sizes that no such head has.

    Raises:
        UsageError: naming the size.
    """
    if not 1 <= head.pyramid_channels <= MAX_HEAD_CHANNELS:
        raise UsageError(f"a pyramid of {head.pyramid_channels} channels; expected 1 to {MAX_HEAD_CHANNELS}")
