"""Networks for dense prediction: the four stages of an EdgeViT, and a head on the feature maps that they end with."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor, nn

from edgevit_deploy.model.edgevit import EdgeViT, check_images
from edgevit_deploy.model.random_weights import GAINS, randomise
from edgevit_deploy.spec import HeadKind, HeadSpec, ModelSpec, PreprocessChoice

Outputs = Tensor | tuple[Tensor, ...]

SHOWN_WHOLE: Mapping[HeadKind, PreprocessChoice] = {
    "semantic_fpn": PreprocessChoice(resize_mode="letterbox"),
    "retinanet": PreprocessChoice(resize_mode="pad", interpolation="bilinear"),
}
"""What is assumed of the preprocessing where nobody says otherwise: nothing of a picture is cut off, and its shape is kept.
Detectors are trained on pictures that are filled to the right and below (torchvision, mmdetection)."""


class Backbone(EdgeViT):
    """An EdgeViT without its classifier: the last norm and the head are not there."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        del self.norm, self.head

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override] # it has no classes
        """Return the four maps, as `features` does."""
        check_images(x)
        return self.features(x)


class DenseNetwork(nn.Module):
    """A backbone and a head.

    Attributes:
        encoder: (batch, 3, height, width) -> the four maps: a `Backbone`, or its rewritten chain.
        head: the four maps -> what `spec.output_specs` says of its task, one tensor or a tuple.
        spec: of the whole.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.encoder, self.head, self.spec = encoder, head, spec

    def forward(self, x: Tensor) -> Outputs:
        """(batch, 3, height, width), normalised -> what the head returns."""
        outputs: Outputs = self.head(self.encoder(x))
        return outputs


Network = EdgeViT | DenseNetwork


def _semantic_fpn(spec: ModelSpec) -> nn.Module:
    from edgevit_deploy.model.dense.semantic_fpn import SemanticFPN

    return SemanticFPN(spec)


def _retinanet(spec: ModelSpec) -> nn.Module:
    from edgevit_deploy.model.dense.retinanet import RetinaNet

    return RetinaNet(spec)


HEADS: Mapping[HeadKind, Callable[[ModelSpec], nn.Module]] = {"semantic_fpn": _semantic_fpn, "retinanet": _retinanet}
"""What builds each head; the libraries of a head are imported when one is built."""


HEAD_GAINS: Mapping[HeadKind, Mapping[str, float]] = {
    "retinanet": {
        **{f"inner_blocks.{level}.0.weight": 2.0 for level in range(3)},
        **{f"conv.{place}.0.weight": 1.5 for place in range(4)},
        "p6.weight": 3.0,
        "p7.weight": 2.5,
        "cls_logits.weight": 2.0,
        "bbox_reg.weight": 0.5,
    }
}
"""Of random weights, where those of a classifier would leave little of the maps behind convolutions and ReLUs without norms."""


def build(spec: ModelSpec) -> DenseNetwork:
    """Return a network with the initialisation of its parts' own libraries, in evaluation mode.

    Args:
        spec: with a head.

    Raises:
        MissingError: the head's library is not installed.
        UsageError: sizes that the head cannot have.
    """
    assert spec.head is not None
    return DenseNetwork(Backbone(spec), HEADS[spec.head.kind](spec), spec).eval()


def randomise_dense(network: DenseNetwork, seed: int) -> None:
    """Overwrite all weights as `randomise` does; those of the backbone are a classifier's of the same seed."""
    assert network.spec.head is not None
    randomise(network.encoder, seed)
    randomise(network.head, seed, HEAD_GAINS.get(network.spec.head.kind, GAINS))


def with_head(spec: ModelSpec, head: HeadSpec, told: Mapping[str, str]) -> ModelSpec:
    """Return a network with a head, whose pictures are shown whole unless its file tells how they are resized."""
    spec = replace(spec, head=head)
    return spec if {"resize_mode", "crop_ratio"} & set(told) else spec.with_preprocess(SHOWN_WHOLE[head.kind])
