"""RetinaNets in files: torchvision's and mmdetection's names of the same tensors, and what each leaves unsaid.

torchvision   models/detection/retinanet.py, ops/feature_pyramid_network.py: `backbone.fpn.inner_blocks.`, `.layer_blocks.`,
              `.extra_blocks.`, `head.classification_head.`, `head.regression_head.`. P6 comes from P5 where its convolution has
              the pyramid's channels, else from the last map; P7 from P6 behind a ReLU.
mmdetection   models/necks/fpn.py, models/dense_heads/retina_head.py, as configs/_base_/models/retinanet_r50_fpn.py has them:
              `neck.lateral_convs.`, `neck.fpn_convs.`, `bbox_head.`. P6 comes from the last map (`add_extra_convs='on_input'`),
              P7 from P6 without a ReLU (`relu_before_extra_convs=False`). With P6 from the pyramid, nothing in the file tells
              whether from before or behind the last convolution, so such a file is refused.

Both compute the same else: nearest upsampling, one sigmoid a class without a background, the order of anchors and deltas.
Anchors and decoding differ (`spec.detection.decoding_of`), and are not in the file: they are those of the library.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.model.dense.beside import place_beside, places_of
from edgevit_deploy.model.dense.retinanet import library
from edgevit_deploy.spec import MAX_CLASSES, HeadSpec
from edgevit_deploy.spec.detection import ANCHORS, AnchorRule

CONVOLUTION = r"(weight|bias)"
Table = tuple[tuple[str, str], ...]
"""Pairs of (pattern of a key in the file behind its place, key in the state of `RetinaNet`)."""

PYRAMID, P6, CLASSES, BOXES = "fpn.inner_blocks.0.0.weight", "p6.weight", "classes.cls_logits.weight", "boxes.bbox_reg.weight"

TWO_STAGE = re.compile(r"(?:^|\.)(?:rpn|rpn_head|roi_head|roi_heads)\.")
NORMED = re.compile(r"^(?:neck|bbox_head)\..*\.(?:bn|gn|norm)\.|^head\.\w+\.conv\.\d\.1\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """How a library names the tensors of a RetinaNet.

    Attributes:
        library: whose.
        rule: whose anchors and decoding.
        mark: a key that tells it, behind the place.
        parts: what all keys of the head begin with.
        table: of its keys.
        unsaid: what is in none of its files, and how it is there.
        dialect: what the naming of the whole is called, where the backbone's own names do not tell.
    """

    library: str
    rule: AnchorRule
    mark: str
    parts: tuple[str, ...]
    table: Table
    unsaid: str
    dialect: str | None = None

    def to_head(self, key: str) -> str | None:
        """Return the key in the state of our head of a key behind the place; None where it has none."""
        for pattern, ours in self.table:
            if match := re.fullmatch(pattern, key):
                return match.expand(ours)
        return None


TORCHVISION = Names(
    library="torchvision",
    rule="torchvision",
    mark="head.classification_head.cls_logits.weight",
    parts=("backbone.fpn.", "head."),
    table=(
        (rf"backbone\.fpn\.(inner|layer)_blocks\.([0-2])\.0\.{CONVOLUTION}", r"fpn.\1_blocks.\2.0.\3"),
        (rf"backbone\.fpn\.extra_blocks\.(p6|p7)\.{CONVOLUTION}", r"\1.\2"),
        (rf"head\.classification_head\.conv\.([0-3])\.0\.{CONVOLUTION}", r"classes.conv.\1.0.\2"),
        (rf"head\.classification_head\.cls_logits\.{CONVOLUTION}", r"classes.cls_logits.\1"),
        (rf"head\.regression_head\.conv\.([0-3])\.0\.{CONVOLUTION}", r"boxes.conv.\1.0.\2"),
        (rf"head\.regression_head\.bbox_reg\.{CONVOLUTION}", r"boxes.bbox_reg.\1"),
    ),
    unsaid="as in torchvision, and not in the file: a ReLU before P7, its anchors and its decoding",
)
MMDET = Names(
    library="mmdetection",
    rule="mmdet",
    mark="bbox_head.retina_cls.weight",
    parts=("neck.", "bbox_head."),
    table=(
        (rf"neck\.lateral_convs\.([0-2])\.conv\.{CONVOLUTION}", r"fpn.inner_blocks.\1.0.\2"),
        (rf"neck\.fpn_convs\.([0-2])\.conv\.{CONVOLUTION}", r"fpn.layer_blocks.\1.0.\2"),
        (rf"neck\.fpn_convs\.3\.conv\.{CONVOLUTION}", r"p6.\1"),
        (rf"neck\.fpn_convs\.4\.conv\.{CONVOLUTION}", r"p7.\1"),
        (rf"bbox_head\.cls_convs\.([0-3])\.conv\.{CONVOLUTION}", r"classes.conv.\1.0.\2"),
        (rf"bbox_head\.reg_convs\.([0-3])\.conv\.{CONVOLUTION}", r"boxes.conv.\1.0.\2"),
        (rf"bbox_head\.retina_cls\.{CONVOLUTION}", r"classes.cls_logits.\1"),
        (rf"bbox_head\.retina_reg\.{CONVOLUTION}", r"boxes.bbox_reg.\1"),
    ),
    unsaid=(
        "as in mmdetection 2 and 3, and not in the file: no ReLU before P7, its anchors and its decoding; as in the published "
        "EdgeViT, LayerNorm epsilon 1e-06"
    ),
    dialect="mmdet",
)
LIBRARIES = (TORCHVISION, MMDET)


def find_names(keys: Sequence[str], backbone: str) -> tuple[Names, dict[str, str]] | None:
    """Return the library whose RetinaNet is among some keys, and key in the state of our head -> key in the file.

    What belongs to its head and has no place in ours is there under its own name.

    Args:
        keys: without wrappers, of everything but the backbone.
        backbone: what stands before the backbone's keys.

    Raises:
        UsageError: it is another detector, or the head of another network.
    """
    libraries = {place: names for names in LIBRARIES for place in places_of(keys, names.mark)}
    place = place_beside(libraries, backbone)
    if place is None:
        refuse_two_stages(keys)
        return None
    names = libraries[place]
    own = [key for key in keys if key.startswith(tuple(place + part for part in names.parts))]
    refuse_others(own, place)
    found = {key: names.to_head(key.removeprefix(place)) for key in own}
    return names, {head_key or key: key for key, head_key in found.items()}


def refuse_two_stages(keys: Sequence[str]) -> None:
    """Refuse a detector that looks a second time at what it has found.

    Raises:
        UsageError: naming a tensor of it.
    """
    if key := next((key for key in keys if TWO_STAGE.search(key)), None):
        raise UsageError(
            f"{key} is of a detector in two stages, such as Mask R-CNN, whose regions need NMS and RoIAlign inside the network, "
            f"which no target here holds{_missing_operators()}; give a RetinaNet"
        )


def refuse_others(keys: Sequence[str], place: str) -> None:
    """Refuse a RetinaNet with norms in its pyramid or heads.

    Raises:
        UsageError: naming one of them.
    """
    if key := next((key for key in keys if NORMED.search(key.removeprefix(place))), None):
        raise UsageError(f"{key} is a norm within the pyramid or the heads, which are read without any; give one without norms")


def inferred(names: Names, shapes: Mapping[str, tuple[int, ...]], keys: Mapping[str, str]) -> tuple[HeadSpec, int]:
    """Return the head and the number of its classes from the shapes of its tensors.

    Args:
        names: of the library.
        shapes: by key in the state of our head.
        keys: of the same, in the file, for errors.

    Raises:
        UsageError: they are no such head's, or do not tell how it computes.
    """
    pyramid, p6, classes, boxes = (shapes.get(key, ()) for key in (PYRAMID, P6, CLASSES, BOXES))
    for key, shape in ((PYRAMID, pyramid), (P6, p6), (CLASSES, classes), (BOXES, boxes)):
        if len(shape) != 4:
            raise UsageError(f"its RetinaNet has no {keys.get(key, key)} of four axes; give a whole one, with P3 to P7")
    if boxes[0] != 4 * ANCHORS or classes[0] % ANCHORS:
        raise UsageError(
            f"{keys[BOXES]} has {boxes[0]} outputs and {keys[CLASSES]} {classes[0]}; expected {ANCHORS} anchors a position, "
            f"{4 * ANCHORS} and a multiple of {ANCHORS}"
        )
    num_classes = classes[0] // ANCHORS
    if not 1 <= num_classes <= MAX_CLASSES:
        raise UsageError(f"{keys[CLASSES]} is for {num_classes} classes; expected 1 to {MAX_CLASSES}")
    from_p5 = p6[1] == pyramid[0]
    if names is MMDET and from_p5:
        raise UsageError(
            f"{keys[P6]} reads the pyramid, and nothing in the file tells whether before its last convolution (`on_lateral`) or "
            "behind it (`on_output`); give a RetinaNet with add_extra_convs='on_input', as mmdetection's own"
        )
    head = HeadSpec(
        kind="retinanet",
        pyramid_channels=pyramid[0],
        head_channels=pyramid[0],
        p6_from="p5" if from_p5 else "c5",
        p7_rectified=names is not MMDET,
        anchors=names.rule,
    )
    return head, num_classes


def _missing_operators() -> str:
    """Return, where torchvision's compiled operators do not load, a remark that says so."""
    try:
        library()
        from torchvision.extension import _has_ops
    except (MissingError, ImportError):
        return ""
    return "" if _has_ops() else " (and torchvision's own, roi_align among them, are not compiled for this PyTorch)"
