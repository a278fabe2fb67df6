"""The Semantic FPN (Kirillov et al., Panoptic Feature Pyramid Networks, 2019), of segmentation_models_pytorch's own modules."""

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType

from torch import Tensor, nn

from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.model.peers import make_torchvision_importable
from edgevit_deploy.registry import requires
from edgevit_deploy.spec import MAX_CLASSES, MAX_HEAD_CHANNELS, HeadSpec, ModelSpec

LIBRARY, EXTRA = "segmentation_models_pytorch", "segment"

GROUPS = 32
"""Of its GroupNorms: the branches have a multiple of so many channels."""

UPSAMPLING = 4
"""From the finest map to the image, bilinear with aligned corners: the library's own, and it is in the file."""

NO_DROPOUT = 0.0
"""The library's own 0.2 is in no recipe, and draws from the generator that all of a process shares."""

ROOT, CLASSIFIER = "decoder.p5.weight", "segmentation_head.0.weight"
BRANCH = "decoder.seg_blocks.0.block.0.block.0.weight"


class SemanticFPN(nn.Module):
    """The library's decoder and segmentation head, with the names that its own networks give them.

    Args:
        spec: of the network, with a head of this kind.

    Raises:
        MissingError: the library is not installed.
        UsageError: no such head can be built.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        assert spec.head is not None
        check(spec.head)
        smp = library()
        self.decoder = smp.decoders.fpn.decoder.FPNDecoder(
            encoder_channels=list(spec.channels),
            pyramid_channels=spec.head.pyramid_channels,
            segmentation_channels=spec.head.head_channels,
            merge_policy=spec.head.merge,
            dropout=NO_DROPOUT,
        )
        self.segmentation_head = smp.base.SegmentationHead(
            in_channels=self.decoder.out_channels, out_channels=spec.num_classes, kernel_size=1, upsampling=UPSAMPLING
        )
        smp.base.initialization.initialize_decoder(self.decoder)
        smp.base.initialization.initialize_head(self.segmentation_head)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps (batch, channels, height / stride, width / stride) -> logits (batch, num_classes, height, width)."""
        logits: Tensor = self.segmentation_head(self.decoder(list(maps)))
        return logits


def library() -> ModuleType:
    """Import segmentation_models_pytorch.

    Raises:
        MissingError: it is not installed.
    """
    availability = requires(LIBRARY, extra=EXTRA)
    if not availability.ok:
        raise MissingError(f"--task segment builds its head from {LIBRARY}: {availability.detail}; {availability.fix}")
    make_torchvision_importable()
    importlib.import_module(f"{LIBRARY}.decoders.fpn.decoder")
    return importlib.import_module(LIBRARY)


def check(head: HeadSpec) -> None:
    """Refuse sizes that no such head has.

    Raises:
        UsageError: naming the size.
    """
    if not 1 <= head.pyramid_channels <= MAX_HEAD_CHANNELS:
        raise UsageError(f"a pyramid of {head.pyramid_channels} channels; expected 1 to {MAX_HEAD_CHANNELS}")
    if not GROUPS <= head.head_channels <= MAX_HEAD_CHANNELS or head.head_channels % GROUPS:
        raise UsageError(
            f"branches of {head.head_channels} channels; expected a multiple of {GROUPS}, at most {MAX_HEAD_CHANNELS}"
        )


def inferred(shapes: Mapping[str, tuple[int, ...]]) -> tuple[HeadSpec, int]:
    """Return the head and the number of its classes from the shapes of its tensors, by their names in the library.

    Raises:
        UsageError: they are no such head's.
    """
    root, branch, classifier = (shapes.get(key, ()) for key in (ROOT, BRANCH, CLASSIFIER))
    if not (len(root) == len(branch) == len(classifier) == 4):
        raise UsageError(f"its segmentation head has no {ROOT}, {BRANCH} and {CLASSIFIER} of four axes; give a whole FPN")
    if not 1 <= classifier[0] <= MAX_CLASSES:
        raise UsageError(f"{CLASSIFIER} is for {classifier[0]} classes; expected 1 to {MAX_CLASSES}")
    head = HeadSpec(
        kind="semantic_fpn",
        pyramid_channels=root[0],
        head_channels=branch[0],
        merge="cat" if classifier[1] == 4 * branch[0] else "add",
    )
    check(head)
    return head, classifier[0]
